"""The ``antiphon`` command."""

from __future__ import annotations

import difflib
import importlib
import logging
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from antiphon import __version__
from antiphon.cli.output import escaped, prepare, say
from antiphon.errors import AntiphonError

#: Exit status of a command that failed; one that was called wrongly has 2.
FAILED = 1

#: The commands, in the order of the help: each a module, imported when it is called, and what
#: it defines under its own name.  All of them together take half a second.
COMMANDS = ("listen", "emit", "topology", "dlq", "doctor", "archive", "store")


class _Lazy(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"antiphon.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = difflib.get_close_matches(args[0], COMMANDS, 1) if args else []
        if near and near[0] != args[0]:
            ctx.fail(f"no command '{args[0]}'; did you mean '{near[0]}'?")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="antiphon", message="%(prog)s %(version)s")
def cli() -> None:
    """See what goes on in a system of Antiphon processes."""


class _OneLine(logging.Formatter):
    """What the library logs, for people: a line, and no traceback."""

    def format(self, record: logging.LogRecord) -> str:
        return f"antiphon: {escaped(record.getMessage())}"


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
        say("given up")
        return FAILED
    except AntiphonError as exc:
        say(str(exc))
        return FAILED
    except OSError as exc:
        say(_in_words(exc))
        return FAILED
    return result if isinstance(result, int) else 0


def _in_words(exc: OSError) -> str:
    """Return what the system refuses, without its numbers."""
    if exc.strerror is None:
        return str(exc)
    return exc.strerror if exc.filename is None else f"{exc.filename}: {exc.strerror}"


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
