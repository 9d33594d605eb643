"""The reference of the file store says what is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from antiphon.storage.file_names import file_name
from antiphon.storage.filesystem_store import _PARAMETERS

TEXT = (Path(__file__).parents[3] / "docs" / "reference" / "files.md").read_text()


def test_the_program_of_the_reference_runs() -> None:
    """And prints what is in the files."""
    (program,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ("", "b'Dear Ali Baba'\n{\"page\":1}\n") == (done.stderr, done.stdout)


def test_the_reference_knows_every_option() -> None:
    """What the URL takes is in its table."""
    assert [] == [name for name in _PARAMETERS if f"| `{name}` |" not in TEXT]


def test_the_reference_knows_how_files_are_called() -> None:
    """Its example is right."""
    assert f"(`README` is `{file_name('README')}`)" in TEXT
