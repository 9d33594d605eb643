"""Reading and writing keys: the manual's protocol and what was added to it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from antiphon.events.event_id import EventId
from antiphon.server.reading import MAX_HEADER_METADATA
from antiphon.server.searching import position_from
from antiphon.storage.abstract_store import AbstractStore, Value
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.journal import Version
from antiphon.storage.string_value import StringValue
from tests.unit.server.asgi import Asker, asker_of

METADATA = {"colour": "blue", "size": 3}


@pytest.fixture
def filled(store: DictMemoryStore) -> DictMemoryStore:
    """The store with one key."""
    store.set("a", StringValue(b"0123456789", METADATA))
    return store


def state(store: Any, key: str = "a") -> tuple[bytes, dict[str, Any]]:
    """Return data and metadata of a key."""
    value = store.get(key)
    return value.data.read(), value.metadata


# -- Reading -------------------------------------------------------------------


def test_data_are_the_body(filled: DictMemoryStore, ask: Asker) -> None:
    """GET of the data answers them, with their length, version and times."""
    answer = ask("GET", "/keys/a/data")
    value = filled.get("a")

    assert (200, b"0123456789") == (answer.status_code, answer.content)
    assert "10" == answer.headers["content-length"]
    assert f'"{value.version}"' == answer.headers["etag"]
    assert value.created == float(answer.headers["antiphon-created"])
    assert value.modified == float(answer.headers["antiphon-modified"])
    assert "bytes" == answer.headers["accept-ranges"]
    assert answer.headers["last-modified"].endswith("GMT")


def test_metadata_are_json(filled: DictMemoryStore, ask: Asker) -> None:
    """GET of the metadata answers them as JSON."""
    answer = ask("GET", "/keys/a/metadata")

    assert METADATA == answer.json()
    assert "application/json" == answer.headers["content-type"]


def test_head_answers_the_headers_alone(filled: DictMemoryStore, ask: Asker) -> None:
    """HEAD says how long the data are, and sends none."""
    answer = ask("HEAD", "/keys/a/data")

    assert (200, b"", "10") == (
        answer.status_code,
        answer.content,
        answer.headers["content-length"],
    )


def test_a_value_has_its_metadata_in_a_header(filled: DictMemoryStore, ask: Asker) -> None:
    """Short metadata come in a header, and the body is the data."""
    answer = ask("GET", "/keys/a/value")

    assert METADATA == json.loads(base64.b64decode(answer.headers["antiphon-metadata"]))
    assert b"0123456789" == answer.content


def test_a_value_has_long_metadata_in_its_body(filled: DictMemoryStore, ask: Asker) -> None:
    """Metadata that make no header stand before the data."""
    metadata = {"text": "x" * MAX_HEADER_METADATA}
    filled.set_metadata("a", metadata)

    answer = ask("GET", "/keys/a/value")
    length = int(answer.headers["antiphon-metadata-length"])

    assert "antiphon-metadata" not in answer.headers
    assert metadata == json.loads(answer.content[:length])
    assert b"0123456789" == answer.content[length:]


def test_part_of_the_data(filled: DictMemoryStore, ask: Asker) -> None:
    """A range is answered with 206, one after the end with 416."""
    part = ask("GET", "/keys/a/data", headers={"Range": "bytes=2-4"})
    beyond = ask("GET", "/keys/a/data", headers={"Range": "bytes=10-"})

    assert (206, b"234") == (part.status_code, part.content)
    assert "bytes 2-4/10" == part.headers["content-range"]
    assert (416, "bytes */10") == (beyond.status_code, beyond.headers["content-range"])


def test_a_range_of_another_version_is_all(filled: DictMemoryStore, ask: Asker) -> None:
    """If-Range with an old version answers all of the new data."""
    for tag, status in ((f'"{filled.get("a").version}"', 206), ('"1-1-00"', 200)):
        answer = ask("GET", "/keys/a/data", headers={"Range": "bytes=2-4", "If-Range": tag})

        assert status == answer.status_code


@pytest.mark.parametrize("part", ["data", "metadata", "value"])
def test_what_the_client_has_is_not_sent_again(
    filled: DictMemoryStore, ask: Asker, part: str
) -> None:
    """If-None-Match with the present version answers 304, with another one 200."""
    tag = ask("GET", f"/keys/a/{part}").headers["etag"]
    again = ask("GET", f"/keys/a/{part}", headers={"If-None-Match": tag})
    filled.set_metadata("a", {})
    changed = ask("GET", f"/keys/a/{part}", headers={"If-None-Match": tag})

    assert (304, b"", tag) == (again.status_code, again.content, again.headers["etag"])
    assert 200 == changed.status_code


def test_what_was_not_modified_is_not_sent_again(filled: DictMemoryStore, ask: Asker) -> None:
    """If-Modified-Since is for clients without entity tags."""
    modified = ask("GET", "/keys/a/data").headers["last-modified"]

    assert 304 == ask("GET", "/keys/a/data", headers={"If-Modified-Since": modified}).status_code


def test_no_browser_runs_what_is_stored(filled: DictMemoryStore, ask: Asker) -> None:
    """Data are bytes, whatever they look like."""
    headers = ask("GET", "/keys/a/data").headers

    assert "application/octet-stream" == headers["content-type"]
    assert "nosniff" == headers["x-content-type-options"]


# -- Writing -------------------------------------------------------------------


def test_data_are_set(filled: DictMemoryStore, ask: Asker) -> None:
    """PUT of data leaves the metadata, and answers what was committed."""
    heard: list[StoreModificationEvent] = []
    filled.event_manager.connect(StoreModificationEvent, heard.append)

    answer = ask("PUT", "/keys/a/data", content=b"new")
    told = answer.json()

    assert (b"new", METADATA) == state(filled)
    assert 200 == answer.status_code
    assert "update" == told["action"]
    assert METADATA == told["metadata"]
    assert filled.get("a").version == Version.parse(told["version"])
    assert f'"{told["version"]}"' == answer.headers["etag"]
    assert filled.head() == position_from(told["position"])
    assert [heard[0]._event_id] == [EventId.parse(told["event_id"])]


def test_a_new_key_is_answered_201(store: DictMemoryStore, ask: Asker) -> None:
    """Whoever sets a new key hears that it is new."""
    answer = ask("PUT", "/keys/new/data", content=b"x")

    assert (201, "set") == (answer.status_code, answer.json()["action"])


def test_metadata_are_set_and_updated(filled: DictMemoryStore, ask: Asker) -> None:
    """PUT of metadata replaces them, POST adds to them; the data stay."""
    ask("PUT", "/keys/a/metadata", content=b'{"x": 1, "y": {"!set": [1]}}')
    ask("POST", "/keys/a/metadata", content=b'{"x": 2}')

    assert (b"0123456789", {"x": 2, "y": {1}}) == state(filled)


def test_updating_what_is_not_there(store: DictMemoryStore, ask: Asker) -> None:
    """POST of metadata to a key that is not there makes none."""
    assert 404 == ask("POST", "/keys/a/metadata", content=b"{}").status_code
    assert not store.exists("a")


def test_a_value_is_set_at_once(store: DictMemoryStore, ask: Asker) -> None:
    """Data and metadata in one request are one commit, in either form."""
    text = json.dumps(METADATA).encode()
    one = ask(
        "PUT",
        "/keys/a/value",
        content=b"data",
        headers={"Antiphon-Metadata": base64.b64encode(text).decode()},
    )
    other = ask(
        "PUT",
        "/keys/b/value",
        content=text + b"data",
        headers={"Antiphon-Metadata-Length": str(len(text))},
    )

    assert (201, 201) == (one.status_code, other.status_code)
    assert (b"data", METADATA) == state(store, "a") == state(store, "b")
    assert 2 == store.head().sequence


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Antiphon-Metadata": "no base64!"},
        {"Antiphon-Metadata": base64.b64encode(b"no JSON").decode()},
        {"Antiphon-Metadata-Length": "100"},
        {"Antiphon-Metadata-Length": "-1"},
        {"Antiphon-Metadata-Length": "9" * 5000},
    ],
    ids=["none", "no-base64", "no-json", "too-long", "negative", "absurd"],
)
def test_a_value_without_good_metadata_is_refused(
    store: DictMemoryStore, ask: Asker, headers: dict[str, str]
) -> None:
    """Nothing is written where the metadata are missing or broken."""
    assert 400 == ask("PUT", "/keys/a/value", content=b"{}", headers=headers).status_code
    assert not store.exists("a")


def test_a_key_is_deleted(filled: DictMemoryStore, ask: Asker) -> None:
    """DELETE answers the metadata that the key had."""
    answer = ask("DELETE", "/keys/a")

    assert (200, "delete", METADATA) == (
        answer.status_code,
        answer.json()["action"],
        answer.json()["metadata"],
    )
    assert not filled.exists("a")
    assert 404 == ask("DELETE", "/keys/a").status_code


@pytest.mark.parametrize("size", [0, 1, 1 << 18, (1 << 18) + 1, 3 << 20])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_values_of_all_sizes_come_back(
    store: DictMemoryStore, ask: Asker, size: int, is_chunked: bool
) -> None:
    """Collected or streamed, with a length or in chunks: the bytes are the same."""
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    pieces = (data[i : i + 100_000] for i in range(0, size, 100_000))

    ask("PUT", "/keys/a/data", content=pieces if is_chunked else data)

    assert data == state(store)[0]
    assert data == ask("GET", "/keys/a/data").content


# -- Conditions of writes --------------------------------------------------------


WRITES: list[tuple[str, str, bytes]] = [
    ("PUT", "/keys/a/data", b"new"),
    ("PUT", "/keys/a/metadata", b"{}"),
    ("POST", "/keys/a/metadata", b"{}"),
    ("DELETE", "/keys/a", b""),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_a_write_with_the_present_version(
    filled: DictMemoryStore, ask: Asker, method: str, path: str, body: bytes
) -> None:
    """If-Match with the key's version lets the write through; with an older one it is 412."""
    old = f'"{filled.get("a").version}"'
    filled.set_metadata("a", {"second": True})
    new = f'"{filled.get("a").version}"'
    before = state(filled)

    refused = ask(method, path, content=body, headers={"If-Match": old})
    assert (412, "VersionConflict") == (refused.status_code, refused.json()["error"])
    assert before == state(filled)

    taken = ask(method, path, content=body, headers={"If-Match": f"{new}, {old}"})
    assert 200 == taken.status_code


@pytest.mark.parametrize("tag", ['"no-version"', 'W/"1-1-00"', "nonsense", '"1-1-00"', ""])
def test_a_write_with_a_version_that_never_was(
    filled: DictMemoryStore, ask: Asker, tag: str
) -> None:
    """An entity tag that is none of ours matches nothing."""
    assert 412 == ask("PUT", "/keys/a/data", content=b"x", headers={"If-Match": tag}).status_code


def test_creating_only(filled: DictMemoryStore, ask: Asker) -> None:
    """If-None-Match: * writes new keys only."""
    headers = {"If-None-Match": "*"}

    assert 412 == ask("PUT", "/keys/a/data", content=b"x", headers=headers).status_code
    assert 201 == ask("PUT", "/keys/b/data", content=b"x", headers=headers).status_code


def test_changing_only(filled: DictMemoryStore, ask: Asker) -> None:
    """If-Match: * writes keys only that are there."""
    headers = {"If-Match": "*"}

    assert 200 == ask("PUT", "/keys/a/data", content=b"x", headers=headers).status_code
    assert 412 == ask("PUT", "/keys/b/data", content=b"x", headers=headers).status_code


def test_unless_it_has_that_version(filled: DictMemoryStore, ask: Asker) -> None:
    """If-None-Match with a version writes unless the key has it."""
    tag = f'"{filled.get("a").version}"'
    headers = {"If-None-Match": tag}

    assert 412 == ask("PUT", "/keys/a/data", content=b"x", headers=headers).status_code
    filled.set_metadata("a", {})
    assert 200 == ask("PUT", "/keys/a/data", content=b"x", headers=headers).status_code


# -- Stores of other makers ------------------------------------------------------


class PlainStore(AbstractStore):
    """A store as one may have written it for Encore: tuples, no sizes, no versions."""

    def __init__(self) -> None:
        super().__init__()
        self.content: dict[str, tuple[bytes, dict[str, Any]]] = {}

    def get(self, key: str) -> Value:
        data, metadata = self.content[key]
        return (io.BytesIO(data), dict(metadata))  # type: ignore[return-value]

    def get_metadata(self, key: str, select: Any = None) -> dict[str, Any]:
        return dict(self.content[key][1])

    def set(self, key: str, value: Any, buffer_size: int = 1 << 20) -> None:  # type: ignore[override]
        self.content[key] = (value[0].read(), dict(value[1]))

    def set_data(self, key: str, data: Any, buffer_size: int = 1 << 20) -> None:  # type: ignore[override]
        self.content[key] = (data.read(), self.content.get(key, (b"", {}))[1])

    def query(self, select: Any = None, **kwargs: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, (_, metadata) in self.content.items():
            if kwargs.items() <= metadata.items():
                yield key, metadata


@pytest.fixture
def plain() -> Iterator[tuple[PlainStore, Asker]]:
    """A store of another maker, served."""
    store = PlainStore()
    asker = asker_of(store)
    yield store, asker
    asker.app.close()


def test_a_store_of_another_maker_is_served(plain: tuple[PlainStore, Asker]) -> None:
    """It needs neither sizes nor versions nor a journal."""
    _, ask = plain
    new, again = (ask("PUT", "/keys/a/data", content=b"0123456789") for _ in range(2))
    header = base64.b64encode(b'{"x": 1}').decode()
    ask("PUT", "/keys/a/value", content=b"0123456789", headers={"Antiphon-Metadata": header})

    assert (201, 200) == (new.status_code, again.status_code)
    assert b"0123456789" == ask("GET", "/keys/a/data").content
    assert "10" == ask("HEAD", "/keys/a/data").headers["content-length"]
    assert b"23" == ask("GET", "/keys/a/data", headers={"Range": "bytes=2-3"}).content
    assert {"x": 1} == ask("GET", "/keys/a/metadata").json()
    assert "a\n" == ask("GET", "/query?x=1").text
    assert '{\n"a": {"x":1}\n}\n' == ask("GET", "/index.json").text


def test_what_it_cannot_do_is_said(plain: tuple[PlainStore, Asker]) -> None:
    """What the store has no method for is 501; what it lacks is 404; conditions are 412."""
    store, ask = plain
    store.content["a"] = (b"x", {})

    assert 501 == ask("DELETE", "/keys/a").status_code
    assert 501 == ask("GET", "/journal/head").status_code
    assert 404 == ask("GET", "/keys/b/data").status_code
    for headers in ({"If-Match": "*"}, {"If-None-Match": "*"}):
        for key in ("a", "b"):
            refused = ask("PUT", f"/keys/{key}/data", content=b"y", headers=headers)
            assert 412 == refused.status_code
    assert {"a": (b"x", {})} == store.content


def test_what_a_listener_writes_is_not_the_answer(store: DictMemoryStore, ask: Asker) -> None:
    """The version that a client hears is that of the key that it wrote."""

    def note(event: StoreModificationEvent) -> None:
        if event.key != "log":
            store.set("log", StringValue(b"", {"last": event.key}))

    store.event_manager.connect(StoreModificationEvent, note)
    written = ask("PUT", "/keys/a/data", content=b"x")
    deleted = ask("DELETE", "/keys/a")

    assert ("set", {}) == (written.json()["action"], written.json()["metadata"])
    assert "delete" == deleted.json()["action"]
