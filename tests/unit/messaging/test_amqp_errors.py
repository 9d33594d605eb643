"""What pika reports, told in errors of the project."""

from __future__ import annotations

import logging
import re
import shlex
import socket
import threading

import pytest
from pika import exceptions
from pika.adapters.utils.connection_workflow import (
    AMQPConnectionWorkflowFailed,
    AMQPConnectorSocketConnectError,
)

from antiphon.errors import BrokerRefused, BrokerUnavailable, MessagingError
from antiphon.messaging.amqp_address import parse_address
from antiphon.messaging.amqp_errors import explain, quieten_library
from antiphon.messaging.amqp_rights import name_right

ADDRESS = parse_address("amqp://me:hunter2@rabbit:5673/shop")


def nested(error: OSError) -> Exception:
    """As pika nests what the system says."""
    return exceptions.AMQPConnectionError(
        AMQPConnectionWorkflowFailed([AMQPConnectorSocketConnectError(error)])
    )


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (nested(ConnectionRefusedError(111, "x")), BrokerUnavailable, "rabbit:5673.*refused"),
        (nested(TimeoutError()), BrokerUnavailable, "rabbit:5673.*did not answer in time"),
        (nested(OSError(113, "No route to host")), BrokerUnavailable, "No route to host"),
        (
            AMQPConnectionWorkflowFailed([socket.gaierror(-2, "x")]),
            BrokerUnavailable,
            "name 'rabbit' is not known",
        ),
        (exceptions.ProbableAuthenticationError("x"), BrokerRefused, "user 'me' with the password"),
        (
            exceptions.ProbableAccessDeniedError("vhost shop not found"),
            BrokerRefused,
            "'shop': there is none.*add_vhost shop",
        ),
        (
            exceptions.ProbableAccessDeniedError("access to vhost refused"),
            BrokerRefused,
            r"set_permissions -p 'shop' 'me' '\^\(<system>",
        ),
        (exceptions.ConnectionOpenAborted("x"), BrokerUnavailable, "does not answer in AMQP"),
        (
            exceptions.ChannelClosedByBroker(403, "no access to exchange 'e'"),
            BrokerRefused,
            "no access to exchange 'e'",
        ),
        (
            exceptions.ChannelClosedByBroker(406, "inequivalent arg 'type' for exchange 'e'"),
            BrokerRefused,
            "inequivalent",
        ),
        (
            exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED"),
            BrokerUnavailable,
            "FORCED",
        ),
        (
            exceptions.ChannelClosedByBroker(
                403,
                "ACCESS_REFUSED - configure access to queue 'shop.sub.x' in vhost 'shop' refused "
                "for user 'me'",
            ),
            BrokerRefused,
            r"'me' configure the queue 'shop.sub.x'.*set_permissions -p 'shop' 'me' '\^\(shop\\",
        ),
        (
            exceptions.AuthenticationError("PLAIN"),
            BrokerRefused,
            "does not offer PLAIN authentication.*auth_mechanisms",
        ),
        (
            exceptions.ProbableAuthenticationError("StreamLostError: reset by peer"),
            BrokerUnavailable,
            "broke",
        ),
        (
            exceptions.IncompatibleProtocolError("StreamLostError"),
            BrokerUnavailable,
            "before it said anything in AMQP.*amqps://",
        ),
        (exceptions.StreamLostError("Transport indicated EOF"), BrokerUnavailable, "EOF"),
        (IndexError("pop from an empty deque"), BrokerUnavailable, "empty deque"),
    ],
)
def test_explains(error: Exception, kind: type[MessagingError], message: str) -> None:
    """Each failure is one error that says where, why and what to do, with no password."""
    explained = explain(error, ADDRESS)

    assert kind is type(explained)
    assert re.search(message, str(explained))
    assert "hunter2" not in str(explained)
    assert error is explained.__cause__


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ProbableAccessDeniedError("access to vhost refused"),
        exceptions.ChannelClosedByBroker(
            403, "ACCESS_REFUSED - access to queue 'shop.sub.x' in vhost '/' refused for user 'me'"
        ),
    ],
)
def test_a_command_for_a_user_of_a_certificate_can_be_pasted(error: Exception) -> None:
    """auth=external knows no user; the command says where its name goes, in whole quotes."""
    address = parse_address("amqps://rabbit?auth=external&certfile=me.pem")
    words = shlex.split(str(explain(error, address)).partition("rabbitmqctl ")[2])

    assert ["set_permissions", "-p", "/", "<name of the certificate>"] == words[:4]
    assert 7 == len(words)


@pytest.mark.parametrize(
    ("text", "class_id", "method_id", "right"),
    [
        ("access to exchange 'e' in vhost '/' refused for user 'u'", 40, 10, "configure"),
        ("access to queue 'q' in vhost '/' refused for user 'u'", 50, 10, "configure"),
        ("access to exchange 'e' in vhost '/' refused for user 'u'", 60, 40, "write"),
        ("access to queue 'q' in vhost '/' refused for user 'u'", 60, 20, "read"),
        ("access to exchange 'e' in vhost '/' refused for user 'u'", 50, 20, "read"),
        ("access to queue 'q' in vhost '/' refused for user 'u'", 50, 20, "write"),
        ("write access to queue 'q' in vhost '/' refused for user 'u'", 60, 20, "write"),
    ],
)
def test_names_the_right(text: str, class_id: int, method_id: int, right: str) -> None:
    """What a broker before 3.11 leaves out follows from what it refused."""
    named = name_right(f"ACCESS_REFUSED - {text}", class_id, method_id)

    assert named.startswith(f"ACCESS_REFUSED - {right} access to ")


def test_other_reasons_stay() -> None:
    """A channel that is closed for something else keeps its reason."""
    assert "NOT_FOUND - no queue 'q'" == name_right("NOT_FOUND - no queue 'q'", 50, 10)


def test_empty_virtual_host() -> None:
    """A URL that ends in a slash is the commonest slip, and is told so."""
    address = parse_address("amqp://rabbit/")

    explained = explain(exceptions.ProbableAccessDeniedError("vhost  not found"), address)

    assert "the URL ends in '/'" in str(explained)


def test_own_errors_stay() -> None:
    """What is explained already is not explained again."""
    error = BrokerUnavailable("x")

    assert error is explain(error, ADDRESS)


def test_library_is_quiet_about_our_links(caplog: pytest.LogCaptureFixture) -> None:
    """pika's tracebacks about our connections stay out of the log; others' do not."""
    quieten_library()
    log = logging.getLogger("pika.adapters.base_connection")
    ours = threading.Thread(target=log.error, args=("ours",), name="antiphon test consume")

    ours.start()
    ours.join()
    log.error("theirs")

    assert ["theirs"] == [record.message for record in caplog.records]
