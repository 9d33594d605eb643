"""Who follows the tutorial, or the how-to, from top to bottom sees what it says."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from tests import sessions
from tests.compose.stack import ROOT, Stack, compose_command

DOCUMENTS = ["docs/tutorial/ten-minutes.md", "docs/how-to/run-with-compose.md"]

#: ``docker compose`` is that of the stack, and what it runs has no terminal.
DOCKER = """
docker() {{
    local command=$2
    shift 2
    case "$command $*" in
    "exec -T "* | "run "*" -T "*) ;;
    "exec "* | "run "*) set -- -T "$@" ;;
    esac
    (cd {root} && {compose} -p {project} "$command" "$@")
}}
"""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_page_can_be_followed(stack: Stack, document: str, tmp_path: Path) -> None:
    """Every command of it ends well, in order, and prints what it says."""
    docker = DOCKER.format(
        root=shlex.quote(str(ROOT)), compose=shlex.join(compose_command()), project=stack.project
    )
    ports = {name: str(port) for name, port in stack.ports.items()}
    usual = {
        ":8090/": f":{ports['ANTIPHON_STORE_SERVER_PORT']}/",
        ":8080/": f":{ports['ANTIPHON_INVALIDATOR_PORT']}/",
        ":8081/": f":{ports['ANTIPHON_STORE_SERVER_HEALTH_PORT']}/",
    }

    script = sessions.script(document, before=docker, replaced=usual)
    # It builds the image, which may take a while.
    printed = sessions.run(script, tmp_path, os.environ | ports, timeout_s=400)

    stack.forget()  # a page may change passwords
    stack.wait_healthy()

    assert [] == sessions.missing(document, printed)
