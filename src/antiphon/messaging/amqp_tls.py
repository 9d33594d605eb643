"""TLS with the broker: what is set up for it, and what its failures mean."""

from __future__ import annotations

import re
import ssl

from antiphon.environment import read_secret_file
from antiphon.errors import InvalidEnvironment, TLSFailed
from antiphon.messaging.amqp_address import AmqpAddress, TLSOptions

#: What OpenSSL calls a failure, in the text of an SSLError.
_REASON = re.compile(r"\[(?:SSL|X509): ([A-Z0-9_]+)\]")


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


def explain_tls(text: str, address: AmqpAddress) -> str | None:
    """Return what a failure of TLS means for *address*, and what to do.

    Args:
        text: what Python and OpenSSL say, of which no more than the reason is used: the
            broker's alert comes only after the handshake, and is text by then.

    Returns:
        A sentence; None if *text* tells of no failure of TLS.
    """
    reasons = _REASON.findall(text)
    if not reasons:
        return None
    reason, where = reasons[0], address.where
    if reason == "CERTIFICATE_VERIFY_FAILED":
        return _about_broker(text, address)
    if reason in _NO_TLS:
        return (
            f"{where} does not speak TLS, or something before it ended the handshake; check that "
            "the port is the broker's TLS port (5671 as a rule), or write amqp:// (without s)"
        )
    if "PROTOCOL" in reason or "VERSION" in reason or "CIPHER" in reason:
        return (
            f"the broker at {where} has no version of TLS, or cipher, in common: 1.2 is the least"
        )
    if "ALERT" in reason:
        return _about_alert(reason, address)
    return f"TLS with the broker at {where} failed: {reason.replace('_', ' ').lower()}"


#: What comes of a peer that answers in something else than TLS.
_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE"}
    | {"HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL", "BAD_RECORD_TYPE"}
)


def _about_broker(text: str, address: AmqpAddress) -> str:
    start = f"the certificate of the broker at {address.where} is not trusted"
    authority = address.tls.cafile
    if "has expired" in text:
        return f"{start}: it has expired; renew it at the broker, and check this machine's clock"
    if "not yet valid" in text:
        return f"{start}: it is not valid yet; check this machine's clock"
    if "mismatch" in text:
        wanted = address.tls.server_name or address.host
        return (
            f"{start}: it is not for '{wanted}'; use the name that it is for in the URL, or add "
            "server_name=<that name>"
        )
    if authority is None:
        return (
            f"{start}: this system does not know who signed it; name the authority's file with "
            "cafile="
        )
    return f"{start}: it is not signed by the authority in cafile={authority}; name the right file"


def _about_alert(reason: str, address: AmqpAddress) -> str:
    start = f"the broker at {address.where} ended TLS"
    certfile = address.tls.certfile
    if "REQUIRED" in reason or ("HANDSHAKE_FAILURE" in reason and certfile is None):
        return f"{start}: it wants a client certificate; give one with certfile= and keyfile="
    if certfile is None:
        return f"{start}: {reason.replace('_', ' ').lower()}"
    start = f"{start}: it does not accept the certificate in certfile={certfile}"
    if "EXPIRED" in reason:
        return f"{start}, which has expired; renew it"
    if "UNKNOWN_CA" in reason:
        return f"{start}: it does not know who signed it (its own cacertfile lists whom it trusts)"
    if "REVOKED" in reason:
        return f"{start}, which was revoked"
    return f"{start} ({reason.replace('_', ' ').lower()})"


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
    if "BAD_DECRYPT" in reason or _is_encrypted(keyfile):
        return (
            f"keyfile={keyfile} is encrypted, and the password is "
            f"{'wrong' if options.keyfile_password_file else 'missing'}; put it into a file and "
            "name that with keyfile_password_file="
        )
    return (
        f"certfile={certfile} has no certificate, or keyfile={keyfile} no key, in PEM form"
        " (-----BEGIN …)"
    )


def _is_encrypted(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return b"ENCRYPTED" in file.read(100_000)
    except OSError:
        return False


def _unreadable(path: str) -> str | None:
    try:
        with open(path, "rb"):
            return None
    except OSError:
        return path
