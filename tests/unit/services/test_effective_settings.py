"""Settings are shown as they are in effect, and no secret with them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from services.invalidator.service import Invalidator
from services.invalidator.settings import InvalidatorSettings
from services.skeleton import run
from services.skeleton.effective import as_toml, shown
from services.skeleton.settings import load
from services.store_server.service import StoreServer
from services.store_server.settings import StoreServerSettings

CACHE = """
[[caches]]
mount_point = "prices/"
cache_url = "redis://:hush-hush@localhost/0?namespace=cache"
backing_url = "redis://localhost/0?namespace=catalogue"
"""

STORES = """
[stores.notes]
url = "memory:"
[[users]]
name = "ann"
token = "${STORE_TOKEN}"
token_hashes = ["sha256$0000000000000000000000000000000000000000000000000000000000000000"]
"""


class Sample(BaseModel):
    """Settings of every shape."""

    text: str = "a"
    number: float = 0.5
    many: list[str] = []
    table: dict[str, Any] = {}
    missing: str | None = None
    path: Path = Path("/etc/hosts")
    token: SecretStr = SecretStr("hush-hush")
    empty: SecretStr = SecretStr("")
    some: frozenset[str] = frozenset({"b", "a"})


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the environment of whoever runs the tests."""
    import os

    for name in [name for name in os.environ if name.startswith("ANTIPHON_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STORE_TOKEN", "hush-hush-hush-hush")


def checked(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, service: str = "invalidator"
) -> tuple[int, str, str]:
    """Return status, output and complaint of ``--check-config``."""
    path = folder / "settings.toml"
    path.write_text(text)
    if service == "invalidator":
        status = run(service, InvalidatorSettings, Invalidator, ["--check-config", str(path)])
    else:
        status = run(service, StoreServerSettings, StoreServer, ["--check-config", str(path)])
    out, err = capsys.readouterr()
    # The servers of the run, which start meanwhile, tell of it there, too.
    own = [line for line in err.splitlines(keepends=True) if line.startswith(service)]
    return status, out, "".join(own).replace(f"{path}: ", "")


def test_good_settings_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The status is 0, and what is printed is a settings file without secrets."""
    status, out, err = checked(tmp_path, capsys, 'system = "shop"\n' + CACHE)
    found = tomllib.loads(out)

    assert (0, "") == (status, err)
    assert ("shop", "invalidator", 8080) == (found["system"], found["origin"], found["http_port"])
    assert "redis://:***@localhost/0?namespace=cache" == found["caches"][0]["cache_url"]
    assert "hush" not in out


def test_what_is_printed_are_good_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loaded again they are the same, but for the secrets."""
    _, out, _ = checked(tmp_path, capsys, CACHE)
    (tmp_path / "again.toml").write_text(out)
    before, _ = load(InvalidatorSettings, tmp_path / "settings.toml")
    after, _ = load(InvalidatorSettings, tmp_path / "again.toml")

    masked = {"cache_url", "backing_url"}
    assert before.model_dump(exclude={"caches"}) == after.model_dump(exclude={"caches"})
    assert before.caches[0].model_dump(exclude=masked) == after.caches[0].model_dump(exclude=masked)


def test_it_is_said_where_a_setting_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks for a mistake sees whether the file, a variable or nobody has set it."""
    (tmp_path / "port").write_text("9000\n")
    monkeypatch.setenv("ANTIPHON_HTTP_PORT_FILE", str(tmp_path / "port"))
    monkeypatch.setenv("ANTIPHON_ORIGIN", "left")
    _, out, _ = checked(tmp_path, capsys, 'system = "shop"\n' + CACHE)

    assert {
        'system = "shop"',
        'origin = "left"  # ANTIPHON_ORIGIN',
        "http_port = 9000  # ANTIPHON_HTTP_PORT_FILE",
        'log_level = "INFO"  # default',
    } <= set(out.splitlines())


def test_it_is_said_whose_password_the_broker_gets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL without one takes it from the environment, which nothing else shows."""
    (tmp_path / "password").write_text("hush-hush\n")
    monkeypatch.setenv("ANTIPHON_AMQP_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("ANTIPHON_AMQP_USER", "clerk")
    _, out, _ = checked(tmp_path, capsys, CACHE)

    line = next(line for line in out.splitlines() if line.startswith("amqp_url"))
    assert line.endswith("  # default, ANTIPHON_AMQP_USER, ANTIPHON_AMQP_PASSWORD_FILE")


def test_tokens_and_their_hashes_are_masked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hash of a token can be tried at leisure, so it is shown as little as the token."""
    status, out, _ = checked(tmp_path, capsys, STORES, "store-server")
    (ann,) = tomllib.loads(out)["users"]

    assert 0 == status
    assert ("***", ["***"]) == (ann["token"], ann["token_hashes"])
    assert "hush" not in out


@pytest.mark.parametrize(
    ("service", "text", "said"),
    [
        ("invalidator", "amqp_url = 'http://h'\n" + CACHE, "amqp_url: no transport for"),
        ("invalidator", CACHE.replace("redis://l", "reddis://l"), "caches[0].backing_url: no"),
        ("invalidator", "colour = 1\n" + CACHE, "colour: there is no such setting"),
        ("store-server", STORES.replace("memory:", "memori:"), "stores.notes: no store for"),
        ("store-server", "users_url = 'http:'\n" + STORES, "users_url: "),
        (
            "store-server",
            "tls_key = 'pyproject.toml'\ntls_certificate = 'pyproject.toml'\n" + STORES,
            "tls_certificate, tls_key, tls_client_ca: no good certificate",
        ),
    ],
)
def test_bad_settings_are_told_as_at_a_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], service: str, text: str, said: str
) -> None:
    """The status is 78, one line says what is wrong, and nothing is printed."""
    status, out, err = checked(tmp_path, capsys, text, service)

    assert (78, "", 1) == (status, out, err.count("\n"))
    assert f"{service}: {said}" in err


def test_a_terminal_obeys_no_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither good ones that are printed, nor bad ones that are told."""
    _, out, _ = checked(
        tmp_path, capsys, f'origin = "a\\u009b2J\\U000e0001"\n{STORES}', "store_server"
    )
    _, _, err = checked(tmp_path, capsys, '"\\u001b[2J" = 1\n')

    assert 'origin = "a\\U0000009b2J\\U000e0001"' in out
    assert err.rstrip("\n").isprintable()


def test_nothing_is_connected_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The settings of a service can be looked at while it runs, and without its servers."""
    text = STORES.replace("memory:", f"sqlite:///{tmp_path}/notes.db")
    status, _, _ = checked(tmp_path, capsys, text, "store-server")

    assert 0 == status
    assert not (tmp_path / "notes.db").exists()


def test_every_shape_can_be_shown() -> None:
    """Paths are text, sets are sorted lists, secrets are stars, and nothing is nothing."""
    found = shown(Sample(), ())

    assert ("/etc/hosts", ["a", "b"], "***", "", None) == (
        found["path"],
        found["some"],
        found["token"],
        found["empty"],
        found["missing"],
    )


_texts = st.text(st.characters(exclude_categories=["Cs"]))
_scalars = _texts | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans()
_names = _texts.filter(lambda name: not any(word in name.lower() for word in _SECRET))
_SECRET = ("pass", "token", "secret", "hash", "key")
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=8,
)


@given(_texts, st.lists(_texts), st.dictionaries(_names, _values, max_size=4))
def test_any_value_is_good_toml(text: str, many: list[str], table: dict[str, Any]) -> None:
    """What TOML reads back is what was shown, whatever characters it has."""
    sample = Sample(text=text, many=many, table=table)
    found = tomllib.loads(as_toml(sample, ()))
    expected = {name: value for name, value in shown(sample, ()).items() if value is not None}

    assert expected == found | ({} if "table" in found else {"table": found.get("table", {})})
