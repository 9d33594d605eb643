"""The stack of docker-compose.yml, run for real: ``python -m tests.compose [arguments of pytest]``.

Builds the image, starts everything as a project of its own, on ports of its own, checks what
docs/how-to/run-with-compose.md promises, and removes it all.  Needs Docker.  Its files are
not collected by ``make test``, which runs where there is none.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

#: In this order: what ends the stack comes last.
PARTS = ("start", "accounts", "work", "outage", "tutorial", "end")


def main(arguments: list[str]) -> int:
    """Run all parts on one stack, and return the exit status."""
    os.environ.pop("CI", None)  # that is for the run of every test
    files = [str(HERE / f"compose_{part}.py") for part in PARTS]
    return int(pytest.main(["-o", "timeout=600", "--durations=8", *arguments, *files]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
