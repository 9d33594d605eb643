"""The ``antiphon`` command."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from antiphon import __version__
from antiphon.cli.archive import archive
from antiphon.cli.dlq import dlq
from antiphon.cli.doctor import doctor
from antiphon.cli.emit import emit
from antiphon.cli.listen import listen
from antiphon.cli.output import prepare
from antiphon.cli.store import store
from antiphon.cli.topology import topology
from antiphon.errors import AntiphonError

#: Exit status of a command that failed; one that was called wrongly has 2.
FAILED = 1


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="antiphon", message="%(prog)s %(version)s")
def cli() -> None:
    """See what goes on in a system of Antiphon processes."""


for command in (listen, emit, topology, dlq, doctor, archive, store):
    cli.add_command(command)


class _OneLine(logging.Formatter):
    """What the library logs, for people: a line, and no traceback."""

    def format(self, record: logging.LogRecord) -> str:
        return f"antiphon: {record.getMessage()}"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command with *arguments* (those of the process if None), then exit.

    Whatever goes wrong is one line on standard error.  Exit status: 0 if all
    went well, 1 if it failed, 2 if it was called wrongly, 130 after Ctrl-C, 143
    after SIGTERM, 141 if the reader of its output has gone.
    """
    prepare()
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    logging.getLogger("antiphon").addHandler(handler)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as after nohup
            signal.signal(number, _end)
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None) -> int:
    """Run the command with *arguments*, and return its exit status; see ``main``."""
    try:
        result = cli.main(arguments, prog_name="antiphon", standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except click.Abort:
        click.echo("antiphon: given up", err=True)
        return FAILED
    except (AntiphonError, OSError) as exc:
        click.echo(f"antiphon: {exc}", err=True)
        return FAILED
    return result if isinstance(result, int) else 0


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
