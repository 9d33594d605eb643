"""The event that tells of a journal entry, as its committer would have made it."""

from __future__ import annotations

from typing import Any

from antiphon.errors import StoreError, StoreUnavailable, WireError
from antiphon.messaging.broker_event_manager import BrokerEventManager
from antiphon.storage.backend_telling import EVENT_OF_ACTION
from antiphon.storage.journal import JournalEntry, foreign_event_id, place_of, version_of
from antiphon.storage.shielding import ShieldingManager, shield_of


def publish_entry(
    bus: BrokerEventManager,
    store: Any,
    entry: JournalEntry,
    before: bytes,
    *,
    heard: bool,
    is_shielded: bool,
) -> None:
    """Publish the event of *entry*, redacted if *store* is behind a shield.

    Args:
        bus: publishes.
        store: the store of the entry.
        entry: one of its journal.
        before: id of the entry before that.
        heard: whether listeners of this process have heard the event.
        is_shielded: whether it is nobody's to publish in clear.

    Raises:
        MessagingError, WireError: it was not published.
        StoreUnavailable: likewise; it is not known what its metadata are, or its shield
            is just being exchanged.
    """
    metadata = _metadata(store, entry)
    # Once for all that follows: another event manager may be assigned at any moment.
    shield = shield_of(store.event_manager)
    if shield is None and is_shielded:
        raise StoreUnavailable(f"the events of {store!r} are to be redacted, and nobody does so")
    try:
        _publish(bus, store, entry, before, metadata, shield, heard=heard)
    except WireError:
        if not metadata:
            raise
        # Other programs write what does not travel; that the key changed does.
        _publish(bus, store, entry, before, {}, shield, heard=heard)


def _publish(
    bus: BrokerEventManager,
    store: Any,
    entry: JournalEntry,
    before: bytes,
    metadata: dict[str, Any] | None,
    shield: ShieldingManager | None,
    *,
    heard: bool,
) -> None:
    event = EVENT_OF_ACTION[entry.action](store, key=entry.key, metadata=metadata or {})
    event._event_id = entry.event_id or foreign_event_id(store.store_id, entry.version.entry_id)
    event._position = place_of(store.store_id, entry.version, before)
    if not event.travels:
        return
    if shield is None:
        bus.publish_again(event, happened_ns=entry.time_ns, heard=heard)
        return
    outgoing = shield.outgoing(event)
    if outgoing is None:
        return

    def tell_users() -> None:
        # Who may hear of it stands in the metadata.
        if metadata is not None:
            shield.tell(event)

    bus.publish_again(outgoing, happened_ns=entry.time_ns, heard=heard, then=tell_users)


def _metadata(store: Any, entry: JournalEntry) -> dict[str, Any] | None:
    """Return the metadata that *entry* gave to its key; None if nobody knows them any more."""
    if entry.action == "delete":
        return None
    try:
        value = store.get(entry.key)
        if version_of(value) != entry.version:
            return None
        metadata: dict[str, Any] = value.metadata
    except StoreUnavailable:
        raise  # the next look may know
    except (KeyError, StoreError):  # gone since, or spoiled by whoever wrote it
        return None
    return metadata
