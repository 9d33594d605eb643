"""Who plays in a play about caches, and which companies there are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

#: Keys that are read and written; each writer has its own share of them.
KEYS = tuple(f"p/{number}" for number in range(8))

#: Seconds of the bound of readers in mode ``bounded``: small, so that a breach shows soon.
BOUND_S = 1.5


@dataclass(frozen=True, slots=True)
class Part:
    """Who is to be played.

    Attributes:
        name: of the player.
        role: writer, sql (writes with plain SQL), reader, keeper (only keeps a
            shared cache right), server (of the store "sqlite" over HTTP), or
            listener (to all changes, with a durable subscription).
        store: which store is written, or is behind the cache: sqlite, redis,
            files, http, or joined (sqlite over redis).
        cache: where entries are kept: "memory", or the name of a shared one
            ("sqlite", "redis" or "files", and after a colon whatever).
        mode: freshness of a reader.
        keeps: whether a reader has an invalidator of its own.
        has_bus: whether that hears events; else it follows the journal alone.
        caches: how many caches the process has; it reads through each in turn.
        writes_own: whether it keeps keys of its own that it does not push.
        slow_s: seconds that an answer of its source may be under way.
        lag_s: seconds by which the source of a reader may answer late.
        max_entries: how many entries its cache may hold.
        is_author: whether a reader pushes keys, and reads what it wrote to the store itself.
    """

    name: str
    role: str
    store: str = "sqlite"
    cache: str = "memory"
    mode: str = f"bounded({BOUND_S})"
    keeps: bool = True
    has_bus: bool = True
    caches: int = 1
    writes_own: bool = False
    slow_s: float = 0.05
    lag_s: float = 0.0
    max_entries: int | None = None
    is_author: bool = False

    @property
    def bound_s(self) -> float:
        """Seconds by which what it calls fresh may be older than its read."""
        name, _, seconds = self.mode.rstrip(")").partition("(")
        if name == "strict":
            return self.lag_s
        return (float(seconds) if seconds else 3.0) + self.lag_s

    def asdict(self) -> dict[str, Any]:
        return asdict(self)


def pushed_key(author: str) -> str:
    """Return the key that *author* pushes; nobody else writes it."""
    return f"p/pushed-{author}"


def through_key(author: str) -> str:
    """Return the key that *author* writes to the store itself; nobody else does."""
    return f"p/through-{author}"


#: Enough for each kind of cache over one medium: some seconds.
SHORT = (
    Part("writer", "writer"),
    Part("sql", "sql"),
    Part("memory", "reader", caches=2, writes_own=True),
    Part("strict", "reader", mode="strict"),
    Part("keeper", "keeper", cache="sqlite:shared"),
    Part("guest", "reader", cache="sqlite:shared", keeps=False, writes_own=True),
)

#: Everything.
LONG = (
    *SHORT,
    Part("available", "reader", mode=f"available({BOUND_S})"),
    Part("guest2", "reader", cache="sqlite:shared"),
    Part("lagging", "reader", lag_s=0.3),
    Part("server", "server"),
    Part("follower", "reader", store="http", has_bus=False),
    Part("redis-writer", "writer", store="redis"),
    Part("redis-memory", "reader", store="redis"),
    Part("redis-strict", "reader", store="redis", mode="strict"),
    Part("redis-keeper", "keeper", store="redis", cache="redis:shared"),
    Part("redis-guest", "reader", store="redis", cache="redis:shared", keeps=False),
    Part("files-writer", "writer", store="files"),
    Part("files-memory", "reader", store="files", writes_own=True),
    Part("files-guest", "reader", store="files", cache="files:shared"),
    Part("joined", "reader", store="joined", slow_s=0.3),
)

#: Who writes what he reads, caches that hold little, and one who hears of everything.
AUTHORS = (
    Part("writer", "writer"),
    Part("sql", "sql"),
    Part("redis-writer", "writer", store="redis"),
    Part("files-writer", "writer", store="files"),
    Part("listener", "listener"),
    Part("evicting", "reader", max_entries=3),
    Part("author", "reader", cache="sqlite:author", is_author=True),
    Part("redis-author", "reader", store="redis", cache="redis:author", is_author=True),
    Part("redis-evicting", "reader", store="redis", cache="redis:evicting", max_entries=3),
    Part("files-author", "reader", store="files", cache="files:author", is_author=True),
)

#: For sabotage: what shows most, and little else.
FEW = (
    Part("writer", "writer"),
    Part("redis-writer", "writer", store="redis"),
    Part("strict", "reader", mode="strict"),
    Part("lagging", "reader", lag_s=0.3),
    Part("joined", "reader", store="joined", slow_s=0.3),
    Part("keeper", "keeper", cache="sqlite:shared"),
    Part("guest", "reader", cache="sqlite:shared", keeps=False),
)

#: What keeps caches in Redis, of a store in Redis.
REDIS = (
    Part("redis-writer", "writer", store="redis"),
    Part("redis-memory", "reader", store="redis", writes_own=True),
    Part("redis-strict", "reader", store="redis", mode="strict"),
    Part("redis-keeper", "keeper", store="redis", cache="redis:shared"),
    Part("redis-guest", "reader", store="redis", cache="redis:shared", keeps=False),
)

COMPANIES = {"authors": AUTHORS, "redis": REDIS, "short": SHORT, "few": FEW, "all": LONG}
