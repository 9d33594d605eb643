"""All tests run in parts beside each other, and count only together."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import run_all
from tests.completeness import Completeness
from tests.patience import wait_until

TESTS = Path(__file__).parents[2]
OWN = ("completeness.py", "conftest.py", "parts.py", "run_all.py")

#: Files of tests: one that each part must find, and all that are named.
SAMPLES = (
    "tests/unit/test_sample.py",
    "tests/wire/test_more.py",
    "tests/conformance/test_here.py",
    "tests/conformance/servers/test_there.py",
    "tests/integration/test_other.py",
    *(path for path in run_all.ALONE if path.endswith(".py")),
)

BAD = "def test_bad(): assert 'this' == 'that'\n"
GONE = "import os\ndef test_gone(): os._exit(7)\n"

#: run_all.py, with checks that take no time.
COMMAND = "import sys, run_all; run_all.CHECKS = {checks}; sys.exit(run_all.main([]))"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with our way to run tests: a test in each folder."""
    for name in SAMPLES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("def test_one(): pass\n")
    for name in OWN:
        shutil.copy(TESTS / name, tmp_path / "tests")
    (tmp_path / "tests" / "collected_minimum.txt").write_text(f"{len(SAMPLES)}\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def begin(project: Path, *, ci: str = "1", checks: str = "()") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(checks=checks)],
        cwd=project,
        env=os.environ
        | {
            "CI": ci,
            "PYTHONPATH": str(project / "tests"),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(project: Path, *, ci: str = "1", checks: str = "()") -> tuple[int, list[str]]:
    """Run everything; return the exit status and the lines that were printed."""
    with begin(project, ci=ci, checks=checks) as process:
        printed = process.communicate(timeout=60)[0]
    return process.returncode, printed.splitlines()


def test_parts_count_together(project: Path) -> None:
    """Neither part has as many tests as there must be; both have."""
    status, lines = run(project)

    assert 0 == status, lines
    assert f" {len(SAMPLES)} passed in " in lines[-1]


def test_what_is_wrong_in_any_part_is_told_at_the_end(project: Path) -> None:
    """Whatever failed stands where people look; the report of each part is in one piece."""
    for name in ("unit/test_sample.py", "integration/test_other.py"):
        (project / "tests" / name).write_text(BAD)

    status, lines = run(project, checks="(('python', '-c', 'raise SystemExit(1)'),)")

    sections = [line.strip("= ") for line in lines if line.startswith("==")]
    assert 1 == status
    assert 2 * ["FAILURES", "short test summary info"] == [
        section for section in sections if section.startswith(("FAILURES", "short"))
    ]
    assert [
        "python -c raise SystemExit(1)",
        "tests without servers",
        "tests with servers",
    ] == lines[lines.index(" what failed (see above) ".center(80, "=")) + 1 :][:3]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("unit/test_sample.py", GONE, "tests without servers ended early"),
        ("collected_minimum.txt", "99\n", f"{len(SAMPLES)} tests were collected"),
    ],
    ids=["gone", "too-few"],
)
def test_a_run_of_too_little_fails(project: Path, name: str, text: str, complaint: str) -> None:
    """Tests that nobody heard of again are not forgotten."""
    (project / "tests" / name).write_text(text)

    status, lines = run(project)

    end = lines[lines.index(" this run was not complete ".center(80, "=")) :]
    assert 1 == status
    assert any(complaint in line for line in end), end


@pytest.mark.parametrize("outcome", ["skipped", "expected to fail"])
def test_what_one_part_left_out_counts_for_all(tmp_path: Path, outcome: str) -> None:
    """What a part writes down is judged with the rest."""
    part, whole = Completeness(), Completeness()
    part.collected, part.deselected, part.outcomes = 2, 3, {"one": "passed", "two": outcome}
    part.write(tmp_path / "ran")
    whole.add(tmp_path / "ran")

    assert (2, 3) == (whole.collected, whole.deselected)
    assert {"3 tests were deselected", f"two was {outcome}"} <= set(whole.problems())


def test_a_test_that_ran_twice_counts_once(tmp_path: Path) -> None:
    """Parts that overlap do not make up for tests that are missing."""
    part, whole = Completeness(), Completeness()
    part.collected, part.outcomes = 1, {"one": "passed"}
    part.write(tmp_path / "ran")
    for _ in range(2):
        whole.add(tmp_path / "ran")

    assert 1 == whole.collected
    assert "1 passed" == whole.counts()


def test_no_part_outlives_the_run(project: Path) -> None:
    """Who ends the run ends the tests."""
    pid_file = project / "pid"
    (project / "tests" / "unit" / "test_sample.py").write_text(
        "import os, pathlib, time\n"
        "def test_slow():\n"
        f"    pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))\n"
        "    time.sleep(60)\n"
    )
    with begin(project) as process:
        wait_until(lambda: pid_file.exists() and pid_file.read_text(), "the test", timeout_s=30)
        process.terminate()
        process.communicate(timeout=30)

    assert 130 == process.returncode
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
