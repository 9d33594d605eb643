"""Every error that Antiphon raises on purpose, in one tree.

Each leaf also inherits the built-in that it resembles, so ``except KeyError``
goes on working for programs that know nothing of this tree.  A message tells
what failed, on what, with which value, and what to do; credentials never
enter one.
"""

from __future__ import annotations


class AntiphonError(Exception):
    """Base of all errors that this package raises on purpose."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument; our messages are sentences.
        return str(self.args[0]) if len(self.args) == 1 else super().__str__()


# -- Opening things by URL ---------------------------------------------------


class UnknownScheme(AntiphonError, ValueError):
    """No store or transport is registered for the scheme of a URL."""


class InvalidURL(AntiphonError, ValueError):
    """A URL has a known scheme, but parts that make no sense."""


class InvalidEnvironment(AntiphonError, ValueError):
    """A variable of the environment, or the file that it names, makes no sense."""


class MissingDependency(AntiphonError, ImportError):
    """An optional library is needed; the message names the extra to install."""


# -- Events ------------------------------------------------------------------


class ListenerNotConnected(AntiphonError, KeyError):
    """A listener was to be disconnected from a class that it is not connected to."""


class AlreadyRegistered(AntiphonError, ValueError):
    """An event class, or the program's event manager, is there already."""


class ProgressNotStarted(AntiphonError, RuntimeError):
    """A step or an end of an operation that was not started, or has ended."""


class HeartbeatRunning(AntiphonError, RuntimeError):
    """A heartbeat was started that beats already."""


# -- The wire ----------------------------------------------------------------


class WireError(AntiphonError):
    """Something could not be turned into bytes, or back."""


class UnencodableAttribute(WireError, TypeError):
    """An event has an attribute that cannot travel; nothing was emitted."""


class NameConflict(WireError, ValueError):
    """Two different event classes claim the same name on the wire."""


class CorruptMessage(WireError, ValueError):
    """Bytes that came from the broker are no message of ours."""


# -- Messaging ---------------------------------------------------------------


class MessagingError(AntiphonError):
    """Something between this process and the broker went wrong."""


class InvalidBusOption(MessagingError, ValueError):
    """An argument of a bus has a value that makes no sense; the message says which make some."""


class BrokerUnavailable(MessagingError, ConnectionError):
    """The broker cannot be reached; it may be down, or the address wrong."""


class BrokerRefused(MessagingError, PermissionError):
    """The broker answered, and refused: credentials, virtual host or rights."""


class TLSFailed(BrokerRefused):
    """A certificate, a key or a port is wrong, so that TLS with the broker cannot begin."""


class SubscriptionConflict(BrokerRefused):
    """The broker has a subscription of this name with another mode or other options."""


class BusClosed(MessagingError, RuntimeError):
    """The bus was closed, and can neither emit nor listen any more."""


class SubscriptionClosed(MessagingError, RuntimeError):
    """A subscription was closed before, so that its queue stays at the broker."""


class QueueMissing(MessagingError, LookupError):
    """The broker has no queue of this name, so that nothing can be sent there."""


class PublishBufferFull(MessagingError, BufferError):
    """Too many events wait for the broker already; this one was not emitted."""


class EventsDropped(MessagingError, BufferError):
    """Events were given up to make room for newer ones; says how many since the last flush."""


class SpoolUnusable(MessagingError, OSError):
    """The directory of a spool cannot be used, or belongs to others; no bus was opened."""


class SpoolInUse(SpoolUnusable):
    """Another bus uses the directory of a spool; the message names its process."""


class SpoolUnwritable(MessagingError, OSError):
    """An event could not be written to the spool, as when the disk is full; it was not emitted."""


class FlushTimeout(MessagingError, TimeoutError):
    """Some events were not confirmed by the broker in the given time."""


class StreamOverrun(MessagingError, OverflowError):
    """More events came than the reader of a stream has room for: here some are missing."""


# -- Notifications -----------------------------------------------------------


class NotificationError(AntiphonError):
    """A notification, its publisher or its subscriber cannot be as it is."""


class AbstractEvent(NotificationError, TypeError):
    """The class of event has no ``event_id``; there are events of its subclasses only."""


class UnknownField(NotificationError, TypeError):
    """This kind of event has no field of that name."""


class UnknownEnumValue(NotificationError, ValueError):
    """A field of an event was given a value that its enum does not have."""


class InvalidTopic(NotificationError, ValueError):
    """An event id, an origin or a binding key cannot be part of a topic."""


class MissingOrigin(InvalidTopic):
    """An event has no origin, or ``"unknown"``; it was not published."""


class NoBus(NotificationError, RuntimeError):
    """A publisher or a subscriber has no bus, and the program has no global one."""


class NoHandler(NotificationError, TypeError):
    """A subscriber has nothing to call: neither ``ondata`` nor an ``on_data`` of its own."""


class BrowserBusy(MessagingError, TimeoutError):
    """Another command is at work on the same queue; nothing was done."""


class DeadLetterNotFound(MessagingError, LookupError):
    """No dead letter has this id."""


# -- Stores ------------------------------------------------------------------


class StoreError(AntiphonError, RuntimeError):
    """Base of the errors of all stores (Encore's name and base class)."""


class AuthorizationError(StoreError):
    """The user is known and may not do this (Encore's name)."""


class AuthenticationError(AuthorizationError):
    """Nobody knows this user, or the password is wrong (Encore's name)."""


class PermissionsUnsupported(StoreError, NotImplementedError):
    """The store, or the server behind it, keeps no permissions."""


class LockError(AntiphonError, RuntimeError):
    """A lock made of files is not in the state that a call needs (Encore's name)."""


class LockUnavailable(OSError, LockError):  # in this order: errno and strerror are set
    """The directory of a lock made of files cannot be used; the lock is not held."""


class LockTimeout(LockError, TimeoutError):
    """A lock made of files was not free in time; it is not held."""


class KeyNotFound(StoreError, KeyError):
    """The store has no such key."""


class InvalidKey(StoreError, TypeError):
    """A key is not text, or is text that cannot be written as UTF-8."""


class InvalidValue(StoreError, TypeError):
    """A value has no readable data, or metadata that cannot be stored."""


class VersionConflict(StoreError):
    """A conditional write found another version; nothing was written."""


class InvalidFreshness(StoreError, ValueError):
    """How fresh a cache or one read of it has to be was said in a way that makes no sense."""


class ReadOnlyStore(StoreError, TypeError):
    """The store, or this part of it, cannot be written."""


class TransactionError(StoreError):
    """Something cannot be part of a transaction, since it could not be rolled back."""


class TransactionTooLarge(TransactionError):
    """A transaction has more changes than its store makes at once; nothing was written."""


class NotConnected(StoreError):
    """The store was used before ``connect()`` or after ``disconnect()``."""


class StoreUnavailable(StoreError, ConnectionError):
    """The medium cannot be reached; whether a write happened, reading tells."""


class StoreFull(StoreError, OSError):
    """The medium has no room; nothing was written."""


class IncompatibleStore(StoreError, ValueError):
    """The medium holds data of another program, or of another version."""


class PositionLost(StoreError, LookupError):
    """The journal does not reach back to a position, or history was rewritten."""


# -- The archive -------------------------------------------------------------


class EventStoreException(AntiphonError):
    """Base of the errors of an archive (Theia's name)."""


class EventWriteException(EventStoreException):
    """An event could not be saved or deleted; the archive is as it was (Theia's name)."""


class EventReadException(EventStoreException):
    """Events could not be read (Theia's name)."""


class EventNotFound(EventReadException, LookupError):
    """The archive has no event with this id (Theia's name)."""


class InvalidEvent(EventWriteException, ValueError):
    """An event has a field that cannot be archived."""


class InvalidLine(EventWriteException, ValueError):
    """A line that is to be imported holds no event; the message tells its number."""


class InvalidRetention(EventStoreException, ValueError):
    """A rule what an archive keeps makes no sense."""


class InvalidSearch(EventReadException, ValueError):
    """A question to an archive makes no sense: its times, flags, pattern or limits."""


class MatchTooSlow(EventReadException, TimeoutError):
    """A pattern takes so long on some content that the search was given up."""


class ArchiveBusy(EventWriteException, EventReadException, TimeoutError):
    """Others hold the archive locked; nothing was done, and trying again is worth it."""


class ArchiveFull(EventWriteException, OSError):
    """There is no room for more; nothing was written, and trying again is worth it."""


class ArchiveUnusable(EventWriteException, EventReadException):
    """The archive cannot be opened, or is none: the file of another program or version."""


class ArchiveClosed(EventWriteException, EventReadException, RuntimeError):
    """The archive was closed before."""


# -- Servers for tests and demonstrations -----------------------------------


class ServersUnavailable(AntiphonError, RuntimeError):
    """No RabbitMQ or Redis could be found or started; tells what to install."""
