"""``HttpServer`` where it cannot begin."""

from __future__ import annotations

import sys

import pytest

from antiphon.errors import MissingDependency
from antiphon.server import store_app
from antiphon.server.serving import HttpServer
from antiphon.storage.dict_memory_store import DictMemoryStore


@pytest.mark.parametrize("library", ["uvicorn", "uvicorn.protocols.http.httptools_impl"])
def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """With what to install; the port is free again."""
    monkeypatch.setitem(sys.modules, library, None)

    with (
        store_app(DictMemoryStore()) as app,
        pytest.raises(MissingDependency, match=r"'uvicorn.*pip install 'antiphon\[server\]'"),
    ):
        HttpServer(app)
