"""docs/reference/cli.md, and the pages beside it, tell of every command and every option."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from antiphon.cli.main import cli

#: A group of commands may have a page of its own, ``cli-group.md``.
PAGES = sorted((Path(__file__).parents[3] / "docs" / "reference").glob("cli*.md"))
DOCUMENT = "\n##\n".join(page.read_text() for page in PAGES)

#: Told once, for all commands.
COMMON = {"--url", "--system"}

#: Told once for commands of a group: those of the archive, below "Choosing events".
CHOOSING = {"--since", "--until", "--class", "--origin", "--key", "--flag", "--match"}
OF_GROUP = {"antiphon archive": {"--archive", *CHOOSING}}


def commands(group: click.Group, before: str = "antiphon") -> Iterator[tuple[str, click.Command]]:
    """Yield each command with its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{before} {name}")
        else:
            yield f"{before} {name}", command


COMMANDS = dict(commands(cli))


def section(name: str) -> str:
    """Return what the document says below the heading of the command called *name*."""
    found = re.search(rf"^#+ `{name}( [^`\n]*)?`$(.*?)(?=^##|\Z)", DOCUMENT, re.M | re.S)
    assert found is not None, f"no heading for {name}"
    return found[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_those_of_the_document(name: str) -> None:
    """Each option has a line in the table of its command, and there are no others."""
    options = {
        option
        for parameter in COMMANDS[name].params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    told = set(re.findall(r"^\| `(--[a-z-]+)", section(name), re.M))

    of_group = OF_GROUP.get(name.rpartition(" ")[0], set())
    assert options - COMMON - of_group == told


def test_options_of_a_group_are_told() -> None:
    """What the commands of the archive share is in one table."""
    found = re.search(r"^## Choosing events$(.*?)(?=^##|\Z)", DOCUMENT, re.M | re.S)

    assert found is not None
    assert set(re.findall(r"^\| `(--[a-z-]+)", found[1], re.M)) == CHOOSING


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps(name: str) -> None:
    """Each says what it does and what its options mean, with examples."""
    command = COMMANDS[name]
    undocumented = [
        parameter.name
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]

    assert [] == undocumented
    assert command.help
    assert f"{name} " in f"{command.epilog} "


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_terminal(name: str) -> None:
    """Whoever copies an example from 80 columns gets it whole."""
    shown = CliRunner().invoke(cli, [*name.split()[1:], "--help"], terminal_width=80)

    assert 0 == shown.exit_code
    assert [] == [line for line in shown.output.splitlines() if len(line) > 80]
