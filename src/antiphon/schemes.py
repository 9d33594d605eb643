"""What a URL's scheme stands for: one registry class for stores and transports.

A scheme is a name and a ``"package.module:callable"``; the module is imported
when the scheme is first opened, so that ``import antiphon`` needs no optional
library.  Other distributions add schemes by entry points of the same shape.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import re
from collections.abc import Callable, Mapping
from typing import Any

from antiphon.errors import InvalidURL, MissingDependency, UnknownScheme

#: Shown in place of a password.
MASK = "***"

#: Schemes without user and password, whose paths may have an ``@``.
_PATH_SCHEMES = frozenset({"file", "files", "memory", "sqlite"})

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_SECRET_PARAMETER = re.compile(
    # Also as they are misspelled: of an unknown parameter the whole URL is shown.
    r"(?i)([?&;](?:[a-z_.-]*(?:pas+w?o?r?[dt]|pass|passphrase|pwd?|secret|token|api_?key"
    r"|credentials?))=)[^&;#]*"
)


def scheme_of(url: str) -> str:
    """Return the scheme of *url* in small letters, or ``""`` if it has none."""
    found = _SCHEME.match(url)
    return found.group(1).lower() if found else ""


def mask_url(url: str) -> str:
    """Return *url* with its password, if it has one, replaced by ``***``.

    Also parameters whose names speak of a secret (``?password=…``) are
    replaced.  A URL that nobody could parse is masked rather too much than too
    little: a raw ``/`` or ``@`` inside a password does not uncover its end.
    """
    head, separator, rest = url.partition("://")
    if not separator:
        scheme = scheme_of(url)
        head, separator, rest = url[: len(scheme)], ":" if scheme else "", url[len(scheme) :]
        rest = rest.removeprefix(":") if scheme else rest
    before, at, host = rest.rpartition("@")
    user, colon, _password = before.partition(":")
    if at and separator == ":":
        # "me:password@host": the scheme was forgotten, and what looks like one is the user.
        rest = rest if head.lower() in _PATH_SCHEMES else f"{MASK}@{host}"
    elif at and colon and ("/" not in user or (not separator and "//" in user)):  # redis//u:p@h
        rest = f"{user}:{MASK}@{host}"
    return _SECRET_PARAMETER.sub(rf"\g<1>{MASK}", f"{head}{separator}{rest}")


class SchemeRegistry:
    """Finds the callable that opens a URL, by the URL's scheme.

    Args:
        kind: the word for what is opened, used in messages: "store", "transport".
        group: entry-point group by which other distributions add schemes; an
            entry is ``scheme = package.module:callable``.
        builtin: scheme -> ``"package.module:callable"``; these names win over
            entry points of the same name.
        extras: library -> what to install when it is missing, where that is not
            simply the library's own name.
        suggest: returns what may have been meant by a URL that nothing is
            registered for; None if it has no idea.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        builtin: Mapping[str, str],
        extras: Mapping[str, str] | None = None,
        suggest: Callable[[str], str | None] | None = None,
    ) -> None:
        self.kind = kind
        self.group = group
        self._builtin = dict(builtin)
        self._extras = dict(extras or {})
        self._suggest = suggest

    def known(self) -> list[str]:
        """Return every scheme that can be opened, sorted; nothing is imported."""
        return sorted({*self._builtin, *(point.name for point in self._entry_points())})

    def load(self, url: str) -> Callable[..., Any]:
        """Return the callable registered for the scheme of *url*.

        Raises:
            InvalidURL: *url* is not text.
            UnknownScheme: nothing is registered; the message lists what is.
            MissingDependency: the scheme needs a library that is not installed.
        """
        if not isinstance(url, str):
            raise InvalidURL(f"a {self.kind} is opened by a URL in text, not by {url!r}")
        scheme = scheme_of(url)
        if (target := self._builtin.get(scheme)) is not None:
            return self._import(scheme, target)
        for point in self._entry_points():
            if point.name == scheme:
                return self._import(scheme, point.value)
        raise self._unknown(url, scheme)

    def _entry_points(self) -> importlib.metadata.EntryPoints:
        return importlib.metadata.entry_points(group=self.group)

    def _import(self, scheme: str, target: str) -> Callable[..., Any]:
        module_name, _, attribute = target.partition(":")
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as exc:
            library = (exc.name or module_name).partition(".")[0]
            if library == module_name.partition(".")[0]:
                raise  # our own module is missing: a fault, not a missing library
            wanted = self._extras.get(library, library)
            raise MissingDependency(
                f"the {self.kind} '{scheme}' needs the library '{library}', which is not "
                f"installed; install it with: pip install '{wanted}'",
                name=library,
            ) from exc
        for name in attribute.split("."):
            found = getattr(found, name)
        return found  # type: ignore[no-any-return]

    def _unknown(self, url: str, scheme: str) -> UnknownScheme:
        known = self.known()
        text = f"no {self.kind} for '{mask_url(url)}' (known: {', '.join(known)})"
        hint = None if self._suggest is None else self._suggest(url)
        if hint is not None:
            return UnknownScheme(f"{text}; {hint}")
        near = difflib.get_close_matches(scheme or url, known, n=1)
        if not scheme:
            example = near[0] if near else min(known, key=len)
            return UnknownScheme(f"{text}; a URL begins with a scheme, as in '{example}:'")
        return UnknownScheme(f"{text}; did you mean '{near[0]}'?" if near else text)
