"""Every program in the README and the tutorial runs as it is printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: The programs of one document, in the order in which they are printed; those
#: of one document share their servers, as a reader's would.
DOCUMENTS = [
    "docs/reference/concurrent.md",
    "docs/reference/shared-disks.md",
    "docs/reference/terminal.md",
    "docs/reference/events.md",
    "docs/reference/messaging.md",
    "docs/reference/combinators.md",
    "docs/reference/permissions.md",
    "docs/reference/url-stores.md",
    "README.md",
    "docs/tutorial/first-steps.md",
    "docs/how-to/test-with-real-servers.md",
    "docs/how-to/serve-a-store.md",
]


def programs(document: str) -> list[str]:
    """Return the Python programs of a document."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(), re.M | re.S)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_programs_of_the_documents_run(document: str, amqp_url: str, redis_url: str) -> None:
    """A newcomer who copies the programs sees them work."""
    # Outside of the tests people have their servers at the usual places.
    places = {"amqp://localhost": amqp_url, "redis://localhost/0": redis_url}
    environment = os.environ | {"ANTIPHON_AMQP_URL": amqp_url, "ANTIPHON_REDIS_URL": redis_url}
    found = programs(document)
    assert found
    for program in found:
        for usual, here in places.items():
            program = program.replace(usual, here)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

        assert 0 == done.returncode, done.stderr
        assert not re.search("Traceback|Warning|Error", done.stderr), program
