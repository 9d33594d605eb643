"""What pika is told about a connection: limits of time, credentials, TLS."""

from __future__ import annotations

import logging
import socket
import ssl

import pika
from pika.credentials import ExternalCredentials, PlainCredentials

from antiphon.environment import read_secret_file
from antiphon.errors import InvalidEnvironment, TLSFailed
from antiphon.messaging.amqp_address import AmqpAddress, TLSOptions

logger = logging.getLogger(__name__)

#: Seconds to wait for a TCP connection.
CONNECT_TIMEOUT_S = 3.0

#: Seconds for TCP, TLS and the AMQP handshake together: a broker under load is slow here.
HANDSHAKE_TIMEOUT_S = 8.0

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
        stack_timeout=HANDSHAKE_TIMEOUT_S,
        connection_attempts=1,
        tcp_options=options,
        client_properties={"connection_name": name, "product": "antiphon"},
    )


def _ssl_options(address: AmqpAddress) -> pika.SSLOptions:
    context = tls_context(address.tls)
    return pika.SSLOptions(context, address.tls.server_name or address.host)


def tls_context(options: TLSOptions) -> ssl.SSLContext:
    """Return the settings of TLS that *options* ask for: version 1.2 at least.

    Its files are read anew each time, since certificates are replaced while
    programs run.

    Raises:
        TLSFailed: a file is missing or no good; the message names it and what to do.
    """
    try:
        context = ssl.create_default_context(cafile=options.cafile)
    except (OSError, ValueError) as exc:  # an SSLError is an OSError
        raise TLSFailed(_about_authorities(options.cafile or "", exc)) from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not options.is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.certfile is not None:
        _load_certificate(context, options, options.certfile)
    return context


def _load_certificate(context: ssl.SSLContext, options: TLSOptions, certfile: str) -> None:
    password = ""
    if options.keyfile_password_file is not None:
        try:
            password = read_secret_file(options.keyfile_password_file, "keyfile_password_file")
        except InvalidEnvironment as exc:
            raise TLSFailed(str(exc)) from exc
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certfile, options.keyfile, lambda: password)
    except (OSError, ValueError) as exc:
        raise TLSFailed(_about_certificate(options, certfile, exc)) from exc


def _about_authorities(cafile: str, exc: Exception) -> str:
    if isinstance(exc, FileNotFoundError | PermissionError | IsADirectoryError):
        return f"cafile={cafile} cannot be read: {exc.strerror}; check the path in the URL"
    return f"cafile={cafile} has no certificate in PEM form (-----BEGIN CERTIFICATE)"


def _about_certificate(options: TLSOptions, certfile: str, exc: Exception) -> str:
    keyfile = options.keyfile or certfile
    reason = getattr(exc, "reason", None) or ""
    if isinstance(exc, FileNotFoundError | PermissionError | IsADirectoryError):
        name = _unreadable(certfile) or _unreadable(keyfile)
        which = "certfile" if name == certfile else "keyfile"
        return f"{which}={name} cannot be read: {exc.strerror}; check the path in the URL"
    if "MISMATCH" in reason:
        return (
            f"the key in keyfile={keyfile} is not the key of the certificate in "
            f"certfile={certfile}; give the key that the certificate was made for"
        )
    if "BAD_DECRYPT" in reason or "PASSWORD" in reason:
        return (
            f"keyfile={keyfile} is encrypted, and the password is "
            f"{'wrong' if options.keyfile_password_file else 'missing'}; put it into a file and "
            "name that with keyfile_password_file="
        )
    return (
        f"certfile={certfile} has no certificate, or keyfile={keyfile} no key, in PEM form; or "
        "the key is encrypted with another password"
    )


def _unreadable(path: str) -> str | None:
    try:
        with open(path, "rb"):
            return None
    except OSError:
        return path
