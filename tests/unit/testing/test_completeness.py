"""In CI a run counts only if every test ran."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]

GOOD = "def test_one(): pass\ndef test_two(): pass\n"
SKIPPED = "import pytest\ndef test_one(): pass\ndef test_two(): pytest.skip('why not')\n"
EXPECTED = "import pytest\ndef test_one(): pass\n@pytest.mark.xfail\ndef test_two(): assert 0\n"


def run(
    folder: Path, text: str, *args: str, minimum: int = 2, ci: str = "1"
) -> subprocess.CompletedProcess[str]:
    """Run pytest with our conftest over one file of tests."""
    for name in ("conftest.py", "completeness.py"):
        shutil.copy(TESTS / name, folder)
    (folder / "collected_minimum.txt").write_text(f"{minimum}\n")
    (folder / "test_sample.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *args],
        cwd=folder,
        # Plugins that no sample uses would be most of its time.
        env=os.environ | {"CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )


def test_a_complete_run_passes(tmp_path: Path) -> None:
    """When all tests ran and passed, the run passes."""
    done = run(tmp_path, GOOD)

    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "args", "minimum", "complaint"),
    [
        (GOOD, [], 3, "2 tests were collected"),
        (SKIPPED, [], 2, "test_two was skipped"),
        (EXPECTED, [], 2, "test_two was expected to fail"),
        (GOOD, ["-k", "one"], 1, "1 tests were deselected"),
        ("", [], 0, "test_sample.py has no test"),
    ],
    ids=["too-few", "skipped", "expected-failure", "deselected", "file-without-tests"],
)
def test_an_incomplete_run_fails(
    tmp_path: Path, text: str, args: list[str], minimum: int, complaint: str
) -> None:
    """Tests that are missing, skipped or deselected fail the run, and it says which."""
    done = run(tmp_path, text, *args, minimum=minimum)

    assert done.returncode != 0
    assert complaint in done.stdout


def test_at_home_a_part_may_run(tmp_path: Path) -> None:
    """Without CI in the environment, people run the tests that they like."""
    done = run(tmp_path, GOOD, "-k", "one", ci="")

    assert done.returncode == 0, done.stdout


def test_a_leaked_thread_fails_its_test(tmp_path: Path) -> None:
    """A thread that a test leaves behind is an error of that test."""
    text = (
        "import threading\n"
        "import conftest\n"
        "conftest.LEAK_GRACE_S = 0.1\n"
        "def test_leak():\n"
        "    threading.Thread(target=threading.Event().wait, name='lost', daemon=True).start()\n"
    )
    done = run(tmp_path, text, minimum=1)

    assert done.returncode == 1
    assert "left behind: threads ['lost']" in done.stdout


def test_a_leaked_file_fails_its_test(tmp_path: Path) -> None:
    """A file that a test leaves open is an error of that test."""
    text = (
        "import os\n"
        "import conftest\n"
        "conftest.LEAK_GRACE_S = 0.1\n"
        "def test_leak():\n"
        "    os.open('/dev/null', os.O_RDONLY)\n"
    )
    done = run(tmp_path, text, minimum=1)

    assert done.returncode == 1
    assert "/dev/null" in done.stdout
