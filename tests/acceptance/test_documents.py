"""Every program in the README and in docs runs as it is printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sessions import FOLLOWED
from tests.snippets import ROOT, snippets

#: Documents whose programs belong together and have a test of their own.
ELSEWHERE = {"docs/how-to/test-your-backend.md", *FOLLOWED}


def programs(document: str) -> list[str]:
    """Return the Python programs of a document, with what a comment has before a fragment."""
    return [each.whole for each in snippets(document) if each.language == "python"]


#: All documents with programs; those of one share their servers, as a reader's would.
DOCUMENTS = sorted(
    name
    for path in [ROOT / "README.md", *ROOT.glob("docs/*/*.md")]
    if programs(name := path.relative_to(ROOT).as_posix()) and name not in ELSEWHERE
)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_programs_of_the_documents_run(
    document: str, amqp_url: str, redis_url: str, tmp_path: Path
) -> None:
    """A newcomer who copies the programs sees them work."""
    # Outside of the tests people have their servers at the usual places.
    places = {"amqp://localhost": amqp_url, "redis://localhost/0": redis_url}
    environment = os.environ | {
        "ANTIPHON_AMQP_URL": amqp_url,
        "ANTIPHON_REDIS_URL": redis_url,
        "PYTHONPATH": str(ROOT),  # services
    }
    found = programs(document)
    assert found
    for program in found:
        for usual, here in places.items():
            program = program.replace(usual, here)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            env=environment,
            cwd=tmp_path,  # some leave files where they run
            capture_output=True,
            text=True,
            timeout=60,
        )

        assert 0 == done.returncode, done.stderr
        assert not re.search("Traceback|Warning|Error", done.stderr), program
