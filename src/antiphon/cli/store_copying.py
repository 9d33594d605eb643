"""``antiphon store cp``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from antiphon.cli.broker import examples
from antiphon.cli.output import escaped, say, write_line
from antiphon.cli.printing import to_json
from antiphon.cli.store_copier import Copier, CopyOptions, Tally
from antiphon.cli.store_folder import Folder
from antiphon.cli.store_opening import (
    NOT_SO,
    event_options,
    reading,
    store_argument,
    url_of,
    writing,
)
from antiphon.cli.store_words import (
    choice_options,
    chosen_keys,
    count_text,
    parse_conditions,
)
from antiphon.errors import AntiphonError
from antiphon.schemes import scheme_of
from antiphon.storage.abstract_store import AbstractReadOnlyStore, AbstractStore
from antiphon.storage.opening_hints import is_database, is_sqlite
from antiphon.terminal.transfer_bars import batch
from antiphon.terminal.utils import size_text

#: Failures that are told one by one.
_TOLD = 20

#: Exit status if some keys could not be copied.
FAILED = 1


@click.command(
    short_help="Copy keys from one store to another, or to a folder and back.",
    epilog=examples(
        "antiphon store cp sqlite:shop.db 'redis://localhost?namespace=shop'",
        "antiphon store cp sqlite:shop.db ./prices --prefix prices/ --to-prefix ''",
        "antiphon store cp ./logos sqlite:shop.db --to-prefix logos/ --if-absent",
        "antiphon store cp env:LIVE env:COPY prices/eur prices/usd",
    ),
)
@store_argument("source")
@store_argument("target")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@choice_options
@click.option(
    "--to-prefix",
    metavar="TEXT",
    help="What the keys begin with in TARGET, in place of that of --prefix.",
)
@click.option("--if-absent", is_flag=True, help="Leave keys alone that are in TARGET.")
@click.option(
    "--quick",
    "is_quick",
    is_flag=True,
    help="Take values for the same by size, metadata and time of change, unread.  The clocks of "
    "both ends must be right.",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Write nothing, and name what would be.")
@click.option("--json", "is_json", is_flag=True, help="Print what happened as a line of JSON.")
@event_options
def cp(
    source: str,
    target: str,
    keys: tuple[str, ...],
    prefix: str,
    to_prefix: str | None,
    filters: tuple[str, ...],
    if_absent: bool,
    is_quick: bool,
    is_dry: bool,
    is_json: bool,
    url: str | None,
    system: str,
) -> int:
    """Copy keys with their data and metadata from SOURCE to TARGET: all, or those that are chosen.

    Either may be the path of a folder of files: their paths are the keys, and metadata are left
    out.

    Keys whose values are the same already are left alone, and nobody is told of them.  So a copy
    that was broken off goes on when the same command is run again.  Each key is whole or not
    there, at any time.  What is only in TARGET stays.
    """
    conditions = parse_conditions(filters)
    if keys and (prefix or filters):
        raise click.UsageError("give either KEYs, or --prefix and --filter")
    options = CopyOptions(
        prefix, prefix if to_prefix is None else to_prefix, if_absent, is_quick, is_dry
    )
    with _source(source) as here:
        if filters and isinstance(here, Folder):
            raise click.UsageError("files have no metadata, so --filter finds none")
        if lacking := [key for key in keys if not here.exists(key)]:
            named = ", ".join(repr(key) for key in lacking[:10])
            say(f"no key {named} in {here!r}; nothing was copied")
            return NOT_SO
        chosen = list(dict.fromkeys(keys)) or list(chosen_keys(here, prefix, conditions))
        with _target(target, url, system, is_dry) as there:
            tally = _copy(here, there, chosen, options, is_json)
    return FAILED if tally.failed else 0


def _copy(
    here: AbstractReadOnlyStore,
    there: AbstractStore,
    keys: list[str],
    options: CopyOptions,
    is_json: bool,
) -> Tally:
    told = 0

    def tell_failure(key: str, error: Exception) -> None:
        nonlocal told
        told += 1
        if told <= _TOLD:
            say(f"not copied: {key}: {error}")

    def tell_copied(key: str) -> None:
        if options.is_dry and not is_json:
            write_line(f"would copy {escaped(key)}")

    tally = Tally()
    try:
        with batch("copying", len(keys)) as progress:
            copier = Copier(
                here,
                there,
                options,
                tally,
                progress=progress,
                tell_failure=tell_failure,
                tell_copied=tell_copied,
            )
            copier.copy(keys)
    except (AntiphonError, OSError, SystemExit):
        done = tally.copied + tally.same + tally.present
        say(f"{done} of {len(keys)} keys are there; the same command goes on from here")
        raise
    if told > _TOLD:
        say(f"not copied: {told - _TOLD} more")
    _tell(tally, options, is_json)
    return tally


def _tell(tally: Tally, options: CopyOptions, is_json: bool) -> None:
    if is_json:
        write_line(to_json(asdict(tally)))
        return
    verb = "would copy" if options.is_dry else "copied"
    parts = [f"{verb} {count_text(tally.copied, 'key')}, {size_text(tally.copied_bytes)}"]
    for count, words in (
        (tally.same, "the same already"),
        (tally.present, "there already, left alone"),
        (tally.gone, "gone from the source meanwhile"),
        (tally.failed, "not copied"),
    ):
        if count:
            parts.append(f"{count} {words}")
    write_line("; ".join(parts))


@contextlib.contextmanager
def _source(name: str) -> Iterator[AbstractReadOnlyStore]:
    with Folder(name) if _is_folder(name) else reading(name) as opened:
        yield opened


@contextlib.contextmanager
def _target(name: str, broker: str | None, system: str, is_dry: bool) -> Iterator[AbstractStore]:
    opened: Any = (
        Folder(name, makes=not is_dry)
        if _is_folder(name)
        else writing(name, broker, system, makes=not is_dry)
    )
    with opened as store:
        yield store


def _is_folder(name: str) -> bool:
    """Whether *name* is a path, and not that of a sqlite file by mistake.

    Raises:
        click.UsageError: it is the path of some other file.
    """
    text = url_of(name)
    if scheme_of(text):
        return False
    if os.path.isfile(text) and not is_database(text):
        raise click.UsageError(
            f"'{text}' is a file, and cp copies stores and folders; one value is stored with"
            f" 'antiphon store set STORE KEY {text}', and written with 'antiphon store get'"
        )
    return not is_sqlite(text)
