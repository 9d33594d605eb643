"""Calls of Redis as bytes: scripts that are sent often, and many commands at once.

Pure functions, for ``redis_client``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from antiphon.storage.redis_scripts import Script
from antiphon.storage.redis_wire import pack_command

#: Commands of together no more than this are sent in one piece; copying more costs more.
_JOINED_BYTES = 1 << 18

#: A script, its keys and its arguments.
ScriptCall = tuple[Script, Sequence[Any], Sequence[Any]]


class PackedCall:
    """A call of a script that is made often with the same keys and arguments.

    Attributes:
        by_digest, by_source: the call as bytes, for a Redis that knows the script and not.
    """

    def __init__(self, call: ScriptCall) -> None:
        self.by_digest = pack_command(*by_digest(*call))
        self.by_source = pack_command(*by_source(*call))


def in_one(commands: Sequence[bytes]) -> Sequence[bytes]:
    """Return *commands* as what is sent at once.

    Redis answers, and writes its log, as often as something arrives.
    """
    if len(commands) == 1 or sum(map(len, commands)) > _JOINED_BYTES:
        return commands
    return [b"".join(commands)]


def packed(call: ScriptCall | PackedCall | bytes, *, with_source: bool = False) -> bytes:
    """Return a call as bytes; with the script's text, for a Redis that does not know it."""
    if isinstance(call, bytes):
        return call
    if isinstance(call, PackedCall):
        return call.by_source if with_source else call.by_digest
    return pack_command(*(by_source if with_source else by_digest)(*call))


def by_digest(script: Script, keys: Sequence[Any], args: Sequence[Any]) -> tuple[Any, ...]:
    """Return the words that call a script which Redis knows."""
    return ("EVALSHA", script.sha1, len(keys), *keys, *args)


def by_source(script: Script, keys: Sequence[Any], args: Sequence[Any]) -> tuple[Any, ...]:
    """Return the words that call a script by its text."""
    return ("EVAL", script.source, len(keys), *keys, *args)
