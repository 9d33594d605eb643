"""``antiphon store set`` and ``rm``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any, BinaryIO

import click

from antiphon.cli.broker import examples
from antiphon.cli.output import escaped, say, write_line
from antiphon.cli.printing import to_json
from antiphon.cli.store_opening import (
    NOT_SO,
    event_options,
    shown_name,
    store_argument,
    transaction_of,
    writing,
)
from antiphon.cli.store_output import STANDARD, Counted, opened_input, size_of
from antiphon.cli.store_words import (
    choice_options,
    chosen_keys,
    count_text,
    parse_conditions,
    parse_entries,
    parse_metadata,
    parse_version,
    portions,
)
from antiphon.errors import KeyNotFound, TransactionTooLarge, VersionConflict
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.journal import ABSENT, Version
from antiphon.storage.utils import Readable
from antiphon.terminal.transfer_bars import batch, transfer
from antiphon.terminal.utils import size_text

#: Keys that are deleted in one transaction.
_PORTION = 500


@click.command(
    "set",
    short_help="Store a value.",
    epilog=examples(
        "echo 1.09 | antiphon store set sqlite:shop.db prices/eur",
        "antiphon store set sqlite:shop.db prices/eur --text 1.09 --meta currency=EUR",
        "antiphon store set 'redis://localhost?namespace=shop' logo a.png --if-absent",
        "antiphon store set sqlite:shop.db prices/eur --meta-only --meta n=5",
    ),
)
@store_argument()
@click.argument("key")
@click.argument("file", required=False)
@click.option("--text", metavar="TEXT", help="The data, in place of FILE.")
@click.option(
    "--meta",
    "entries",
    multiple=True,
    metavar="NAME=VALUE",
    help="A metadata entry.  VALUE is JSON where it can be (n=5, tags='[\"a\"]', code='\"5\"'), "
    "else text.  May be given several times.",
)
@click.option(
    "--meta-file",
    metavar="FILE",
    help="Metadata as a JSON object, as 'antiphon store get --meta' writes it.",
)
@click.option(
    "--meta-only",
    "is_meta_only",
    is_flag=True,
    help="Leave the data, and add to the metadata that KEY has.",
)
@click.option("--if-absent", is_flag=True, help="Only if there is no such key.")
@click.option(
    "--if-version",
    metavar="VERSION",
    help="Only if KEY has this version, as 'antiphon store ls --json' shows it.",
)
@click.option("--json", "is_json", is_flag=True, help="Print what happened as a line of JSON.")
@event_options
def set_(
    store: str,
    key: str,
    file: str | None,
    text: str | None,
    entries: tuple[str, ...],
    meta_file: str | None,
    is_meta_only: bool,
    if_absent: bool,
    if_version: str | None,
    is_json: bool,
    url: str | None,
    system: str,
) -> int:
    """Store the bytes of FILE, or of standard input, under KEY.

    With --meta or --meta-file KEY has these metadata afterwards and no others; without, it keeps
    those that it has.  All of it happens in one step, or not at all.  If the key is there with
    --if-absent, has another version than --if-version, or is not there with --meta-only, nothing
    is changed and the status is 3.
    """
    _check_sources(file, text, meta_file, is_meta_only)
    expect = _condition(if_absent, if_version)
    metadata = _metadata(entries, meta_file)
    if is_meta_only and metadata is None:
        raise click.UsageError("--meta-only needs --meta or --meta-file")
    size = None
    data = contextlib.nullcontext((None, None)) if is_meta_only else _source(file, text)
    # The source first: a slip in its name makes no store.
    with data as (source, total), writing(store, url, system) as opened:
        try:
            if source is None:
                version = opened.update_metadata(key, metadata or {}, **_if(expect))
            else:
                with transfer(f"storing {key}", total) as step:
                    counted = Counted(source, step)
                    version = _put(opened, key, counted, metadata, expect)
                size = counted.count
        except (VersionConflict, KeyNotFound) as exc:
            say(str(exc))
            return NOT_SO
    _tell_set(key, size, version, is_json)
    return 0


def _check_sources(
    file: str | None, text: str | None, meta_file: str | None, is_meta_only: bool
) -> None:
    if is_meta_only and (file is not None or text is not None):
        raise click.UsageError("--meta-only leaves the data: give neither FILE nor --text")
    if file is not None and text is not None:
        raise click.UsageError("give either FILE or --text")
    reads_data = not is_meta_only and text is None and file in (None, STANDARD)
    if meta_file == STANDARD and reads_data:
        raise click.UsageError("standard input cannot be both data and metadata")


def _condition(if_absent: bool, if_version: str | None) -> Version | None:
    if if_absent and if_version is not None:
        raise click.UsageError("give either --if-absent or --if-version")
    if if_absent:
        return ABSENT
    return None if if_version is None else parse_version(if_version)


def _metadata(entries: Sequence[str], path: str | None) -> dict[str, Any] | None:
    """Return the metadata that are given; None if none are."""
    if path is None and not entries:
        return None
    found: dict[str, Any] = {}
    if path is not None:
        with opened_input(path) as file:
            text = file.read().decode("utf-8", "replace")
        found.update(parse_metadata(text, "--meta-file"))
    found.update(parse_entries(entries, "--meta"))
    return found


@contextlib.contextmanager
def _source(file: str | None, text: str | None) -> Iterator[tuple[BinaryIO, int | None]]:
    """Open the data that are to be stored; yields them and their size, if that is known."""
    if text is not None:
        data = text.encode("utf-8", "surrogateescape")
        yield BytesIO(data), len(data)
        return
    with opened_input(file) as source:
        yield source, size_of(source)


def _put(
    store: AbstractStore,
    key: str,
    source: Readable,
    metadata: dict[str, Any] | None,
    expect: Version | None,
) -> Version | None:
    if metadata is None:
        return store.set_data(key, source, **_if(expect))
    return store.set(key, (source, metadata), **_if(expect))


def _if(expect: Version | None) -> dict[str, Any]:
    # A store that was written for Encore knows no expect.
    return {} if expect is None else {"expect": expect}


def _tell_set(key: str, size: int | None, version: Version | None, is_json: bool) -> None:
    named = None if version is None else str(version)
    if is_json:
        write_line(to_json({"key": key, "bytes": size, "version": named}))
        return
    what = "metadata" if size is None else size_text(size)
    write_line(f"stored {escaped(key)}: {what}" + (f", version {named}" if named else ""))


@click.command(
    short_help="Delete keys.",
    epilog=examples(
        "antiphon store rm sqlite:shop.db prices/eur",
        "antiphon store rm sqlite:shop.db --prefix prices/ --filter old=true",
        "antiphon store rm 'redis://localhost?namespace=shop' --all --yes",
    ),
)
@store_argument()
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@choice_options
@click.option("--all", "is_all", is_flag=True, help="All keys.")
@click.option(
    "--if-version", metavar="VERSION", help="Only if KEY, which must be one, has this version."
)
@click.option("--missing-ok", is_flag=True, help="Say nothing of a KEY that is not there.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@event_options
def rm(
    store: str,
    keys: tuple[str, ...],
    prefix: str,
    filters: tuple[str, ...],
    is_all: bool,
    if_version: str | None,
    missing_ok: bool,
    yes: bool,
    url: str | None,
    system: str,
) -> int:
    """Delete keys, after asking if there may be more than one.

    What comes after the question is not deleted.  If a KEY is not there, or has another version
    than --if-version, nothing is deleted and the status is 3.
    """
    conditions = parse_conditions(filters)
    _check_choice(keys, bool(prefix or filters), is_all, if_version)
    expect = None if if_version is None else parse_version(if_version)
    with writing(store, url, system, makes=False) as opened:
        if keys:
            doomed = list(dict.fromkeys(keys))
            missing = [key for key in doomed if not opened.exists(key)]
            if missing and not missing_ok:
                named = ", ".join(repr(key) for key in missing[:10])
                more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
                say(f"no key {named}{more} in {shown_name(store)}; nothing was deleted")
                return NOT_SO
        else:
            doomed = list(chosen_keys(opened, prefix, conditions))
        if doomed and not yes and keys != (doomed[0],):
            what = count_text(len(doomed), "key")
            click.confirm(f"Delete {what} of {shown_name(store)} for good?", abort=True, err=True)
        try:
            count = _delete_one(opened, doomed[0], expect) if expect else _delete(opened, doomed)
        except VersionConflict as exc:
            say(str(exc))
            return NOT_SO
    write_line(f"deleted {count_text(count, 'key')}")
    return 0


def _check_choice(
    keys: Sequence[str], is_chosen: bool, is_all: bool, if_version: str | None
) -> None:
    if bool(keys) + is_chosen + is_all != 1:
        raise click.UsageError("say which: either KEYs, or --prefix and --filter, or --all")
    if if_version is not None and len(keys) != 1:
        raise click.UsageError("--if-version is about one KEY")


def _delete_one(store: AbstractStore, key: str, expect: Version) -> int:
    store.delete(key, expect=expect)
    return 1


def _delete(store: AbstractStore, keys: list[str]) -> int:
    """Delete *keys*, many at a time; return how many there still were."""
    count = 0
    with batch("deleting", len(keys)) as progress:
        for some in portions(keys, _PORTION):
            count += _delete_some(store, some)
            progress.step(len(some))
    return count


def _delete_some(store: AbstractStore, keys: list[str]) -> int:
    if len(keys) == 1:
        return _is_deleted(store, keys[0])
    try:
        with transaction_of(store, f"Deleting {count_text(len(keys), 'key')}"):
            for key in keys:
                store.delete(key)
    except (KeyNotFound, TransactionTooLarge):
        # Another one deleted a key meanwhile, or stores take less at once.
        return sum(_is_deleted(store, key) for key in keys)
    return len(keys)


def _is_deleted(store: AbstractStore, key: str) -> bool:
    try:
        store.delete(key)
    except KeyNotFound:
        return False
    return True
