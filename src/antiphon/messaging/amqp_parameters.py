"""What pika is told about a connection: limits of time, credentials, TLS."""

from __future__ import annotations

import logging
import socket
from functools import lru_cache

import pika
from pika.credentials import ExternalCredentials, PlainCredentials

from antiphon.messaging.amqp_address import AmqpAddress
from antiphon.messaging.amqp_tls import tls_context

logger = logging.getLogger(__name__)

#: Seconds to wait for a TCP connection.
CONNECT_TIMEOUT_S = 3.0

#: Seconds for TCP, TLS and the AMQP handshake together: a broker under load is slow here.
HANDSHAKE_TIMEOUT_S = 8.0

#: The same where there are other nodes to try.
NEXT_NODE_TIMEOUT_S = 4.0

#: Milliseconds that the kernel tries to get sent bytes acknowledged.
TCP_USER_TIMEOUT_MS = 8000


def connection_parameters(address: AmqpAddress, name: str) -> pika.ConnectionParameters:
    """Return what pika needs to connect to the one node of *address*.

    Args:
        address: of one node.
        name: shown by the broker beside the connection.

    Raises:
        TLSFailed: a file of certificates or keys is missing or no good.
    """
    credentials = (
        ExternalCredentials()
        if address.is_external
        else PlainCredentials(address.user, address.password, erase_on_connect=True)
    )
    options = (
        {"TCP_USER_TIMEOUT": TCP_USER_TIMEOUT_MS} if hasattr(socket, "TCP_USER_TIMEOUT") else {}
    )
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=address.virtual_host,
        credentials=credentials,
        ssl_options=_ssl_options(address) if address.is_tls else None,
        heartbeat=address.heartbeat_s,
        socket_timeout=CONNECT_TIMEOUT_S,
        stack_timeout=NEXT_NODE_TIMEOUT_S if address.has_others else HANDSHAKE_TIMEOUT_S,
        connection_attempts=1,
        tcp_options=options,
        client_properties={"connection_name": name, "product": "antiphon"},
    )


def _ssl_options(address: AmqpAddress) -> pika.SSLOptions:
    if not address.tls.is_verified:
        _warn(address.where)
    context = tls_context(address.tls)
    return pika.SSLOptions(context, address.tls.server_name or address.host)


@lru_cache(maxsize=64)
def _warn(where: str) -> None:
    # Once for each node: connections are tried again and again.
    logger.warning(
        "verify=no: anybody between here and %s can pose as the broker and read the password",
        where,
    )
