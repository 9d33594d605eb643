"""``antiphon store get`` and ``ls``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, BinaryIO

import click

from antiphon.cli.broker import examples
from antiphon.cli.output import escaped, say, write_bytes, write_line
from antiphon.cli.printing import to_json
from antiphon.cli.store_opening import NOT_SO, reading, store_argument
from antiphon.cli.store_output import STANDARD, TerminalGuard, replaced_file
from antiphon.cli.store_rows import long_row
from antiphon.cli.store_words import (
    choice_options,
    chosen_keys,
    facts,
    metadata_text,
    parse_conditions,
    values_of,
)
from antiphon.errors import KeyNotFound
from antiphon.storage.utils import buffer_iterator
from antiphon.terminal.transfer_bars import transfer


@click.command(
    short_help="Print a value, or write it into a file.",
    epilog=examples(
        "antiphon store get 'redis://localhost?namespace=shop' prices/eur",
        "antiphon store get sqlite:shop.db logo logo.png",
        "antiphon store get sqlite:shop.db prices/eur --meta | jq .currency",
        "antiphon store get sqlite:shop.db backup --range -1000: | tail -3",
    ),
)
@store_argument()
@click.argument("key")
@click.argument("file", required=False)
@click.option("--meta", "is_meta", is_flag=True, help="The metadata, as a line of JSON.")
@click.option(
    "--range",
    "span",
    metavar="START:END",
    help="These bytes only, counted as in Python: 0:100, 100:, -100:.",
)
def get(store: str, key: str, file: str | None, is_meta: bool, span: str | None) -> int:
    """Write the data of KEY to standard output, or into FILE.

    FILE is replaced in one step when all is there; after an error it is what it was.  If there is
    no such key the status is 3.
    """
    if is_meta and span is not None:
        raise click.UsageError("--range is about data, and --meta shows none")
    start, end = (None, None) if span is None else _parse_range(span)
    with reading(store) as opened:
        try:
            value = opened.get(key)
        except KeyNotFound as exc:
            say(str(exc))
            return NOT_SO
        if is_meta:
            _write_metadata(value, file)
            return 0
        size = value.size
        if span is None:
            stream = value.data
        else:
            stream = value.range(start, end)
            size = None if size is None else len(range(size)[start:end])
        with stream:
            _write_data(stream, size, key, file)
    return 0


def _write_metadata(value: Any, file: str | None) -> None:
    text = metadata_text(value.metadata)
    if file is None or file == STANDARD:
        write_line(text)
        return
    with replaced_file(file) as output:
        output.write(text.encode() + b"\n")


def _write_data(stream: BinaryIO, size: int | None, key: str, file: str | None) -> None:
    if file is not None and file != STANDARD:
        with replaced_file(file) as output, transfer(f"reading {key}", size) as step:
            _pump(stream, output.write, step)
        return
    if sys.stdout is not None and sys.stdout.isatty():
        _show_data(stream)
        return
    with transfer(f"reading {key}", size) as step:
        _pump(stream, write_bytes, step)


def _show_data(stream: BinaryIO) -> None:
    """Write to a terminal, which goes on in a new line."""
    guard = TerminalGuard()
    last = b"\n"

    def show(piece: bytes) -> None:
        nonlocal last
        guard.check(piece)
        write_bytes(piece)
        last = piece[-1:] or last

    _pump(stream, show, lambda count: None)
    if last != b"\n":
        write_bytes(b"\n")


def _pump(stream: BinaryIO, write: Callable[[bytes], object], step: Callable[[int], None]) -> None:
    for piece in buffer_iterator(stream):
        write(piece)
        step(len(piece))


def _parse_range(text: str) -> tuple[int | None, int | None]:
    start, colon, end = text.partition(":")
    try:
        if colon:
            return (int(start) if start else None), (int(end) if end else None)
    except ValueError:
        pass
    raise click.BadParameter(
        f"'{text}' is not of the form START:END, as in 0:100 or -100:", param_hint="--range"
    )


@click.command(
    short_help="List keys.",
    epilog=examples(
        "antiphon store ls sqlite:shop.db --prefix prices/",
        "antiphon store ls sqlite:shop.db --filter currency=EUR --filter n=5 --long",
        "antiphon store ls sqlite:shop.db --json | jq 'select(.size > 1e6) | .key'",
    ),
)
@store_argument()
@choice_options
@click.option("--long", "is_long", is_flag=True, help="Also the time of change, size and metadata.")
@click.option(
    "--json",
    "is_json",
    is_flag=True,
    help="Lines of JSON, with keys exactly as they are, size, times, version and metadata.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N keys only.")
def ls(
    store: str,
    prefix: str,
    filters: tuple[str, ...],
    is_long: bool,
    is_json: bool,
    limit: int | None,
) -> None:
    """List the keys of STORE, sorted, one a line.

    What is not printable in a key is escaped; with --json keys are as they are.
    """
    conditions = parse_conditions(filters)
    with reading(store) as opened:
        keys = sorted(chosen_keys(opened, prefix, conditions))[:limit]
        if not (is_long or is_json):
            for key in keys:
                write_line(escaped(key))
            return
        for key, value in values_of(opened, keys):
            if value is not None:
                write_line(to_json(facts(key, value)) if is_json else long_row(key, value))
