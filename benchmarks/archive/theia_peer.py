"""Theia's own event stores, as a peer that may be there or not.

It is not in the extra ``bench``: what it pins is of 2018.  Its stores need none of
that, so this is how to get them, from the package index, beside the environment:

    python -m pip install --no-deps --target FOLDER theia==0.9.2
    python -m pip install --target FOLDER sqlalchemy

and then ``--theia FOLDER``.

What they do differs, so figures do not compare like with like:

- ``NaiveEventStore`` writes text files of a minute of events; it keeps those of this
  process in memory and writes them anew each second, without ``fsync``; with
  ``flush_interval=0``, after each event.
- ``RDBSEventStore`` saves an event in a transaction of its own, and has nothing for
  many.  Its search fetches pages of 128 with ``OFFSET``, looks for flags in each row,
  and applies neither ``ts_end`` nor ``order`` (the query that these make is dropped).
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from antiphon.archive import Event


def add_to_path(folder: Path | None) -> str | None:
    """Make Theia importable from *folder*; return why it is not there, if so."""
    if folder is not None:
        sys.path.append(str(folder.resolve()))
    try:
        importlib.import_module("theia.naivestore")
        _relational()
    except ImportError as exc:
        return f"Theia does not take part ({exc}); see benchmarks/archive/theia_peer.py"
    return None


def _relational() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it calls has moved since
        return importlib.import_module("theia.rdbs")


def theirs(event: Event) -> Any:
    """Return *event* as one of Theia's."""
    model: Any = importlib.import_module("theia.model")
    return model.Event(event.id, event.source, event.timestamp, event.tags, event.content)


class Naive:
    """Theia's store of text files.

    Args:
        folder: where they are.
        flush_ms: how often they are written; 0 is after each event.
    """

    def __init__(self, folder: Path, flush_ms: int = 1000) -> None:
        folder.mkdir()
        module: Any = importlib.import_module("theia.naivestore")
        self._store = module.NaiveEventStore(str(folder), flush_ms)

    def save_each(self, events: Sequence[Any]) -> None:
        """Save Theia's events, one after the other."""
        for each in events:
            self._store.save(each)

    def flush(self) -> None:
        """Write the files: before, a search finds nothing."""
        self._store._flush_open_files()

    def search(
        self, start: float, end: float | None = None, flags: list[str] | None = None
    ) -> Iterator[Any]:
        """Return what Theia finds."""
        found: Iterator[Any] = self._store.search(start, end, flags)
        return found

    def close(self) -> None:
        """End it."""
        if self._store.timer is not None:
            self._store.timer.cancel()
        self._store.close()


class Relational:
    """Theia's relational store, over sqlite."""

    def __init__(self, path: Path) -> None:
        self._module = _relational()
        url = f"sqlite:///{path}"
        self._store = self._module.create_store(url)
        # Its search never gives connections back: with the pool that it makes, the
        # sixteenth waits for half a minute, and fails.
        library: Any = importlib.import_module("sqlalchemy")
        engine = library.create_engine(url, poolclass=library.NullPool)
        self._store.session_factory.configure(bind=engine)

    def save_each(self, events: Sequence[Any]) -> None:
        """Save Theia's events, one after the other."""
        for each in events:
            self._store.save(each)

    def fill(self, events: Sequence[Event]) -> None:
        """Put events into its table past its ``save``, which would take minutes."""
        record = self._module.EventRecord
        with self._store.session_factory() as session:
            session.add_all(
                record(
                    id=each.id,
                    timestamp=each.timestamp,
                    tags=",".join(each.tags),
                    source=each.source,
                    content=each.content,
                )
                for each in events
            )
            session.commit()

    def search(
        self, start: float, end: float | None = None, flags: list[str] | None = None
    ) -> Iterator[Any]:
        """Return what Theia finds."""
        found: Iterator[Any] = self._store.search(start, end, flags)
        return found

    def close(self) -> None:
        """End it."""
        self._store.session_factory.kw["bind"].dispose()
