"""How results are shown and kept."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.messaging.report import percentiles as percentiles
from benchmarks.messaging.report import report_of

#: What is compared, for the record; Theia's own version is in ``theia_peer``.
LIBRARIES = ("regex", "pika", "ormsgpack", "theia", "sqlalchemy")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark here has."""
    made = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    made.add_argument("--theia", type=Path, help="folder with Theia, see theia_peer.py")
    made.add_argument("--save", action="store_true", help="keep the text in results/")
    return made


def write_report(name: str, lines: Sequence[str], *, keep: bool) -> None:
    """Print *lines* under a heading; with *keep* also write them to ``results/``."""
    report_of("archive", LIBRARIES, name, lines, keep=keep)
