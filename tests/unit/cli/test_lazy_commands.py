"""Commands are imported when they are called."""

from __future__ import annotations

import subprocess
import sys

import pytest

from antiphon.cli.main import COMMANDS, run


def test_a_command_imports_no_other() -> None:
    """``antiphon listen`` does not pay for what others need."""
    program = (
        "import sys\n"
        "from antiphon.cli.main import run\n"
        "assert 0 == run(['listen', '--help'])\n"
        "print(*(m for m in sys.modules if m.startswith('antiphon.')), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert 0 == done.returncode
    assert {"antiphon.cli.listen"} == set(done.stderr.split()) & {
        f"antiphon.cli.{name}" for name in COMMANDS
    }


def test_a_command_that_is_mistyped(capsys: pytest.CaptureFixture[str]) -> None:
    """What was meant is told; what is near nothing is no command."""
    assert (2, 2) == (run(["lisen"]), run(["banana"]))
    told = capsys.readouterr().err
    assert "no command 'lisen'; did you mean 'listen'?" in told
    assert "No such command 'banana'" in told
