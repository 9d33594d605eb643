"""A variable that begins as ours and names nothing is a mistake; all others are left alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.invalidator.settings import InvalidatorSettings
from services.skeleton.settings import BadSettings, load
from services.skeleton.variables import unknown_variables
from services.store_server.settings import StoreServerSettings

ROOT = Path(__file__).parents[3]

#: A mistake, and a setting of somebody's own service, in docs/reference/services.md.
EXAMPLES = {"ANTIPHON_HTTP_PROT", "ANTIPHON_COUNTED_ORIGIN"}


def complaints(**variables: str) -> list[str]:
    """Return what is said of variables to somebody who starts the invalidator."""
    return unknown_variables(InvalidatorSettings, variables)


def test_a_typo_is_told_with_what_was_meant() -> None:
    """Else the default would be taken, and nobody would know why."""
    assert [
        "ANTIPHON_HTTP_PROT: there is no such setting (did you mean ANTIPHON_HTTP_PORT?); unset it"
    ] == complaints(ANTIPHON_HTTP_PROT="1")


def test_all_mistakes_are_told_at_once() -> None:
    """In one line, in order, and without a hint where nothing is near."""
    assert [
        "ANTIPHON_COLOUR: there is no such setting; unset it",
        "antiphon_sistem: there is no such setting (did you mean ANTIPHON_SYSTEM?); unset it",
    ] == complaints(antiphon_sistem="x", ANTIPHON_COLOUR="red")


@pytest.mark.parametrize(
    "name",
    [
        "ANTIPHON_HTTP_PORT",
        "antiphon_http_port",
        "ANTIPHON_HTTP_PORT_FILE",
        "ANTIPHON_CACHES",
        "ANTIPHON_SETTINGS",
        "ANTIPHON_AMQP_PASSWORD_FILE",
        "ANTIPHON_REDIS_URL",
        "ANTIPHONS",
        "PATH",
    ],
)
def test_what_there_is_is_no_mistake(name: str) -> None:
    """Own settings, what programs read, and what is not ours."""
    assert [] == complaints(**{name: "x"})


def test_settings_of_another_service_are_no_mistake() -> None:
    """One file of variables may serve all services of a machine."""
    assert [] == complaints(ANTIPHON_STORE_HOST="x", ANTIPHON_STORE_PORT_FILE="/y")
    assert [] == unknown_variables(StoreServerSettings, {"ANTIPHON_CACHES": "[]"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANTIPHON_PORT", "tcp://10.0.0.1:5672"),
        ("ANTIPHON_RABBITMQ_PORT", "tcp://10.0.0.1:5672"),
        ("ANTIPHON_RABBITMQ_PORT_5672_TCP", "tcp://10.0.0.1:5672"),
        ("ANTIPHON_RABBITMQ_PORT_5672_TCP_ADDR", "10.0.0.1"),
        ("ANTIPHON_RABBITMQ_SERVICE_HOST", "10.0.0.1"),
        ("ANTIPHON_SERVICE_PORT_HTTP", "80"),
    ],
)
def test_what_kubernetes_sets_is_no_mistake(name: str, value: str) -> None:
    """It does so for each Service, and whoever names one antiphon-rabbitmq did nothing wrong."""
    assert [] == complaints(**{name: value})


def test_the_settings_file_is_named_directly() -> None:
    """A file with the name of the file would be read by nobody."""
    assert 1 == len(complaints(ANTIPHON_SETTINGS_FILE="/x"))


def test_a_port_of_nobody_is_a_mistake() -> None:
    """Only a value that Kubernetes might have set makes it one of Kubernetes's."""
    assert 1 == len(complaints(ANTIPHON_RABBIT_PORT="5672"))


def named_in(text: str) -> set[str]:
    """Return the variables that are named in a text."""
    return set(re.findall(r"\bANTIPHON_[A-Z][A-Z_]*[A-Z]\b", text))


def test_all_variables_of_the_project_are_known() -> None:
    """Nobody who sets what a program, a document or compose names is refused a service."""
    files = [
        *(ROOT / name for name in ("docker-compose.yml", ".env.example", "Dockerfile")),
        *(path for path in (ROOT / "src").rglob("*.py") if "testing" not in path.parts),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "README.md",
    ]
    named = set().union(*(named_in(path.read_text()) for path in files)) - EXAMPLES

    assert {"ANTIPHON_AMQP_PORT", "ANTIPHON_SETTINGS", "ANTIPHON_REDIS_URL"} <= named
    assert [] == unknown_variables(InvalidatorSettings, dict.fromkeys(named, "x"))


def test_the_service_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is named as the place of the mistake, and nothing else is looked at."""
    monkeypatch.setenv("ANTIPHON_HTTP_PROT", "1")

    with pytest.raises(BadSettings, match=r"^the environment: ANTIPHON_HTTP_PROT: there is no"):
        load(InvalidatorSettings, tmp_path / "none.toml")


def test_an_empty_variable_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docker compose gives those that have no value."""
    for name in ("ANTIPHON_HTTP_PORT", "ANTIPHON_AMQP_URL"):
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("ANTIPHON_HTTP_PORT_FILE", raising=False)
    (tmp_path / "url").write_text("amqp://elsewhere")
    monkeypatch.setenv("ANTIPHON_AMQP_URL_FILE", str(tmp_path / "url"))
    path = tmp_path / "stores.toml"
    path.write_text('anonymous = "read"\n[stores.a]\nurl = "memory:"')

    settings, _ = load(StoreServerSettings, path)

    assert (8080, "amqp://elsewhere") == (settings.http_port, settings.amqp_url)


def test_a_table_can_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting has its ``_FILE``; what is no text is JSON there, as in a variable."""
    (tmp_path / "stores").write_text('{"notes": {"url": "memory:"}}')
    monkeypatch.setenv("ANTIPHON_STORES_FILE", str(tmp_path / "stores"))
    monkeypatch.setenv("ANTIPHON_ANONYMOUS", "read")

    settings, _ = load(StoreServerSettings, None)

    assert "memory:" == settings.stores["notes"].url


def test_a_table_that_is_no_json_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable that names the file."""
    (tmp_path / "stores").write_text("notes: memory")
    monkeypatch.setenv("ANTIPHON_STORES_FILE", str(tmp_path / "stores"))

    with pytest.raises(BadSettings, match="ANTIPHON_STORES_FILE is no JSON"):
        load(StoreServerSettings, None)
