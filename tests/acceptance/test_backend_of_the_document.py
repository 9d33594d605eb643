"""The backend in docs/how-to/test-your-backend.md is whole: it passes, and can be installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-backend.md"

#: The suites of stores and ledgers have at least so many tests.
MANY = 240


def blocks(language: str) -> list[str]:
    """Return the blocks of *language* in the document."""
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S)


@pytest.fixture
def backend(tmp_path: Path) -> Path:
    """A folder with the files of the document, as if it were installed there."""
    module, tests, parts, ledger = blocks("python")
    (tmp_path / "log_store.py").write_text(module)
    (tmp_path / "test_log_store.py").write_text(tests)
    (tmp_path / "parts.py").write_text(parts)
    (tmp_path / "test_log_ledger.py").write_text(ledger)
    (group, entry) = re.findall(r'entry-points."(.*?)"\]\n(.*?)\n', blocks("toml")[0])[0]
    distribution = tmp_path / "log_store-1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: log-store\nVersion: 1.0\n")
    (distribution / "entry_points.txt").write_text(f"[{group}]\n{entry.replace(chr(34), '')}\n")
    return tmp_path


def run(backend: Path, *arguments: str) -> str:
    """Run Python in the folder, warnings being errors; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=backend,
        env=os.environ | {"PYTHONPATH": str(backend)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_the_backend_passes_the_suite(backend: Path) -> None:
    """A reader who copies the two files sees every test of the suite pass."""
    report = backend / "report.xml"
    run(backend, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.",
        f"--junitxml={report}", "test_log_store.py", "test_log_ledger.py")  # fmt: skip
    suite = next(ET.parse(report).iter("testsuite"))

    assert MANY < int(suite.get("tests") or 0)
    assert ["0"] * 3 == [suite.get(name) for name in ("failures", "errors", "skipped")]


def test_a_backend_is_opened_by_its_url(backend: Path) -> None:
    """The entry point of the document makes its scheme known."""
    program = (
        "from antiphon import open_store\n"
        "import parts\n"
        "with open_store('log:catalogue.log?origin=shop') as store:\n"
        "    store.from_bytes('a', b'data')\n"
        "    print(type(store).__name__, store.origin, store.to_bytes('a').decode())\n"
    )

    assert "LogStore shop data\n" == run(backend, "-c", program)
    assert (backend / "catalogue.log").exists()
