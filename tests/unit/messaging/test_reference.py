"""The reference of messaging begins with a program that says what it did."""

from __future__ import annotations

import subprocess
import sys

from tests.snippets import snippets


def test_the_first_program_of_the_reference() -> None:
    """Who copies it sees it work, without a broker."""
    program = snippets("docs/reference/messaging.md", "python")[0]

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "saved: letter\n" == done.stdout
