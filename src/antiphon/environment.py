"""Settings from the environment, and secrets from the files that it names.

A variable ``NAME`` holds a value; ``NAME_FILE`` holds the name of a file with it, as
Docker and Kubernetes give secrets.  Programs, the command line and the services all
read them here.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

from antiphon.errors import InvalidEnvironment, InvalidURL

#: The broker: its URL, and the user and password where the URL names none.
AMQP_URL = "ANTIPHON_AMQP_URL"
AMQP_USER = "ANTIPHON_AMQP_USER"
AMQP_PASSWORD = "ANTIPHON_AMQP_PASSWORD"  # noqa: S105 - the name of a variable

_PREFIX = "ANTIPHON_"
#: Variables that are no slips of one another.
_KNOWN = frozenset(
    f"{name}{end}"
    for name in (AMQP_URL, AMQP_USER, AMQP_PASSWORD, "ANTIPHON_REDIS_URL", "ANTIPHON_ARCHIVE_URL")
    for end in ("", "_FILE")
)


class URLOfFile(str):
    """A URL that was read from a file, and can be read again after it was replaced.

    Args:
        url: what the file says now.
        variable: the variable of the environment that names the file.
    """

    variable: str

    def __new__(cls, url: str, variable: str) -> URLOfFile:
        """Return *url*, which remembers *variable*."""
        made = super().__new__(cls, url)
        made.variable = variable
        return made

    def again(self) -> URLOfFile:
        """Return what the file says now.

        Raises:
            InvalidEnvironment: it cannot be read, or is no longer named.
        """
        found = read_variable(self.variable)
        if not found:
            raise InvalidEnvironment(f"{self.variable}_FILE is no longer in the environment")
        return URLOfFile(found, self.variable)


def read_variable(name: str, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the value of *name*, or the content of the file that *name*\\ ``_FILE`` names.

    Args:
        name: of the variable, without ``_FILE``.
        environment: the process's if None.

    Returns:
        The text; of a file without the line end after it.  None if neither is set;
        one that is set to nothing counts as not set.

    Raises:
        InvalidEnvironment: both are set, or the file cannot be read; the message has no value.
    """
    environment = os.environ if environment is None else environment
    value, path = environment.get(name), environment.get(f"{name}_FILE")
    if value and path:
        raise InvalidEnvironment(
            f"{name} and {name}_FILE are both set; unset one of them: it is not clear which counts"
        )
    return _content(path, f"{name}_FILE") if path else value or None


def read_secret_file(path: str, purpose: str) -> str:
    """Return the content of the file at *path* without the line end after it.

    Raises:
        InvalidEnvironment: it cannot be read; the message names *purpose* and *path*.
    """
    return _content(path, purpose)


def broker_url(url: str | None = None) -> str:
    """Return *url*, else the one that the environment names.

    Raises:
        InvalidURL: neither is there; the message says what to set.
        InvalidEnvironment: see ``read_variable``.
    """
    if url is not None:
        return url
    found = read_variable(AMQP_URL)
    if found is None:
        raise InvalidURL(
            f"no broker is named: give a URL, or set {AMQP_URL} (or {AMQP_URL}_FILE, the name of "
            "a file that has it), as in amqp://user:password@host:5672/virtual-host"
            f"{slip_hint(AMQP_URL)}"
        )
    return URLOfFile(found, AMQP_URL) if os.environ.get(f"{AMQP_URL}_FILE") else found


def slip_hint(name: str) -> str:
    """Return what to add to a message that *name* is not set; nothing if there is no telling.

    A variable that is called nearly so was meant for it, most likely.
    """
    names = [each for each in os.environ if each.startswith(_PREFIX) and each not in _KNOWN]
    near = difflib.get_close_matches(name, names, 1, 0.88)
    return f" ({near[0]} is set; was {name} meant?)" if near else ""


def _content(path: str, purpose: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as exc:  # ValueError: no UTF-8, or a zero in the name
        reason = exc.strerror if isinstance(exc, OSError) else "it is no UTF-8"
        raise InvalidEnvironment(
            f"{path}, which {purpose} names, cannot be read: {reason}"
        ) from None
