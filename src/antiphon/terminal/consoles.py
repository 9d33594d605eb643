"""The console that everything here draws on.  Needs rich."""

from __future__ import annotations

from rich.console import Console


class CalmConsole(Console):
    """A console that leaves the cursor alone."""

    def show_cursor(self, show: bool = True) -> bool:
        """Do nothing: the cursor would stay hidden if the process is killed or stopped."""
        return False
