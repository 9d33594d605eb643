"""Servers that say that they are Antiphon's, and then answer nonsense."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from antiphon.errors import IncompatibleStore, KeyNotFound, StoreError, StoreUnavailable
from antiphon.storage import http_answer
from antiphon.storage.journal import Position
from antiphon.storage.string_value import StringValue
from http_media import client
from web_server import Handler, PlainWeb, running

STORE_ID = "00000000-0000-0000-0000-000000000001"

INFO = {
    "protocol": 1, "store_id": STORE_ID, "origin": "x", "readonly": False, "authorizing": False,
    "versions": True, "journal": True, "user_tag": None, "max_value_bytes": 1000,
}  # fmt: skip

VALUE = {"Antiphon-Metadata": "e30="}


class Liar:
    """Answers what a test gives it, by path."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        self.info_url = "info"
        self.say("/info", INFO)

    def say(self, path: str, body: Any, status: int = 200, **headers: str) -> None:
        """Answer *body*, as it is or as JSON."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers[path] = (status, text, {n.replace("_", "-"): v for n, v in headers.items()})

    def __call__(self, handler: Handler) -> bool:
        if handler.command == "OPTIONS":
            told = {"Antiphon-Protocol": "1", "Antiphon-Info": self.info_url}
            handler.answer(204, b"", told)
            return True
        answer = self.answers.get(handler.path.partition("?")[0])
        if answer is None:
            return False
        handler.answer(*answer)
        return True


@pytest.fixture
def liar() -> Liar:
    return Liar()


@pytest.fixture
def web(liar: Liar) -> Iterator[PlainWeb]:
    """A server that answers what the liar says."""
    with running() as web:
        web.fault = liar
        yield web


@pytest.mark.parametrize(
    "info",
    [
        b"<html>", [], {}, {"protocol": 2}, {**INFO, "store_id": "x"}, {**INFO, "store_id": 5},
        {**INFO, "origin": ["x"]}, {**INFO, "user_tag": {}},
        {**INFO, "max_value_bytes": float("inf")},
    ],
)  # fmt: skip
def test_a_server_that_tells_nonsense_of_itself(web: PlainWeb, liar: Liar, info: Any) -> None:
    """The store is not connected."""
    liar.say("/info", info)
    store = client(web.url)
    with pytest.raises(StoreError):
        store.connect()

    assert not store.is_connected()


@pytest.mark.parametrize("url", ["http://elsewhere.invalid/info", "//elsewhere.invalid/info"])
def test_credentials_are_not_sent_elsewhere(web: PlainWeb, liar: Liar, url: str) -> None:
    """Where the server tells of itself is on the server that was asked."""
    liar.info_url = url
    with client(web.url) as store:
        assert STORE_ID == str(store.store_id)


@pytest.mark.parametrize(
    "body",
    [b"", b'"a"\n', b'"a"\n{"count": 2}\n', b'"a"\n{"count"', b'"a"\n"b"\n', b'{"other": 1}\n'],
)
def test_a_query_that_was_cut_short_is_an_error(web: PlainWeb, liar: Liar, body: bytes) -> None:
    """The last line says how many there were."""
    liar.say("/query", body)
    with client(web.url) as store, pytest.raises(StoreError, match=r"cut short|no line"):
        list(store.query_keys())


def test_a_query_that_is_whole_is_none(web: PlainWeb, liar: Liar) -> None:
    """The counterpart of the test before."""
    liar.say("/query", b'"a"\n"b"\n{"count": 2}\n')
    with client(web.url) as store:
        assert ["a", "b"] == list(store.query_keys())


def test_a_journal_that_was_cut_short_is_an_error(web: PlainWeb, liar: Liar) -> None:
    """And one with entries that are none, and a head that is no position."""
    position = Position(UUID(STORE_ID), 1, 0, b"")
    with client(web.url) as store:
        liar.say("/journal/since", b'[1, 1, "00", "a", "set", null, "", true, 1]\n')
        with pytest.raises(StoreUnavailable, match="cut short"):
            list(store.since(position))
        liar.say("/journal/since", b'[1, 1]\n{"count": 1, "more": false}\n')
        with pytest.raises(StoreError, match="no journal entry"):
            list(store.since(position))
        liar.say("/journal/since", b'[1, 1, "00", 5, "set", null, "", true, 1]\n{"count": 1}\n')
        with pytest.raises(StoreError, match="no journal entry"):
            list(store.since(position))
        liar.say("/journal/head", {"position": "x"})
        with pytest.raises(StoreError, match="no position"):
            store.head()


def test_a_journal_that_goes_on_for_ever_is_an_error(web: PlainWeb, liar: Liar) -> None:
    """A server that answers the same entries whatever it is asked for is not asked again."""
    entry = b'[1, 1, "00", "a", "set", null, "", true, 1]\n'
    liar.say("/journal/since", entry + b'{"count": 1, "more": true}\n')
    with client(web.url) as store, pytest.raises(StoreError, match="the same entries again"):
        list(store.since(Position(UUID(STORE_ID), 1, 0, b"")))


DEEP = b"[" * 50_000


@pytest.mark.parametrize("line", [b"5", b"null", b"[1, {}]", b'["a", 5]', b'["a"]', DEEP])
def test_a_query_that_is_answered_with_nonsense_is_an_error(
    web: PlainWeb, liar: Liar, line: bytes
) -> None:
    """Each line has to be a key, or a key and its metadata."""
    liar.say("/query", line + b'\n{"count": 1}\n')
    with client(web.url) as store:
        with pytest.raises(StoreError):
            list(store.query())
        with pytest.raises(StoreError):
            list(store.query_keys())


def test_a_line_without_end_is_an_error(
    web: PlainWeb, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes no more memory than any other answer may have."""
    monkeypatch.setattr(http_answer, "MAX_ANSWER_BYTES", 1 << 20)
    liar.say("/query", b'"' + b"a" * (3 << 20))
    with client(web.url) as store, pytest.raises(StoreError, match="a line of more than"):
        list(store.query_keys())


def test_numbers_of_thousands_of_digits_are_errors(web: PlainWeb, liar: Liar) -> None:
    """Python reads no such number, and says so with an error of its own."""
    digits = "9" * 5000
    liar.say("/keys/a/data", b"ab", 206, Content_Range=f"bytes 1-2/{digits}")
    with client(web.url) as store:
        with pytest.raises(StoreError):
            store.get_data_range("a", 1, 3)
        web.fault = lambda handler: handler.cut(b"{}", int("9" * 4000))
        with pytest.raises(StoreError):
            store.get_permissions("a")
        web.fault = liar


@pytest.mark.parametrize("url", ["http://[::1/x", "//[x"])
def test_a_redirection_to_no_url_is_an_error(web: PlainWeb, liar: Liar, url: str) -> None:
    """Of a write it is said that it may have happened."""
    liar.say("/keys/a/metadata", b"", 302, Location=url)
    with client(web.url) as store:
        with pytest.raises(StoreError, match="no URL"):
            store.get_metadata("a")
        with pytest.raises(StoreError, match="reading tells"):
            store.set_metadata("a", {})


def test_what_is_gone_is_no_key(web: PlainWeb, liar: Liar) -> None:
    """410 says of a key what 404 says; of a journal it says something else."""
    for part in ("data", "metadata"):
        liar.say(f"/keys/a/{part}", b"", 410)
    with client(web.url) as store:
        with pytest.raises(KeyNotFound):
            store.get_metadata("a")

        assert not store.exists("a")


def test_too_many_requests_is_a_server_that_is_not_available(web: PlainWeb, liar: Liar) -> None:
    """However long it wants us to wait, we tell it at once."""
    liar.say("/keys/a/metadata", b"", 429, Retry_After="999999999")
    with client(web.url) as store, pytest.raises(StoreUnavailable):
        store.get_metadata("a")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"data", {}),
        (b"data", {"Antiphon_Metadata": "???"}),
        (b"data", {"Antiphon_Metadata": "WzFd"}),
        (b"data", {"Antiphon_Metadata_Length": "many"}),
        (b"data", {"Antiphon_Metadata_Length": "-1"}),
        (b"data", {"Antiphon_Metadata_Length": "9"}),
        (b"data", {"Antiphon_Metadata_Length": "9" * 20}),
        (b'{"a', {"Antiphon_Metadata_Length": "3"}),
    ],
)
def test_a_value_without_metadata_is_an_error(
    web: PlainWeb, liar: Liar, body: bytes, headers: dict[str, str]
) -> None:
    """Data are never taken for metadata, nor the other way round."""
    liar.say("/keys/a/value", body, **headers)
    with client(web.url) as store, pytest.raises((IncompatibleStore, StoreUnavailable)):
        store.get("a")


@pytest.mark.parametrize(
    "answer",
    [b"ok", [], {}, {"action": "burnt", "version": None, "event_id": None, "position": None}],
)
def test_a_write_that_is_answered_with_nonsense_may_have_happened(
    web: PlainWeb, liar: Liar, answer: Any
) -> None:
    """The error is one of ours."""
    liar.say("/keys/a/value", answer)
    with client(web.url) as store, pytest.raises(StoreError):
        store.set("a", StringValue(b"data"))


def test_errors_are_those_that_the_server_names(web: PlainWeb, liar: Liar) -> None:
    """Only errors of stores; any other name is what the status says."""
    with client(web.url) as store:
        for name, expected in (
            ("StoreFull", "StoreFull"),
            ("SystemExit", "StoreError"),
            ("annotations", "StoreError"),
            ("__import__", "StoreError"),
            ("BusClosed", "StoreError"),
        ):
            liar.say("/keys/a/value", {"error": name, "message": "why it is so"}, 500)
            with pytest.raises(StoreError, match="why it is so") as caught:
                store.get("a")
            assert expected == type(caught.value).__name__
