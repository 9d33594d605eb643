"""Queries, the index, the journal, and what the store says about itself."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.journal import Position
from antiphon.storage.metadata import encode_value
from antiphon.storage.string_value import StringValue
from tests.unit.server.asgi import Asker

LINES = {"Accept": "application/x-ndjson"}

CONTENT: dict[str, dict[str, Any]] = {
    "one": {"n": 1, "colour": "blue"},
    "one.0": {"n": 1.0, "colour": "blue"},
    "true": {"n": True},
    "text": {"n": "1", "select": "yes", "self": "me"},
    "bytes": {"n": b"1"},
    "two\nlines": {"n": None},
    "": {},
}


@pytest.fixture
def filled(store: DictMemoryStore) -> DictMemoryStore:
    """A store with some keys."""
    for key, metadata in CONTENT.items():
        store.set(key, StringValue(b"x", metadata))
    return store


def lines(answer: Any) -> list[Any]:
    """Return the lines of an answer as JSON, the last of which counts the others."""
    *found, last = [json.loads(line) for line in answer.content.splitlines()]
    assert last["count"] == len(found)
    return found


def test_a_query_answers_keys_one_a_line(filled: DictMemoryStore, ask: Asker) -> None:
    """As the manual has it: parameters are JSON, keys are lines."""
    assert "one\none.0\n" == ask("GET", "/query", params={"colour": '"blue"'}).text
    assert "one\n" == ask("GET", "/query", params={"colour": '"blue"', "n": "1"}).text


@pytest.mark.parametrize("key", [key for key in CONTENT if "n" in CONTENT[key]])
def test_a_query_is_exact(filled: DictMemoryStore, ask: Asker, key: str) -> None:
    """Value and type must be the same, of values that JSON lacks as well."""
    params = {"n": encode_value(CONTENT[key]["n"])}

    assert [key] == lines(ask("GET", "/query", params=params, headers=LINES))


def test_keys_with_line_ends_are_left_out_of_plain_lines(
    filled: DictMemoryStore, ask: Asker
) -> None:
    """They would be taken for two keys; as JSON they are there."""
    plain = ask("GET", "/query").text.split("\n")

    assert sorted([*CONTENT.keys() - {"two\nlines"}, ""]) == sorted(plain)
    assert sorted(CONTENT) == sorted(lines(ask("GET", "/query", headers=LINES)))


def test_a_posted_query_answers_metadata(filled: DictMemoryStore, ask: Asker) -> None:
    """Keys with their metadata, or some of them, or keys alone."""
    where = {"where": {"colour": "blue"}}
    all_of_them = ask("POST", "/query", json=where)
    some = ask("POST", "/query", json={**where, "select": ["n", "missing"], "keys_only": False})
    keys = ask("POST", "/query", json={**where, "keys_only": True})

    assert [["one", CONTENT["one"]], ["one.0", CONTENT["one.0"]]] == lines(all_of_them)
    assert [["one", {"n": 1}], ["one.0", {"n": 1.0}]] == lines(some)
    assert ["one", "one.0"] == lines(keys)


@pytest.mark.parametrize("name", ["select", "self"])
def test_entries_may_have_any_name(filled: DictMemoryStore, ask: Asker, name: str) -> None:
    """Names that are arguments of Python's methods are names like others."""
    where = {name: CONTENT["text"][name]}

    assert [["text", CONTENT["text"]]] == lines(ask("POST", "/query", json={"where": where}))
    params = {name: json.dumps(where[name])}
    assert ["text"] == lines(ask("GET", "/query", params=params, headers=LINES))


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"were": {}}', b'{"where": 1}', b'{"select": "n"}', b"[" * 10000, b"\xff"],
)
def test_bad_queries_are_told(ask: Asker, body: bytes) -> None:
    """A body that is no query is refused with 400."""
    answer = ask("POST", "/query", content=body)

    assert (400, "InvalidValue") == (answer.status_code, answer.json()["error"])


@pytest.mark.parametrize("params", ["n=blue", "n=1&n=2", "n=", 'n={"!x":1}', "n=%FF"])
def test_bad_parameters_are_told(ask: Asker, params: str) -> None:
    """A value that is no JSON, or there twice, is refused with 400."""
    assert 400 == ask("GET", f"/query?{params}").status_code


def test_large_results_are_streamed(store: DictMemoryStore, ask: Asker) -> None:
    """What fits no piece is sent as it is found, and counted at the end."""
    keys = [f"{number:05}-{'x' * 50}" for number in range(3000)]
    for key in keys:
        store.set_metadata(key, {})

    answer = ask("GET", "/query", headers=LINES)

    assert "content-length" not in answer.headers
    assert keys == lines(answer)


# -- The static layout ---------------------------------------------------------


def test_the_index_has_all_metadata(filled: DictMemoryStore, ask: Asker) -> None:
    """One JSON object; what it has is in the files under data/."""
    index = ask("GET", "/index.json").json()

    assert {**CONTENT, "bytes": {"n": {"!bytes": "MQ=="}}} == index
    assert b"x" == ask("GET", "/data/one.0").content


def test_an_empty_index_is_an_object(ask: Asker) -> None:
    """Of a store without keys the index is empty."""
    assert {} == ask("GET", "/index.json").json()


def test_the_index_is_sent_when_it_has_changed(filled: DictMemoryStore, ask: Asker) -> None:
    """A poller gets 304 until a key changes."""
    tag = ask("GET", "/index.json").headers["etag"]
    same = ask("GET", "/index.json", headers={"If-None-Match": tag})
    filled.delete("one")
    changed = ask("GET", "/index.json", headers={"If-None-Match": tag})

    assert (304, 200) == (same.status_code, changed.status_code)
    assert "one" not in changed.json()


# -- The journal ---------------------------------------------------------------


def since(ask: Asker, position: Position | str, **params: Any) -> tuple[list[Any], bool]:
    """Return the entries after a position, and whether there are more."""
    answer = ask("GET", "/journal/since", params={"position": str(position), **params})
    assert 200 == answer.status_code, answer.text
    return lines(answer), json.loads(answer.content.splitlines()[-1])["more"]


def test_the_journal_is_told(store: DictMemoryStore, ask: Asker) -> None:
    """Head and entries are the store's own."""
    start = ask("GET", "/journal/head").json()["position"]
    store.set_metadata("a", {})
    store.delete("a")
    entries = list(store.since(store.head()._replace(sequence=0, entry_id=b"")))

    found, more = since(ask, start)

    assert not more
    assert [
        [
            entry.version.epoch,
            entry.version.sequence,
            entry.version.entry_id.hex(),
            "a",
            entry.action,
            str(entry.event_id),
            entry.owner.hex(),
            True,
            entry.time_ns,
        ]
        for entry in entries
    ] == found
    assert str(store.head()) == ask("GET", "/journal/head").json()["position"]


def test_the_journal_is_cut_between_commits(store: DictMemoryStore, ask: Asker) -> None:
    """A limit is passed by the rest of a commit, and says whether there is more."""
    start = store.head()
    with store.transaction("three at once"):
        for key in "abc":
            store.set_metadata(key, {})
    store.set_metadata("d", {})

    found, more = since(ask, start, limit=2)
    everything, nothing_more = since(ask, start, limit=4)

    assert (["a", "b", "c"], True) == ([entry[3] for entry in found], more)
    assert (["a", "b", "c", "d"], False) == ([entry[3] for entry in everything], nothing_more)


def test_a_lost_position_is_gone(store: DictMemoryStore, ask: Asker) -> None:
    """A position of another history is answered 410."""
    lost = store.head()._replace(store_id=uuid4())
    answer = ask("GET", "/journal/since", params={"position": str(lost)})

    assert (410, "PositionLost") == (answer.status_code, answer.json()["error"])


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"position": "x"},
        {"position": f"{uuid4()}@1-{1 << 63}-0011223344556677"},
        {"position": f"{uuid4()}@{1 << 63}-1-0011223344556677"},
        {"position": "", "limit": "0"},
        {"limit": "many"},
        {"limit": "-1"},
    ],
)
def test_bad_positions_and_limits_are_told(
    store: DictMemoryStore, ask: Asker, params: dict[str, str]
) -> None:
    """What is no position or number is refused with 400."""
    if "limit" in params:
        params = {**params, "position": str(store.head())}

    assert 400 == ask("GET", "/journal/since", params=params).status_code


# -- The store -----------------------------------------------------------------


def test_the_store_says_what_it_is(store: DictMemoryStore, ask: Asker) -> None:
    """Clients learn from it which parts of the protocol there are."""
    assert {
        "protocol": 1,
        "store_id": str(store.store_id),
        "origin": None,
        "readonly": False,
        "authorizing": False,
        "versions": True,
        "journal": True,
        "wait_s": 50.0,
        "user_tag": None,
        "max_value_bytes": 1 << 34,
    } == ask("GET", "/info").json()


def test_the_probe_tells_the_protocol(ask: Asker) -> None:
    """OPTIONS of the query tells a client that the server is one of ours."""
    answer = ask("OPTIONS", "/query")

    assert (204, b"") == (answer.status_code, answer.content)
    assert "1" == answer.headers["antiphon-protocol"]
    assert "info" == answer.headers["antiphon-info"]
