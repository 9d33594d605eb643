"""What the demonstration prints, and the count of what turned out true."""

from __future__ import annotations

import time

from rich.console import Console


class Stage:
    """Prints scenes and claims; a claim that is not true fails the demonstration."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.failed: list[str] = []
        self.claims = 0
        self._began = time.monotonic()

    def scene(self, title: str) -> None:
        """Begin a scene."""
        self.console.print(f"\n[bold cyan]{title}[/]")

    def line(self, who: str, what: str) -> None:
        """Print what one of the processes did."""
        self.console.print(f"  [bold]{who:<9}[/] {what}")

    def claim(self, text: str, true: object) -> bool:
        """Print a claim with its verdict, and count it."""
        self.claims += 1
        if true:
            self.console.print(f"  [green]✓[/] {text}")
        else:
            self.failed.append(text)
            self.console.print(f"  [bold red]✗ not so: {text}[/]")
        return bool(true)

    def verdict(self) -> int:
        """Print the result; return the exit status."""
        took = time.monotonic() - self._began
        if self.failed:
            self.console.print(
                f"\n[bold red]{len(self.failed)} of {self.claims} claims were not true.[/]"
            )
            return 1
        self.console.print(
            f"\n[bold green]All {self.claims} claims were true[/] ({took:.0f} s, real servers)."
        )
        return 0
