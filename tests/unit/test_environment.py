"""Settings and secrets from the environment and from files that it names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from antiphon.environment import URLOfFile, broker_url, read_variable
from antiphon.errors import InvalidEnvironment, InvalidURL


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTIPHON_AMQP_URL", "ANTIPHON_AMQP_URL_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_value() -> None:
    """A variable's value counts; one that is set to nothing does not."""
    assert "v" == read_variable("NAME", {"NAME": "v", "NAME_FILE": ""})
    assert read_variable("NAME", {"NAME": ""}) is None


@pytest.mark.parametrize("content", ["secret", "secret\n", "secret\r\n"])
def test_file(tmp_path: Path, content: str) -> None:
    """A file's content counts, without the line end that editors put there."""
    (tmp_path / "f").write_text(content, newline="")

    assert "secret" == read_variable("NAME", {"NAME_FILE": str(tmp_path / "f")})


def test_both(tmp_path: Path) -> None:
    """A variable and its file together are an error that shows neither value."""
    with pytest.raises(InvalidEnvironment, match="NAME and NAME_FILE are both set") as caught:
        read_variable("NAME", {"NAME": "hunter2", "NAME_FILE": str(tmp_path)})

    assert "hunter2" not in str(caught.value)


def test_unreadable(tmp_path: Path) -> None:
    """A file that is not there, or is no text, is named with the variable."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xff")
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path / "bytes", "no UTF-8")):
        with pytest.raises(InvalidEnvironment, match=rf"{path}, which NAME_FILE.*{reason}"):
            read_variable("NAME", {"NAME_FILE": str(path)})


def test_url_given() -> None:
    """A URL in the program wins over the environment."""
    assert "amqp://a" == broker_url("amqp://a")


def test_url_of_nobody() -> None:
    """With no URL anywhere the error says what to set."""
    with pytest.raises(InvalidURL, match="ANTIPHON_AMQP_URL_FILE"):
        broker_url()


def test_url_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL from a file can be read again after it was replaced."""
    path = tmp_path / "url"
    path.write_text("amqp://me:old@host\n")
    monkeypatch.setenv("ANTIPHON_AMQP_URL_FILE", str(path))
    url = broker_url()
    path.write_text("amqp://me:new@host\n")

    assert isinstance(url, URLOfFile)
    assert ("amqp://me:old@host", "amqp://me:new@host") == (url, url.again())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("ANTIPHON_AMPQ_URL", " (ANTIPHON_AMPQ_URL is set; was ANTIPHON_AMQP_URL meant?)"),
        ("ANTIPHON_AMQP_URL_FIL", " (ANTIPHON_AMQP_URL_FIL is set; was ANTIPHON_AMQP_URL meant?)"),
        ("ANTIPHON_REDIS_URL", ""),
        ("ANTIPHON_ARCHIVE_URL", ""),
        ("ANTIPHON_AMQP_USER", ""),
    ],
)
def test_a_variable_with_a_slip_in_its_name(
    monkeypatch: pytest.MonkeyPatch, given: str, told: str
) -> None:
    """It is named where the right one is missing; its value is not."""
    for name in list(os.environ):
        if name.startswith("ANTIPHON_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv(given, "amqp://me:secret@broker")

    with pytest.raises(InvalidURL) as caught:
        broker_url()

    assert str(caught.value).endswith(f"virtual-host{told}")
