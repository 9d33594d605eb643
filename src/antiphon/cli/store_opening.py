"""The stores that commands work on: what names them, and who hears of their changes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import click

from antiphon.environment import AMQP_URL, read_variable
from antiphon.errors import FlushTimeout, ReadOnlyStore, StoreUnavailable
from antiphon.schemes import mask_url, scheme_of
from antiphon.storage.abstract_store import AbstractReadOnlyStore, AbstractStore
from antiphon.storage.opening import open_store, url_path

F = TypeVar("F", bound=Callable[..., Any])

#: In place of a URL: the variable of the environment that holds it follows.
VARIABLE = "env:"

#: Seconds to wait until the broker has confirmed the events of what was changed.
CONFIRM_S = 30.0

#: Exit status if a key is not there, or a condition does not hold; nothing was changed.
NOT_SO = 3


def store_argument(name: str = "store") -> Callable[[F], F]:
    """Return a decorator that adds the URL of a store as an argument."""
    return click.argument(name, metavar=name.upper())


def event_options(command: F) -> F:
    """Add ``--url`` and ``--system`` to a command that changes a store."""
    system = click.option(
        "--system",
        default="antiphon",
        show_default=True,
        metavar="NAME",
        help="The system that the store belongs to.",
    )
    url = click.option(
        "--url",
        metavar="URL",
        help="The broker that is told of what changes: amqp://user:password@host:5672/.  Default: "
        f"the environment variable {AMQP_URL}; without one, those who listen hear of it from "
        "the outbox of another process with the store, or not at all.",
    )
    return url(system(command))


def url_of(text: str) -> str:
    """Return the URL that *text* is, or that the variable holds which it names by ``env:``."""
    if not text.startswith(VARIABLE):
        return _lasting(text)
    name = text.removeprefix(VARIABLE)
    url = read_variable(name) if name else None
    if url is None:
        shown = mask_url(name) or "…"  # it may be a URL by mistake
        raise click.UsageError(
            f"'{VARIABLE}{shown}' means the URL in the environment variable {shown} (or in the "
            f"file that {shown}_FILE names), and there is none"
        )
    return _lasting(url)


def _lasting(url: str) -> str:
    if scheme_of(url) == "memory" or url.startswith("sqlite::memory:"):
        raise click.UsageError(
            f"'{mask_url(url)}' lives in one process, and would end with this command"
        )
    return url


def shown_name(text: str) -> str:
    """Return what the user calls a store, for messages; without a password."""
    if text.startswith(VARIABLE):
        return VARIABLE + mask_url(text.removeprefix(VARIABLE))
    return mask_url(text)


@contextlib.contextmanager
def reading(store: str) -> Iterator[AbstractReadOnlyStore]:
    """Open the store that the user calls *store*, in order to read it."""
    with _open_existing(url_of(store)) as opened:
        yield opened


@contextlib.contextmanager
def writing(
    store: str, broker: str | None, system: str, *, makes: bool = True
) -> Iterator[AbstractStore]:
    """Open the store that the user calls *store*; the broker, if any, is told of changes.

    Args:
        store: its URL, or ``env:NAME``.
        broker: where the broker is; None is the one of the environment, if that names one.
        system: the system of the bus.
        makes: whether a store is made where there is none.

    Raises:
        ReadOnlyStore: it cannot be written.
        FlushTimeout: at the end: all is written, and the broker has not confirmed it.
    """
    url = url_of(store)
    open_it = open_store if makes else _open_existing
    broker = broker or read_variable(AMQP_URL)
    if broker is None:
        with open_it(url) as opened:
            yield checked_writable(opened)
        return
    # Only here: most commands need no broker.
    from antiphon.outbox.opening import open_bus

    with open_bus(broker, system=system) as bus:
        with open_it(url, event_manager=bus) as opened:
            yield checked_writable(opened)
        try:
            bus.flush(CONFIRM_S)
        except FlushTimeout as exc:
            raise FlushTimeout(
                f"what was to be changed is changed, but nobody may have heard of it: {exc}"
            ) from None


def checked_writable(store: AbstractReadOnlyStore) -> AbstractStore:
    """Return *store* if it can be written."""
    if not isinstance(store, AbstractStore) or store.info().get("readonly"):
        raise ReadOnlyStore(f"{store!r} can only be read")
    return store


def transaction_of(store: AbstractStore, notes: str) -> contextlib.AbstractContextManager[Any]:
    """Return a transaction of *store*; nothing of the kind if it has none."""
    try:
        return store.transaction(notes)
    except NotImplementedError:
        return contextlib.nullcontext()


def _open_existing(url: str, **options: Any) -> AbstractStore:
    """Return the store of *url*: whoever only reads or deletes does not mean to make one.

    Raises:
        StoreUnavailable: there is none yet.
    """
    scheme = scheme_of(url)
    if scheme not in ("sqlite", "file"):
        return open_store(url, **options)
    path = url_path(url)
    if scheme == "file":
        options["create"] = False
    if not os.path.exists(path):
        raise StoreUnavailable(f"there is no store '{url}': {path} does not exist")
    store = open_store(url, **options)
    if scheme == "sqlite":
        table = dict(parse_qsl(urlsplit(url).query)).get("table", "store")
        if not _has_table(path, table):
            raise StoreUnavailable(
                f"there is no store '{url}': {path} has no table '{table}' (?table=NAME names "
                "another)"
            )
    return store


def _has_table(path: str, table: str) -> bool:
    """Whether the sqlite file at *path* has *table*; also if only connecting can tell."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)) as file:
            found = file.execute(
                "SELECT count(*) FROM sqlite_master WHERE name = ?", (table,)
            ).fetchone()
    except sqlite3.Error:
        return True  # locked, or no database: the store itself says what is wrong
    return bool(found[0])
