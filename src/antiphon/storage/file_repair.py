"""Putting a file store's directory right after a process or the machine died.

All of it under the directory's lock.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from antiphon.errors import IncompatibleStore
from antiphon.storage.file_durability import boot_id
from antiphon.storage.file_layout import Layout, Verifier, carry_out, remove, replace_file, sync
from antiphon.storage.file_log import LOG_START, Log, Mark, MarkFile, parse_mark
from antiphon.storage.file_record import START_ANEW, Kind, Step, unpack

logger = logging.getLogger(__name__)


class Repairs:
    """Settles what is half done in one directory.

    Args:
        layout: where things are.
        marks: the mark.
        durable: whether what is settled is on the disk before it counts.
    """

    def __init__(self, layout: Layout, marks: MarkFile, *, durable: bool) -> None:
        self._layout = layout
        self._marks = marks
        self._durable = durable

    def finish(self) -> bool:
        """Carry out what was decided and not finished; drop what was not decided.

        False, and nothing is done, if the log is shorter than the mark says.
        """
        mark = parse_mark(self._marks.raw())
        if mark is None:
            self.verify()
            return True
        if not self._reaches(mark):
            return False
        steps: list[Step] = []
        end = self._read_on(mark, steps.append)
        for step in steps:
            carry_out(self._layout, step)
        self._conclude(end)
        return True

    def verify(self) -> None:
        """Make all files that the log is about say what it says: they may be damaged."""
        verifier = Verifier(self._layout)
        end = self._read_on(self._begin(), verifier.add)
        repaired = verifier.finish()
        self._conclude(end)
        if repaired:
            logger.warning("repaired %d files in %s after a crash", repaired, self._layout.root)
        replace_file(self._layout.boot, boot_id(), durable=False)

    def give_up_rest(self) -> None:
        """End the log where it is damaged; the files are as they are."""
        end = self._read_on(self._begin(), lambda step: None)
        self._conclude(end)
        logger.warning(
            "the log in %s was damaged: changes of before are forgotten from offset %d on",
            self._layout.hidden,
            end.offset,
        )

    def _reaches(self, mark: Mark) -> bool:
        try:
            log = Log(self._layout.log(mark.generation), mark.generation)
        except FileNotFoundError:
            return False
        try:
            return log.size() >= mark.offset
        finally:
            log.close()

    def _begin(self) -> Mark:
        generations = self._layout.generations()
        if not generations:
            raise IncompatibleStore(f"{self._layout.hidden} has no log: {START_ANEW}")
        return Mark(generations[0], LOG_START)

    def _read_on(self, mark: Mark, visit: Callable[[Step], object]) -> Mark:
        """Visit the steps after *mark*, cut off half a record, and return the end."""
        generation, offset = mark
        while True:
            log = Log(self._layout.log(generation), generation)
            try:
                found = None
                for found in log.records(offset):
                    offset = found.end
                    if found.kind == Kind.COMMIT:
                        for step in unpack(found.body):
                            visit(step)
                if found is not None and found.kind == Kind.END:
                    generation, offset = generation + 1, LOG_START
                    continue
                if log.size() > offset:
                    log.truncate(offset)
                if self._durable:
                    sync(log.path)
            finally:
                log.close()
            return Mark(generation, offset)

    def _conclude(self, mark: Mark) -> None:
        """Let everybody see what is settled up to *mark*."""
        snapshot = self._layout.snapshot(mark.generation)
        if mark.generation > 1 and not os.path.exists(snapshot):
            raise IncompatibleStore(
                f"{snapshot} is missing; for {self._layout.hidden}, {START_ANEW}"
            )
        self._marks.write(mark)
        for number in self._layout.generations():
            if number != mark.generation:
                remove(self._layout.log(number))
                remove(self._layout.snapshot(number))
