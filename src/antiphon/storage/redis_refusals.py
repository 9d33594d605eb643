"""What Redis says when it refuses, or does not answer, as errors of ours."""

from __future__ import annotations

import re

from antiphon.errors import (
    AuthorizationError,
    IncompatibleStore,
    ReadOnlyStore,
    StoreError,
    StoreUnavailable,
)
from antiphon.storage.redis_url import RedisAddress

#: Redis names what is wrong by a first word; inside a Lua error it stands further on.
_CODE = re.compile(
    r"\b(OOM|READONLY|LOADING|BUSY|MISCONF|NOREPLICAS|MASTERDOWN|WRONGTYPE|MOVED|ASK|CROSSSLOT"
    r"|TRYAGAIN|CLUSTERDOWN|NOPERM|NOAUTH|WRONGPASS|EXECABORT|NOPROTO)\b"
)

#: How redis-py begins its text; the address is in ours already.
_CONNECTING = re.compile(r"^Error \S+ connecting to \S+\. ")

#: code -> (error, what it means and what to do)
_MEANINGS: dict[str, tuple[type[StoreError], str]] = {
    "READONLY": (ReadOnlyStore, "is a replica and takes no writes: use the address of its primary"),
    "LOADING": (StoreUnavailable, "still loads its data: try again in a while"),
    "BUSY": (StoreUnavailable, "is held up by somebody's script: try again, or see SCRIPT KILL"),
    "MISCONF": (
        StoreUnavailable,
        "refuses writes, since it cannot write to its disk (MISCONF): see its log;"
        " nothing was written",
    ),
    "NOREPLICAS": (StoreUnavailable, "refuses writes for want of replicas; nothing was written"),
    "MASTERDOWN": (StoreUnavailable, "is a replica that lost its primary"),
    "CLUSTERDOWN": (StoreUnavailable, "is a cluster that is down"),
    "TRYAGAIN": (StoreUnavailable, "is a cluster that moves the namespace's slot: try again"),
    "MOVED": (
        IncompatibleStore,
        "is a cluster, and another of its nodes has the namespace's slot; clusters are not"
        " supported: give the address of a Redis that stands alone",
    ),
    "WRONGTYPE": (
        IncompatibleStore,
        "has keys of another program in this namespace: use another namespace",
    ),
    "NOPERM": (AuthorizationError, "does not permit that to this user (ACL)"),
    "NOAUTH": (AuthorizationError, "wants a password: give one in the URL or to connect()"),
    "WRONGPASS": (AuthorizationError, "refused the user name or password"),
}
_MEANINGS["ASK"] = _MEANINGS["CROSSSLOT"] = _MEANINGS["MOVED"]


def refusal(where: str, text: str, *, said: str = "") -> StoreError:
    """Return the error for an answer of Redis.

    Args:
        where: the server, for the message.
        text: the answer.
        said: what the message quotes of it.
    """
    found = _CODE.search(text)
    if found is None or found.group() not in _MEANINGS:
        return StoreError(f"{where} refused: {text}")
    kind, meaning = _MEANINGS[found.group()]
    return kind(f"{where} {meaning}" + (f": {said}" if said else ""))


def unreachable(
    where: str, text: str, name: str, address: RedisAddress, is_timeout: bool
) -> StoreError:
    """Return the error for a Redis that gave no answer.

    Args:
        where: the server, for the message.
        text: of the error that was met; *name* of its class.
        address: of the server.
        is_timeout: whether it is one.
    """
    reason = _CONNECTING.sub("", (text.splitlines() or [""])[0]).rstrip(".") or name
    if "loading the dataset" in text.lower():
        return StoreUnavailable(f"{where} {_MEANINGS['LOADING'][1]}")
    if is_timeout and "connecting" not in text.lower():
        return StoreUnavailable(f"{where} did not answer within {address.timeout_s:g} s")
    if "refused" in text or "connecting" in text.lower() or "No such file" in text:
        return StoreUnavailable(
            f"{where} cannot be reached ({reason}): is it running, and is the address right?"
        )
    return StoreUnavailable(f"{where} broke the connection ({reason})")
