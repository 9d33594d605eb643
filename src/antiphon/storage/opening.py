"""Stores by URL, and the URLs of the stores that are part of this package."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from antiphon.errors import InvalidURL
from antiphon.events.api import BaseEventManager
from antiphon.schemes import SchemeRegistry, mask_url
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.opening_hints import store_hint

#: The stores by scheme; other distributions add theirs as entry points.
stores = SchemeRegistry(
    "store",
    "antiphon.stores",
    {
        "dynamic+http": "antiphon.storage.dynamic_url_store:from_url",
        "dynamic+https": "antiphon.storage.dynamic_url_store:from_url",
        "file": "antiphon.storage.filesystem_store:from_url",
        "memory": "antiphon.storage.dict_memory_store:from_url",
        "redis": "antiphon.storage.redis_store:from_url",
        "rediss": "antiphon.storage.redis_store:from_url",
        "static+file": "antiphon.storage.static_url_store:from_url",
        "static+http": "antiphon.storage.static_url_store:from_url",
        "static+https": "antiphon.storage.static_url_store:from_url",
        "sqlite": "antiphon.storage.sqlite_store:from_url",
        "unix": "antiphon.storage.redis_store:from_url",
    },
    suggest=store_hint,
)


def open_store(
    url: str, *, event_manager: BaseEventManager | None = None, **options: Any
) -> AbstractStore:
    """Return the store that *url* names, not yet connected.

    Args:
        url: ``memory:``, ``sqlite:///path``, ``redis://host/0?namespace=name``,
            or what another distribution has added.  Each store's reference
            lists its parameters.
        event_manager: emits the store's events; None is the global one.
        **options: parameters of the store, which win over those in the URL.

    Raises:
        UnknownScheme: there is no store for the scheme; the message lists them.
        InvalidURL: a part of the URL makes no sense, or *event_manager* is a URL.
        MissingDependency: the store needs a library that is not installed.
    """
    if isinstance(event_manager, str):
        raise InvalidURL(
            "event_manager must be an event manager, as open_bus(url) returns it, not the text"
            f" '{mask_url(event_manager)}'"
        )
    store: AbstractStore = stores.load(url)(url, **options)
    if event_manager is not None:
        store.event_manager = event_manager
    return store


def url_parameters(
    url: str,
    known: Mapping[str, Callable[[str], Any]],
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the parameters of *url*, each converted by its function in *known*.

    Args:
        url: the URL.
        known: what may be in it, and how its text becomes a value.
        options: the same, given beside the URL: they win, and are values already.

    Raises:
        InvalidURL: one is unknown, there twice, or not convertible.
    """
    for name in options or ():
        if name not in known:
            raise InvalidURL(
                f"unknown option {name!r} beside '{mask_url(url)}' (known: {', '.join(known)})"
            )
    found: dict[str, Any] = {}
    for name, text in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if name not in known:
            raise InvalidURL(
                f"unknown parameter {name!r} in '{mask_url(url)}' (known: {', '.join(known)})"
            )
        if name in found:
            raise InvalidURL(f"parameter {name!r} is there twice in '{mask_url(url)}'")
        try:
            found[name] = known[name](text)
        except ValueError as exc:
            raise InvalidURL(f"{name}={text!r} in '{mask_url(url)}': {exc}") from None
    return {**found, **(options or {})}


def url_path(url: str) -> str:
    """Return the path of a file that *url* names: ``scheme:///absolute`` or ``scheme:relative``.

    Raises:
        InvalidURL: it names a host, or no file.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc:
        raise InvalidURL(
            f"'{mask_url(url)}' names the host {parts.hostname!r}; a file has three slashes:"
            f" {parts.scheme}:///absolute/path, or none: {parts.scheme}:relative/path"
        )
    if parts.fragment:
        raise InvalidURL(f"'{mask_url(url)}' has a '#'; in the name of a file write it as %23")
    if not path.strip("/") or "\0" in path:
        raise InvalidURL(f"'{mask_url(url)}' names no file")
    # Some write four slashes before an absolute path.
    return os.path.join("/", path.lstrip("/")) if path.startswith("//") else path


def url_flag(text: str) -> bool:
    """Return what *text* says: yes or no; ``ValueError`` if neither."""
    answers = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    try:
        return answers[text.lower()]
    except KeyError:
        raise ValueError("write yes or no") from None
