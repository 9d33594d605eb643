"""Who follows a document from top to bottom sees what it says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests import sessions
from tests.snippets import ROOT


@pytest.mark.timeout(180)
@pytest.mark.parametrize("document", sessions.FOLLOWED)
def test_documents_can_be_followed(
    document: str, amqp_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Each command ends well, and prints what is printed beside it."""
    environment = os.environ | {
        "ANTIPHON_AMQP_URL": amqp_url,
        "ANTIPHON_REDIS_URL": redis_url,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    usual = {
        "amqp://localhost": amqp_url,
        "redis://localhost/0": redis_url,
        "redis://localhost?": f"{redis_url}?",
    }

    printed = sessions.run(sessions.script(document, replaced=usual), tmp_path, environment)

    assert [] == sessions.missing(document, printed)
