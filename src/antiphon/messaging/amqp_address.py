"""What an ``amqp://`` URL says, checked before anything is connected."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field, replace

from antiphon.environment import AMQP_PASSWORD, AMQP_USER, URLOfFile, read_variable
from antiphon.errors import InvalidURL
from antiphon.schemes import mask_url, scheme_of

#: Seconds between signs of life that both sides agree on; the broker sends one every half of it.
DEFAULT_HEARTBEAT_S = 6

#: Options of the query that are about TLS.
_TLS_OPTIONS = frozenset(
    {"cafile", "certfile", "keyfile", "keyfile_password_file", "verify", "server_name"}
)
_OPTIONS = _TLS_OPTIONS | {"heartbeat", "order", "auth"}

_EXAMPLE = "amqp://user:password@host:5672/virtual-host?heartbeat=6"
_ESCAPE_HINT = "special characters in user and password are written %XX (/ is %2F, @ is %40)"


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """How the broker is trusted, and how it is shown who asks.

    Attributes:
        cafile: PEM file with the authorities that are trusted; the system's if None.
        certfile: PEM file with our certificate, and those between it and the authority.
        keyfile: PEM file with its key; in *certfile* if None.
        keyfile_password_file: file with the password of an encrypted key.
        is_verified: False accepts any broker, which whoever is in between can be.
        server_name: name that the broker's certificate must have; the host's if None.
    """

    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    keyfile_password_file: str | None = None
    is_verified: bool = True
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class AmqpAddress:
    """Where a broker is and who asks; the password is kept out of the repr.

    Attributes:
        host: of the first node; see ``nodes``.
        port: of the first node.
        virtual_host: ``"/"`` if the URL names none; ``""`` for a URL that ends
            in a bare slash, which is what AMQP URLs mean by it.
        heartbeat_s: seconds; 0 switches heartbeats, and with them the search
            for a silent broker, off.
        tls: what the URL says about TLS.
        is_external: whether the client certificate says who asks (SASL EXTERNAL),
            in place of user and password.
        nodes: (host, port) of every node of the cluster, as the URL lists them.
        is_shuffled: whether they are tried in an order of chance.
        has_others: whether it is one node of several (``at``).
        url: what all this was read from.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    virtual_host: str
    is_tls: bool
    heartbeat_s: int
    tls: TLSOptions = TLSOptions()
    is_external: bool = False
    nodes: tuple[tuple[str, int], ...] = ()
    is_shuffled: bool = False
    has_others: bool = False
    url: str = field(default="", repr=False, compare=False)

    @property
    def where(self) -> str:
        """``host:port``, for messages; of all nodes if there are several."""
        return ", ".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for host, port in self.nodes or ((self.host, self.port),)
        )

    def at(self, node: tuple[str, int]) -> AmqpAddress:
        """Return the address of one *node* only."""
        has_others = len(self.nodes) > 1
        return replace(self, host=node[0], port=node[1], nodes=(node,), has_others=has_others)

    def again(self) -> AmqpAddress:
        """Return the address with secrets as their files have them now.

        Raises:
            InvalidURL, InvalidEnvironment: what is there now makes no sense.
        """
        return parse_address(self.url.again() if isinstance(self.url, URLOfFile) else self.url)


def parse_address(url: str) -> AmqpAddress:
    """Return what *url* says; what it does not say of user and password, the environment does.

    Raises:
        InvalidURL: a part makes no sense; the message says which.
        InvalidEnvironment: a file with user or password cannot be read.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme_of(url) != scheme.lower():
        raise InvalidURL(f"'{mask_url(url)}' is no AMQP URL: '//' is missing, as in {_EXAMPLE}")
    end = min((at for mark in "/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
    authority, tail = rest[:end], rest[end:]
    path, _, query = tail.partition("?")
    if "#" in tail or ("@" in tail and "@" not in authority):
        raise InvalidURL(f"'{mask_url(url)}' is no AMQP URL: {_ESCAPE_HINT}")
    options = _options(url, query)
    is_tls = scheme.lower() == "amqps"
    login, _, hosts = authority.rpartition("@")
    nodes = tuple(_node(url, text, 5671 if is_tls else 5672) for text in hosts.split(","))
    if len(set(nodes)) < len(nodes):
        raise InvalidURL(f"'{mask_url(url)}' names a host twice")
    is_external = _choice(url, options, "auth", ("password", "external")) == "external"
    user, password = ("", "") if is_external else _credentials(login)
    if is_external and not (is_tls and options.get("certfile")):
        raise InvalidURL(
            f"'{mask_url(url)}': auth=external needs amqps:// and certfile=, the client certificate"
        )
    return AmqpAddress(
        host=nodes[0][0],
        port=nodes[0][1],
        user=user,
        password=password,
        virtual_host=_virtual_host(url, path),
        is_tls=is_tls,
        heartbeat_s=_heartbeat(url, options),
        tls=_tls(url, options, is_tls=is_tls),
        is_external=is_external,
        nodes=nodes,
        is_shuffled=_choice(url, options, "order", ("given", "random")) == "random",
        url=url,
    )


def _node(url: str, text: str, default_port: int) -> tuple[str, int]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise InvalidURL(
                f"'{mask_url(url)}' is no AMQP URL: an IPv6 address is not closed by ]"
            )
        port = rest[1:]
    else:
        host, _, port = text.partition(":")
    if not port:
        return host.lower() or "localhost", default_port
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InvalidURL(f"'{mask_url(url)}' is no AMQP URL: {_blame(url, port)}")
    return host.lower() or "localhost", int(port)


def _blame(url: str, port: str) -> str:
    # What could not be read as a port may be half a password, if a special character in it
    # has ended what is before the host.
    rest = url.partition("://")[2]
    if "@" in rest[len(re.split("[/?#]", rest, maxsplit=1)[0]) :]:
        return _ESCAPE_HINT
    return f"the port is a number from 1 to 65535, not '{port}', as in {_EXAMPLE}"


def _credentials(login: str) -> tuple[str, str]:
    user, colon, password = login.partition(":")
    return (
        urllib.parse.unquote(user) if user or colon else read_variable(AMQP_USER) or "guest",
        urllib.parse.unquote(password) if colon else read_variable(AMQP_PASSWORD) or "guest",
    )


def _virtual_host(url: str, path: str) -> str:
    name = path.removeprefix("/")
    if "/" in name:
        raise InvalidURL(
            f"'{mask_url(url)}' names the virtual host '{name}' with a raw slash; "
            "a slash inside a name is written %2F"
        )
    return urllib.parse.unquote(name) if path else "/"


def _options(url: str, query: str) -> dict[str, str]:
    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if unknown := sorted(set(options) - _OPTIONS):
        raise InvalidURL(
            f"'{mask_url(url)}' has unknown options ({', '.join(unknown)}); "
            f"known: {', '.join(sorted(_OPTIONS))}"
        )
    if len(options) < len(pairs):
        raise InvalidURL(f"'{mask_url(url)}' has an option twice")
    return options


def _choice(url: str, options: dict[str, str], name: str, allowed: tuple[str, str]) -> str:
    value = options.get(name, allowed[0])
    if value not in allowed:
        raise InvalidURL(
            f"'{mask_url(url)}': {name} is {allowed[0]} or {allowed[1]}, not '{value}'"
        )
    return value


def _tls(url: str, options: dict[str, str], *, is_tls: bool) -> TLSOptions:
    given = sorted(_TLS_OPTIONS & set(options))
    if given and not is_tls:
        raise InvalidURL(
            f"'{mask_url(url)}': {given[0]} is for TLS, which amqps:// (with an s) asks for"
        )
    if empty := [name for name in given if not options[name]]:
        raise InvalidURL(f"'{mask_url(url)}': {empty[0]} is empty")
    if "certfile" not in options and (names := [n for n in given if n.startswith("keyfile")]):
        raise InvalidURL(f"'{mask_url(url)}': {names[0]} without certfile, whose key it is")
    return TLSOptions(
        cafile=options.get("cafile"),
        certfile=options.get("certfile"),
        keyfile=options.get("keyfile"),
        keyfile_password_file=options.get("keyfile_password_file"),
        is_verified=_choice(url, options, "verify", ("yes", "no")) == "yes",
        server_name=options.get("server_name"),
    )


def _heartbeat(url: str, options: dict[str, str]) -> int:
    text = options.get("heartbeat", str(DEFAULT_HEARTBEAT_S))
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= 3600:
        raise InvalidURL(
            f"'{mask_url(url)}': heartbeat is whole seconds from 0 (off) to 3600, not '{text}'"
        )
    return int(text)
