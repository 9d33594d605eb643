"""What can be said of the snippets of the documents without running them."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
import yaml

import services
from antiphon.cli.main import cli
from services.skeleton.settings import BadSettings, ServiceSettings, load
from tests.snippets import DOCUMENTS, ROOT, commands, snippets

#: Languages of snippets, and how each is tested: run, parsed, or only read by people.
LANGUAGES = {"python", "sh", "console", "toml", "yaml", "json", "sql", "ini", "text"}

#: What comments above a snippet may tell (tests/snippets.py).
NOTES = {"first", "not run", "prints", "in the background", "then the background prints"}

#: A line that a viewer takes for code: four columns in, after an empty line outside of a list.
INDENTED = re.compile(r"(?:^|\n)(?![ ]|[-*] |\d+\. )[^\n]*\n\n( {4}[^\n]*)")


def with_any(*languages: str) -> list[str]:
    """Return the documents that have snippets of these languages."""
    return [document for document in DOCUMENTS if snippets(document, *languages)]


def parse(words: list[str]) -> None:
    """Let the command line look at *words*, as it does before it runs anything."""
    command: click.Command = cli
    context = None
    while True:
        context = command.make_context(command.name or "antiphon", words, parent=context)
        if not isinstance(command, click.Group):
            return
        _, found, words = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert found is not None
        command = found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_block_has_a_language(document: str) -> None:
    """What has none cannot be shown in colours, nor be tried."""
    unknown = [str(each) for each in snippets(document) if each.language not in LANGUAGES]

    assert [] == unknown


@pytest.mark.parametrize("document", DOCUMENTS)
def test_comments_are_heard(document: str) -> None:
    """A comment that is misspelt, or stands elsewhere, would tell nobody anything."""
    notes = [note for snippet in snippets(document) for note in snippet.notes]

    comments = re.findall("^( *)<!--(.*?)-->", (ROOT / document).read_text(), re.M | re.S)
    # A line that is not as deep in a list as its comment would end it, and be shown.
    shown = [
        line
        for indent, comment in comments
        for line in comment.splitlines()[1:]
        if line and not line.startswith(indent)
    ]

    assert [] == [note for note in notes if note not in NOTES]
    assert len(comments) == len(notes)
    assert [] == shown


@pytest.mark.parametrize("document", DOCUMENTS)
def test_code_is_fenced(document: str) -> None:
    """An indented block has no language."""
    prose = re.sub(
        r"^ *(```|<!--).*?(^ *```$|-->)", "", (ROOT / document).read_text(), flags=re.M | re.S
    )

    assert [] == INDENTED.findall(prose)


@pytest.mark.parametrize("document", with_any("sh", "console"))
def test_commands_are_understood(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell can read them, and each command of ours has these options and arguments."""
    monkeypatch.setenv("ANTIPHON_AMQP_URL", "amqp://localhost")
    for snippet in snippets(document, "sh", "console"):
        code = snippet.code
        if snippet.language == "sh":
            subprocess.run(["bash", "-n"], input=code, text=True, check=True)
        else:
            code = "\n".join(re.findall(r"^\$ .*(?:\\\n.*)*", code, re.M))
        for words in commands(code):
            try:
                parse(words)
            except click.exceptions.Exit:  # --help
                pass
            except click.ClickException as exc:
                pytest.fail(f"{snippet}: antiphon {' '.join(words)}: {exc.format_message()}")


@pytest.mark.parametrize("document", with_any("toml"))
def test_settings_are_valid(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service takes them as they are printed."""
    for snippet in snippets(document, "toml"):
        if "project" in tomllib.loads(snippet.code):
            continue  # of a pyproject.toml, whose test is in tests/acceptance
        path = tmp_path / "settings.toml"
        path.write_text(snippet.whole)
        for name in re.findall(r"\$\{(\w+)\}", snippet.code):
            monkeypatch.setenv(name, "a-secret-of-the-test")
        complaints = [complaint(service, path) for service in settings_classes()]

        assert "" in complaints, f"{snippet}: " + "\n".join(complaints)


def complaint(service: type[ServiceSettings], path: Path) -> str:
    """Return what the service says of the settings at *path*; nothing if they are good."""
    try:
        load(service, path)
    except BadSettings as exc:
        return str(exc)
    return ""


def settings_classes() -> list[type[ServiceSettings]]:
    """Return what the services can be told."""
    for each in pkgutil.iter_modules(services.__path__):
        if each.ispkg and each.name != "skeleton":
            importlib.import_module(f"services.{each.name}.settings")
    return ServiceSettings.__subclasses__()


@pytest.mark.parametrize("document", with_any("json", "yaml"))
def test_data_are_well_formed(document: str) -> None:
    """JSON and YAML can be read."""
    for snippet in snippets(document, "json", "yaml"):
        read = json.loads if snippet.language == "json" else yaml.safe_load

        assert read(snippet.code), str(snippet)
