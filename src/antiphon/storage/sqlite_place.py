"""Whether the file that connections have open still is the one that others find."""

from __future__ import annotations

import os
from collections.abc import Callable


class Place:
    """The place of one database.

    Connections go on with a file that was removed, or that another was moved
    over, and what they write is in no file afterwards.

    Args:
        location: path of the file.
        replaced: returns the error of a file that is another one now.

    Attributes:
        path: the same, whatever directory the process moves to.
    """

    def __init__(self, location: str, replaced: Callable[[], Exception]) -> None:
        self._replaced = replaced
        self.path = os.path.abspath(location)
        self._file: tuple[int, int] | None = None

    def note(self) -> None:
        """Take the file that is there now for the one that is open."""
        self._file = self._present()

    def check(self) -> None:
        """Raise the error if there is another file, or none; 2 µs."""
        if self._file is not None and self._present() != self._file:
            raise self._replaced()

    def _present(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino


class NoPlace(Place):
    """That of a database in memory."""

    def __init__(self, location: str, replaced: Callable[[], Exception]) -> None:
        super().__init__(location, replaced)
        self.path = location

    def note(self) -> None:
        """Nothing."""
