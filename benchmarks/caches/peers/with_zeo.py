"""ZEO: the store that has told its clients' caches what changed since 2001."""

from __future__ import annotations

import threading
from typing import Any

import transaction
import ZEO
from ZODB.mvccadapter import MVCCAdapter

from benchmarks.caches.case import KEY, Servers, Write

NAME = "ZEO"
SAYS = "a commit of one attribute; ZEO's server tells the other client, which reads it again"


def start_server() -> tuple[tuple[str, int], Any]:
    """Start ZEO's server, in memory, in a process of its own; return address and what stops it."""
    address, stop = ZEO.server(threaded=False)
    return address, stop


def _address(servers: Servers) -> tuple[str, int]:
    if servers.zeo is None:
        raise RuntimeError("ZEO's server was not started")
    return servers.zeo


def open_writer(servers: Servers) -> Write:
    """Connect."""
    connection = ZEO.connection(_address(servers))
    root = connection.root()

    def write(value: bytes) -> None:
        transaction.begin()
        root[KEY] = value
        transaction.commit()

    return write


class _Reader:
    def __init__(self, address: tuple[str, int]) -> None:
        self._told = threading.Event()
        original, told = MVCCAdapter.invalidate, self._told

        def invalidate(adapter: Any, tid: Any, oids: Any) -> None:
            original(adapter, tid, oids)
            told.set()

        MVCCAdapter.invalidate = invalidate
        self._connection = ZEO.connection(address)
        self._root = self._connection.root()
        if KEY not in self._root:
            self._root[KEY] = bytes(16)
            transaction.commit()

    def read(self) -> bytes:
        self._connection.sync()  # begins a transaction, which takes in what was told
        return self._root[KEY]  # type: ignore[no-any-return]

    def wait(self, timeout_s: float) -> None:
        self._told.wait(timeout_s)
        self._told.clear()


def open_reader(servers: Servers) -> _Reader:
    """Connect."""
    return _Reader(_address(servers))
