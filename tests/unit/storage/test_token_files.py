"""Tokens of stores behind URLs, from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon import open_store
from antiphon.errors import InvalidValue
from antiphon.storage.http_options import HttpOptions


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


def test_a_token_is_read_at_each_connect(token_file: Path) -> None:
    """A token that was replaced in its file is used from the next connection on."""
    options = HttpOptions(token_file=str(token_file))
    before = options.credentials(None, None)
    token_file.write_text("second")

    assert ({"token": "first"}, {"token": "second"}) == (before, options.credentials(None, None))


def test_what_connect_is_given_wins(token_file: Path) -> None:
    """Then the file is not even read."""
    token_file.write_text("")
    options = HttpOptions(token_file=str(token_file))

    assert {"token": "given"} == options.credentials({"token": "given"}, None)


@pytest.mark.parametrize("scheme", ["dynamic+http", "static+http"])
def test_a_url_has_one_kind_of_credentials(scheme: str, token_file: Path) -> None:
    """A user and a token are one too many; the password is not repeated."""
    store = open_store(f"{scheme}://me:secret@127.0.0.1:1/x?token_file={token_file}")

    with pytest.raises(InvalidValue, match="either a user and password") as caught:
        store.connect()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "hint"), [(b"", "is empty"), (b"t\xc3\xb6p-secret", "no ASCII")]
)
def test_a_file_without_a_token(content: bytes, hint: str, token_file: Path) -> None:
    """The error names the file, and nothing that is in it."""
    token_file.write_bytes(content)

    with pytest.raises(InvalidValue, match=hint) as caught:
        HttpOptions(token_file=str(token_file)).credentials(None, None)
    assert "secret" not in str(caught.value)


def test_a_missing_token_file_is_told_at_once(tmp_path: Path) -> None:
    """Not only when the store is connected."""
    with pytest.raises(InvalidValue, match="token_file: there is no file"):
        open_store(f"dynamic+http://127.0.0.1:1/x?token_file={tmp_path}/none")
