"""What pika reports, told in this project's errors, and its log lines kept in bounds."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator

from pika import exceptions

from antiphon.environment import AMQP_PASSWORD, AMQP_USER
from antiphon.errors import AntiphonError, BrokerRefused, BrokerUnavailable, TLSFailed
from antiphon.messaging.amqp_address import AmqpAddress
from antiphon.messaging.amqp_rights import explain_right, patterns, user_of
from antiphon.messaging.amqp_tls import explain_tls

logger = logging.getLogger(__name__)

#: Threads whose names begin so are ours, and report losses themselves.
THREAD_PREFIX = "antiphon "

#: AMQP reply codes by which a broker refuses for good: access refused, not
#: found, precondition failed, not allowed.
REFUSALS = frozenset({403, 404, 405, 406, 530})

_PROBABLE = (exceptions.ProbableAuthenticationError, exceptions.ProbableAccessDeniedError)


def explain(exc: BaseException, address: AmqpAddress) -> AntiphonError:
    """Return the error of our tree that says what *exc* means for *address*."""
    if isinstance(exc, AntiphonError):
        return exc
    found = _explain(exc, address)
    found.__cause__ = exc
    return found


def _explain(exc: BaseException, address: AmqpAddress) -> AntiphonError:
    where = address.where
    text = " ".join([str(exc), *map(str, _os_errors(exc))])
    if address.is_tls and (failure := explain_tls(text, address)) is not None:
        # A balancer whose brokers are all down ends the handshake: that is not for good.
        return (BrokerUnavailable if "UNEXPECTED_EOF" in text else TLSFailed)(failure)
    if isinstance(exc, exceptions.IncompatibleProtocolError):
        return BrokerUnavailable(_about_protocol(address))
    if isinstance(exc, _PROBABLE) and "StreamLost" in text:
        # pika guesses from when it happens; a broker that refuses says so (since 3.2).
        return BrokerUnavailable(f"the connection to the broker at {where} broke: {_short(exc)}")
    if isinstance(exc, exceptions.ProbableAuthenticationError):
        return BrokerRefused(_about_login(address))
    if isinstance(exc, exceptions.ProbableAccessDeniedError):
        return BrokerRefused(_about_virtual_host(str(exc), address))
    if isinstance(exc, exceptions.AuthenticationError):
        return BrokerRefused(
            f"the broker at {where} does not offer {'EXTERNAL' if address.is_external else 'PLAIN'}"
            " authentication; allow it there (auth_mechanisms; EXTERNAL is in the plugin "
            "rabbitmq_auth_mechanism_ssl)"
        )
    if isinstance(exc, exceptions.ChannelClosedByBroker | exceptions.ConnectionClosedByBroker):
        kind = BrokerRefused if exc.reply_code in REFUSALS else BrokerUnavailable
        if (missing := explain_right(exc.reply_text, address)) is not None:
            return kind(missing)
        return kind(f"the broker at {where} closed the connection: {exc.reply_text}")
    if isinstance(exc, exceptions.ConnectionOpenAborted):
        return BrokerUnavailable(
            f"{where} accepts connections, but does not answer in AMQP; check that the port is the "
            "broker's AMQP port (5672 as a rule), and that the broker is not hanging"
        )
    if (inner := next(_os_errors(exc), None)) is not None:
        return BrokerUnavailable(_about_network(inner, address))
    return BrokerUnavailable(f"the connection to the broker at {where} broke: {_short(exc)}")


def _about_login(address: AmqpAddress) -> str:
    start = f"the broker at {address.where} does not accept"
    if address.is_external:
        return (
            f"{start} the client certificate in certfile={address.tls.certfile} as a login: it "
            "takes the certificate's name for a user (ssl_cert_login_from), and there is none of it"
        )
    return (
        f"{start} user '{address.user}' with the password given; check both in the URL, or in "
        f"{AMQP_USER} and {AMQP_PASSWORD} (RabbitMQ lets 'guest' in from its own machine only)"
    )


def _about_protocol(address: AmqpAddress) -> str:
    start = f"{address.where} ended the connection before it said anything in AMQP"
    if address.is_tls:
        # TLS 1.3 refuses a certificate after the handshake, and its reason may be lost then.
        certfile = address.tls.certfile
        return f"{start}; " + (
            f"it may not accept the certificate in certfile={certfile} (is it expired, or of "
            "an authority that the broker does not trust?)"
            if certfile
            else "it may want a client certificate (certfile=, keyfile=), or be no TLS port"
        )
    return (
        f"{start}; check that the port is the broker's AMQP port (5672 as a rule), and write "
        "amqps:// for a port that speaks TLS (5671 as a rule)"
    )


def _about_virtual_host(text: str, address: AmqpAddress) -> str:
    name, user = address.virtual_host, user_of(address)
    start = f"the broker at {address.where} does not let user '{user}' into"
    if not name:
        return (
            f"{start} the virtual host '': the URL ends in '/', which names the empty one; leave "
            "the slash out for the default virtual host '/', or write it as '/%2F'"
        )
    if "not found" in text:
        return (
            f"{start} the virtual host '{name}': there is none of that name; check the end of the "
            f"URL, or make it with: rabbitmqctl add_vhost {name}"
        )
    configure, write, read = patterns("<system>")
    return (
        f"{start} the virtual host '{name}': permission is missing; grant it with: rabbitmqctl "
        f"set_permissions -p '{name}' '{user}' '{configure}' '{write}' '{read}'"
    )


def _about_network(exc: OSError, address: AmqpAddress) -> str:
    start = f"no broker can be reached at {address.where}"
    if isinstance(exc, socket.gaierror):
        return f"{start}: the name '{address.host}' is not known; check the host in the URL"
    if isinstance(exc, ConnectionRefusedError):
        return f"{start}: the connection was refused; check that RabbitMQ runs and listens there"
    if isinstance(exc, TimeoutError):
        return f"{start}: it did not answer in time; check host, port and firewall"
    return f"{start}: {exc.strerror or exc}"


def _os_errors(exc: BaseException, depth: int = 5) -> Iterator[OSError]:
    # pika nests the cause in args, in .exceptions or in .exception.
    if depth and not isinstance(exc, AntiphonError):
        if isinstance(exc, OSError):
            yield exc
        inner = [*exc.args, *getattr(exc, "exceptions", ()), getattr(exc, "exception", None)]
        for one in (*inner, exc.__cause__):
            if isinstance(one, BaseException):
                yield from _os_errors(one, depth - 1)


def _short(exc: BaseException) -> str:
    text = re.sub(r"\s+", " ", str(exc) or repr(exc))
    return text if len(text) <= 200 else f"{text[:200]}…"


class _OursAreQuiet(logging.Filter):
    """Drops pika's records of our links, which report each loss in one line themselves."""

    def filter(self, record: logging.LogRecord) -> bool:
        ours = (record.threadName or "").startswith(THREAD_PREFIX)
        return not ours or logger.isEnabledFor(logging.DEBUG)


_filter = _OursAreQuiet()


def quieten_library() -> None:
    """Keep pika's own lines about our connections out of the log, unless DEBUG is on.

    pika logs each lost connection as several errors with tracebacks.  Its
    records of connections that other code makes are left alone.
    """
    # A logger's filter sees only what is logged through that very logger.
    for name in tuple(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "pika":
            logging.getLogger(name).addFilter(_filter)  # adding it twice is adding it once
