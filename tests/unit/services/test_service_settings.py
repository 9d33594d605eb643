"""Settings come from a file and the environment; what is wrong is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.invalidator.service import Invalidator
from services.invalidator.settings import InvalidatorSettings
from services.skeleton import run
from services.skeleton.settings import BadSettings, load

CACHE = """
[[caches]]
mount_point = "prices/"
cache_url = "redis://:${REDIS_PASSWORD}@localhost/0?namespace=cache"
backing_url = "redis://:${REDIS_PASSWORD}@localhost/0?namespace=catalogue"
"""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the environment of whoever runs the tests."""
    import os

    for name in list(os.environ):
        if name.startswith(("ANTIPHON_", "REDIS_PASSWORD")):
            monkeypatch.delenv(name)


def settings_file(folder: Path, text: str) -> Path:
    """Write a settings file."""
    path = folder / "caches.toml"
    path.write_text(text)
    return path


def complaint(folder: Path, text: str) -> str:
    """Return what is said about settings that are wrong."""
    path = settings_file(folder, text)
    with pytest.raises(BadSettings) as caught:
        load(InvalidatorSettings, path)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_a_file_and_variables_make_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables win over the file, and the file over what is set by default."""
    monkeypatch.setenv("REDIS_PASSWORD", "p@ss/word")
    monkeypatch.setenv("ANTIPHON_SYSTEM", "from-environment")
    path = settings_file(tmp_path, 'system = "from-file"\nlog_level = "DEBUG"\n' + CACHE)

    settings, secrets = load(InvalidatorSettings, path)

    assert settings.system == "from-environment"
    assert settings.log_level == "DEBUG"
    assert settings.http_port == 8080
    assert settings.caches[0].cache_url == ("redis://:p%40ss%2Fword@localhost/0?namespace=cache")
    assert settings.caches[0].title == "prices/"
    assert "p@ss/word" in secrets


def test_secrets_come_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NAME_FILE names a file with the value, as Docker and Kubernetes give secrets."""
    (tmp_path / "password").write_text("secret-1\n")
    (tmp_path / "url").write_text("amqp://me:secret-2@broker/%2F\n")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("ANTIPHON_AMQP_URL_FILE", str(tmp_path / "url"))

    settings, secrets = load(InvalidatorSettings, settings_file(tmp_path, CACHE))

    assert settings.amqp_url == "amqp://me:secret-2@broker/%2F"
    assert ":secret-1@" in settings.caches[0].backing_url
    assert {"secret-1", "secret-2"} <= secrets


def test_a_missing_variable_is_named(tmp_path: Path) -> None:
    """A password that was not given is asked for, with the setting that needs it."""
    assert complaint(tmp_path, CACHE) == (
        "caches[0].cache_url needs REDIS_PASSWORD: set REDIS_PASSWORD in the environment, "
        "or REDIS_PASSWORD_FILE to the name of a file that has it"
    )


def test_a_secret_file_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of secrets that cannot be read is named."""
    monkeypatch.setenv("REDIS_PASSWORD_FILE", "/no/such/file")

    assert complaint(tmp_path, CACHE) == (
        "/no/such/file, which REDIS_PASSWORD_FILE names, cannot be read: No such file or directory"
    )


def test_a_variable_and_its_file_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where both are set, it is not clear which counts."""
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    monkeypatch.setenv("ANTIPHON_AMQP_URL", "amqp://h")
    monkeypatch.setenv("ANTIPHON_AMQP_URL_FILE", "/x")

    assert "ANTIPHON_AMQP_URL and ANTIPHON_AMQP_URL_FILE are both set" in complaint(tmp_path, CACHE)


def test_a_url_of_a_file_can_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bus of a service sees a URL that was rotated."""
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    (tmp_path / "url").write_text("amqp://me:old@broker\n")
    monkeypatch.setenv("ANTIPHON_AMQP_URL_FILE", str(tmp_path / "url"))
    settings, _ = load(InvalidatorSettings, settings_file(tmp_path, CACHE))
    (tmp_path / "url").write_text("amqp://me:new@broker\n")

    assert "amqp://me:old@broker" == settings.bus_url
    assert "amqp://me:new@broker" == settings.bus_url.again()  # type: ignore[attr-defined]


def test_the_password_of_the_environment_is_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs never show it, wherever it turns up."""
    monkeypatch.setenv("REDIS_PASSWORD", "x")
    monkeypatch.setenv("ANTIPHON_AMQP_PASSWORD", "hush-hush")

    _, secrets = load(InvalidatorSettings, settings_file(tmp_path, CACHE))

    assert "hush-hush" in secrets


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "",
            "caches: it is missing: add it to the settings file, or set ANTIPHON_CACHES",
        ),
        ("caches = 'x'", "caches: it is a list, written in [ ] (it is 'x')"),
        ("caches = []", "caches: at least one is needed"),
        ("colour = 1", "colour: there is no such setting"),
        (
            "http_port = 70000",
            "http_port: Input should be less than or equal to 65535 (it is 70000)",
        ),
        ("htp_port = 1", "htp_port: there is no such setting (did you mean 'http_port'?)"),
        (
            CACHE.replace(":${REDIS_PASSWORD}@", "") + "check_intervals = 1",
            "caches[0].check_intervals: there is no such setting (did you mean"
            " 'check_interval_s'?); take it out",
        ),
        (
            CACHE.replace(":${REDIS_PASSWORD}@", "") + "check_interval_s = 0",
            "caches[0].check_interval_s: Input should be greater than 0 (it is 0)",
        ),
        (
            CACHE.replace(":${REDIS_PASSWORD}@", "") + "follow = 'rumours'",
            "caches[0].follow: Input should be 'events' or 'journal' (it is 'rumours')",
        ),
        ('log_level = "LOUD"', "log_level: Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("[[caches]]\nmount_point = 'x'", "caches[0].cache_url: it is missing: add it"),
        ("caches = [", "is no TOML"),
        ("caches = " + "[" * 5000 + "]" * 5000, "is nested too deeply"),
        ("http_port = " + "9" * 5000, "is no TOML: Exceeds the limit"),
        (
            "[[caches]]\nmount_point='x'\ncache_url='memory:'\nbacking_url='redis://h'",
            "caches[0]: cache_url is in this process's memory",
        ),
        (
            "[[caches]]\nmount_point='x'\ncache_url='redis://h'\nbacking_url='memory:'",
            "caches[0]: backing_url is in this process's memory",
        ),
        (
            "[[caches]]\nmount_point='x'\ncache_url='sqlite::memory:'\nbacking_url='redis://h'",
            "caches[0]: cache_url is in this process's memory",
        ),
        ("http_host = ''", "http_host: String should have at least 1 character (it is '')"),
        ("system = 'a b'", "system: a system is 1 to 100 letters, digits, '_', '-' and '.', and"),
        ("system = 'amq.x'", "begins with a letter or digit and not with 'amq.' (it is 'amq.x')"),
        (
            "[caches]\nmount_point='x'\ncache_url='redis://h'\nbacking_url='redis://i'",
            "caches: it is one table: begin each with [[caches]]",
        ),
        (
            "[[caches]]\nmount_point='x'\ncache_url='redis://h'\nbacking_url='redis://h'",
            "caches[0]: cache_url and backing_url are the same store",
        ),
        (
            "[[caches]]\nmount_point='x'\ncache_url='redis://a'\nbacking_url='redis://h'\n" * 2,
            "two caches are named 'x'",
        ),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, said: str) -> None:
    """Each mistake is told with the setting's name."""
    assert said in complaint(tmp_path, text)


def test_one_mistake_is_told_once(tmp_path: Path) -> None:
    """An entry that is wrong is not missing as well."""
    said = complaint(tmp_path, "[[caches]]\nmount_point='x'\ncache_url='redis://h'")

    assert "caches[0].backing_url: it is missing: add it to the file" == said


def test_a_password_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password in a setting that is wrong is in no message."""
    text = '[[caches]]\ncache_url = "redis://:hush-hush@h"\nbacking_url = 3\nmount_point = "x"'

    assert "hush" not in complaint(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "log_level = 'redis://me:hush-hush@h'",
        "log_level = '${REDIS_PASSWORD}'",
        "password = 'hush-hush'",
        "token = ['hush-hush']",
    ],
)
def test_what_may_be_a_password_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A value is shown where that helps, but no secret, and nothing of a secret's name."""
    monkeypatch.setenv("REDIS_PASSWORD", "hush-hush")
    said = complaint(tmp_path, f"{text}\n{CACHE}")

    assert "hush" not in said


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """A settings file that does not exist is an error with its name."""
    with pytest.raises(BadSettings, match=r"none\.toml: cannot be read: No such file"):
        load(InvalidatorSettings, tmp_path / "none.toml")


def test_without_a_file_nobody_is_sent_to_one() -> None:
    """Who forgot to name the file is told that there is none."""
    with pytest.raises(
        BadSettings, match=r"^the environment \(no settings file is named\): caches:"
    ):
        load(InvalidatorSettings, None)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("amqp_url = 'http://h'", "amqp_url: no transport for 'http://h'"),
        ("cache_url = 'reddis://h/0'", "caches[0].cache_url: no store for 'reddis://h/0'"),
        ("backing_url = 'redis://h/0'", "caches[0].backing_url: namespace ''"),
    ],
)
def test_a_url_that_nobody_takes_is_told_with_its_setting(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    said: str,
) -> None:
    """Which of several URLs is meant, and in which file."""
    monkeypatch.setattr("services.skeleton.logs.set_up", lambda *_: None)
    lines = {
        "amqp_url": "amqp_url = 'memory:'",
        "caches": "[[caches]]\nmount_point = 'x'",
        "cache_url": "cache_url = 'redis://h/0?namespace=cache'",
        "backing_url": "backing_url = 'redis://h/0?namespace=catalogue'",
    }
    lines[setting.partition(" ")[0]] = setting
    path = settings_file(tmp_path, "http_port = 0\n" + "\n".join(lines.values()))

    assert 78 == run("invalidator", InvalidatorSettings, Invalidator, [str(path)])
    assert f"invalidator: {path}: {said}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ANTIPHON_HTTP_PORT", "x", "http_port (from ANTIPHON_HTTP_PORT): Input should be a valid"),
        ("ANTIPHON_LOG_LEVEL_FILE", "/dev/null", "log_level (from ANTIPHON_LOG_LEVEL_FILE): Input"),
        ("ANTIPHON_CACHES", "x", "the environment: ANTIPHON_CACHES is no JSON: it is easier"),
    ],
)
def test_a_variable_that_is_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    """Nobody looks for a mistake in the file that is in the environment."""
    monkeypatch.setenv("REDIS_PASSWORD", "x")
    monkeypatch.setenv(variable, value)

    assert said in complaint(tmp_path, CACHE)
