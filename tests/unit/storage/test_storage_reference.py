"""The programs in the reference of stores run as they are printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "storage.md"


def test_programs_of_the_reference_run() -> None:
    """Each by itself, with what it prints."""
    programs = re.findall(r"^```python\n(.*?)^```", REFERENCE.read_text(), re.M | re.S)
    printed = []
    for program in programs:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "" == done.stderr
        printed.append(done.stdout)

    assert 3 == len(printed)
    assert "set letters/1\nupdate letters/1\nb'Dear Ali Baba' {'page': 2}" in printed[0]
    assert "delete letters/1" in printed[0]
    assert "no key 'old'" in printed[1]
    assert printed[1].endswith("[]\n")


def test_the_reference_knows_every_option() -> None:
    """What the sqlite store's URL takes is in its table."""
    from antiphon.storage.sqlite_store import _PARAMETERS

    text = REFERENCE.read_text()
    assert [] == [name for name in _PARAMETERS if f"| `{name}` |" not in text]
