"""Errors: which status, which class, and nothing of the server's own."""

from __future__ import annotations

import errno
import inspect
from typing import Any

import pytest

from antiphon import errors
from antiphon.errors import StoreError
from antiphon.server.answers import answer_to_error
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.read_only_store import AbstractReadOnlyStore
from tests.unit.server.asgi import Asker, asker_of

SECRET = "redis://:hush@10.0.0.7/0"

STATUS = {
    "InvalidKey": 400,
    "InvalidValue": 400,
    "InvalidFreshness": 400,
    "AuthenticationError": 401,
    "AuthorizationError": 403,
    "KeyNotFound": 404,
    "ReadOnlyStore": 405,
    "IncompatibleStore": 409,
    "PositionLost": 410,
    "VersionConflict": 412,
    "PermissionsUnsupported": 501,
    "TransactionError": 501,
    "TransactionTooLarge": 501,
    "StoreUnavailable": 503,
    "NotConnected": 503,
    "StoreFull": 507,
}


def failing(exc: BaseException) -> Asker:
    """Return an asker of a store that raises *exc* when it is read or written."""

    class Failing(DictMemoryStore):
        def get(self, key: str) -> Any:
            raise exc

        def set_data(self, *args: Any, **kwargs: Any) -> Any:
            raise exc

    return asker_of(Failing())


@pytest.mark.parametrize("name", sorted(STATUS))
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_errors_of_stores_have_a_status(name: str, method: str) -> None:
    """A client learns the class of an error and raises the same."""
    ask = failing(getattr(errors, name)("for the client"))
    answer = ask(method, "/keys/a/data", content=b"")
    ask.app.close()

    assert (STATUS[name], name, "a") == (
        answer.status_code,
        answer.json()["error"],
        answer.json()["key"],
    )


def test_every_error_of_stores_is_thought_of() -> None:
    """A new class gets a status here, or is meant to be 500."""
    classes = {
        name
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, StoreError)
    }

    assert {"StoreError"} == classes - set(STATUS)


@pytest.mark.parametrize(
    ("exc", "status", "error"),
    [
        (KeyError("a"), 404, "KeyNotFound"),
        (NotImplementedError(SECRET), 501, "StoreError"),
        (ConnectionRefusedError(SECRET), 503, "StoreUnavailable"),
        (TimeoutError(SECRET), 503, "StoreUnavailable"),
        (OSError(errno.ENOSPC, SECRET), 507, "StoreFull"),
        (OSError(errno.EIO, SECRET), 500, "StoreError"),
        (StoreError(SECRET), 500, "StoreError"),
        (errors.StoreUnavailable(SECRET), 503, "StoreUnavailable"),
        (RuntimeError(SECRET), 500, "StoreError"),
        (RecursionError(SECRET), 500, "StoreError"),
    ],
)
def test_other_errors_tell_nothing_of_the_server(
    exc: Exception, status: int, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the store lies, and what is wrong with it, is for the log only."""
    ask = failing(exc)
    answer = ask("GET", "/keys/a/data")
    ask.app.close()

    assert (status, error) == (answer.status_code, answer.json()["error"])
    assert "hush" not in answer.text
    assert status < 500 or "hush" in caplog.text


def test_an_unreachable_store_says_when_to_ask_again() -> None:
    """503 comes with Retry-After."""
    headers = dict(answer_to_error(errors.StoreUnavailable("x"), None, []).headers)

    assert headers[b"retry-after"].isdigit()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/keys/a/data", {"GET", "HEAD", "PUT"}),
        ("DELETE", "/query", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("GET", "/keys/a", {"DELETE"}),
        ("PUT", "/index.json", {"GET", "HEAD"}),
        ("PATCH", "/data/a", {"GET", "HEAD"}),
    ],
)
def test_methods_that_are_not_there(ask: Asker, method: str, path: str, allowed: set[str]) -> None:
    """405 says which methods there are."""
    answer = ask(method, path)

    assert 405 == answer.status_code
    assert allowed == set(answer.headers["allow"].split(", "))


def test_a_read_only_store_is_not_written() -> None:
    """Writes are refused before the body is read."""

    class Empty(AbstractReadOnlyStore):
        def get(self, key: str) -> Any:
            raise KeyError(key)

    ask = asker_of(Empty())
    answer = ask("PUT", "/keys/a/data", content=b"x")
    ask.app.close()

    assert (405, "ReadOnlyStore") == (answer.status_code, answer.json()["error"])


def test_values_that_are_too_large(store: DictMemoryStore) -> None:
    """What is declared too long is refused at once, what turns out so while it is read."""
    ask = asker_of(store, max_value_bytes=1 << 20)
    declared = ask("PUT", "/keys/a/data", content=b"x" * ((1 << 20) + 1))
    streamed = ask("PUT", "/keys/a/data", content=iter([b"x" * (1 << 19)] * 3))
    fitting = ask("PUT", "/keys/b/data", content=b"x" * (1 << 20))
    ask.app.close()

    assert (413, 413, 201) == (
        declared.status_code,
        streamed.status_code,
        fitting.status_code,
    )
    assert not store.exists("a")


def test_queries_that_are_too_large(ask: Asker) -> None:
    """Who may only read cannot have the server read megabytes of conditions."""
    text = "x" * (1 << 20)
    found = [
        ask("POST", "/query", json={"where": {"n": value}}).status_code
        for value in (text[:-100], text)
    ]

    assert [200, 413] == found


@pytest.mark.parametrize("in_body", [True, False])
def test_the_metadata_of_a_value_take_nothing_of_its_size(
    store: DictMemoryStore, in_body: bool
) -> None:
    """Just as many bytes of data are taken as without metadata, and not one more."""
    ask = asker_of(store, max_value_bytes=1000)
    name, value = ("Length", "2") if in_body else ("", "e30=")
    header = {f"Antiphon-Metadata-{name}".rstrip("-"): value}
    before = b"{}" if in_body else b""
    found = [
        ask("PUT", f"/keys/{size}/value", content=before + b"x" * size, headers=header).status_code
        for size in (1000, 1001)
    ]
    ask.app.close()

    assert [201, 413] == found
    assert ["1000"] == list(store.query_keys())


def test_a_listener_that_fails_does_not_undo_the_answer(
    store: DictMemoryStore, ask: Asker, caplog: pytest.LogCaptureFixture
) -> None:
    """What is committed is answered as committed; the log has the failure."""

    class Manager:
        def emit(self, event: Any) -> None:
            raise RuntimeError("a listener broke")

    store.event_manager = Manager()  # type: ignore[assignment]
    answer = ask("PUT", "/keys/a/data", content=b"x")

    assert (201, "set") == (answer.status_code, answer.json()["action"])
    assert "a listener broke" in caplog.text
