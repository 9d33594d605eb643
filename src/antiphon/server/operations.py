"""What can be done to which part: the table of the protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from antiphon.server import reading, searching, writing
from antiphon.server.answers import Answer
from antiphon.server.calls import Call


@dataclass(frozen=True, slots=True)
class Operation:
    """What a method does to a part.

    Attributes:
        handle: answers a call; runs in a worker thread.
        body: what the request's body is: ``""`` (none), ``json`` or ``data``.
        writes: whether the store is changed.
        is_short: whether it reads one key and nothing else.
        waits: whether a client may wait for something new (``searching.wish_of``).
    """

    handle: Callable[[Call], Answer]
    body: str = ""
    writes: bool = False
    is_short: bool = False
    waits: bool = False


_GET_DATA = Operation(reading.get_data, is_short=True)

#: Everything that can be asked for; HEAD is GET without its body.
OPERATIONS: dict[str, dict[str, Operation]] = {
    "data": {"GET": _GET_DATA, "PUT": Operation(writing.put_data, "data", True)},
    "metadata": {
        "GET": Operation(reading.get_metadata, is_short=True),
        "PUT": Operation(writing.put_metadata, "json", True),
        "POST": Operation(writing.post_metadata, "json", True),
    },
    "value": {
        "GET": Operation(reading.get_value, is_short=True),
        "PUT": Operation(writing.put_value, "data", True),
    },
    "auth": {
        "GET": Operation(reading.get_permissions),
        "PUT": Operation(writing.put_permissions, "json", True),
        "POST": Operation(writing.post_permissions, "json", True),
    },
    "key": {"DELETE": Operation(writing.delete_key, "", True)},
    "file": {"GET": _GET_DATA},
    "query": {
        "GET": Operation(searching.get_query),
        "POST": Operation(searching.post_query, "json"),
        "OPTIONS": Operation(searching.probe),
    },
    "info": {"GET": Operation(searching.get_info)},
    "index": {"GET": Operation(searching.get_index)},
    "head": {"GET": Operation(searching.get_head, waits=True)},
    "since": {"GET": Operation(searching.get_since, waits=True)},
}
