"""The programs in the reference of messaging run as they are printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "messaging.md"


def test_programs_of_the_reference() -> None:
    """Who copies a program from the page sees it work."""
    programs = re.findall(r"^```python\n(.*?)^```", REFERENCE.read_text(), re.M | re.S)
    assert 3 == len(programs)

    outputs = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for program in programs
    ]

    assert ["saved: letter\n", "", ""] == outputs
