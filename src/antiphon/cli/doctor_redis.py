"""What a doctor looks at in a Redis."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import closing

from antiphon.cli.doctor_findings import Finding, Status, of_clock, quickly, version_of
from antiphon.errors import AntiphonError, AuthorizationError
from antiphon.storage.redis_client import RedisClient
from antiphon.storage.redis_url import parse_url

#: The oldest that stores are tried with.
OLDEST = (7, 0)

#: Questions of which the median is told.
PINGS = 5

#: Seconds: an answer that takes longer is slow, for a Redis.
SLOW_S = 0.1

#: Share of its memory that may be used.
NEARLY_FULL = 0.9

#: Stands for the name of the store where the URL has none; nothing is read or written there.
NAMESPACE = "doctor"


def look_at_redis(url: str) -> Iterator[Finding]:
    """Yield what there is to say of the Redis at *url*, with or without a namespace."""
    try:
        address, _ = parse_url(url if "namespace=" in url else _with_namespace(url), retry_s=0.5)
    except AntiphonError as exc:
        yield Finding("redis", "reachable", "wrong", str(exc))
        return
    subject = f"redis {address}"
    with closing(RedisClient(address)) as client:
        try:
            yield _latency(subject, client)
            yield _rights(subject, client)
            yield _clock(subject, client)
            facts = _facts(client)
        except AuthorizationError as exc:
            yield Finding(subject, "rights", "wrong", str(exc))
            return
        except AntiphonError as exc:
            yield Finding(subject, "reachable", "wrong", str(exc), "start it, or mend the URL")
            return
    if facts is None:
        yield Finding(
            subject,
            "settings",
            "skipped",
            "this user may not ask for INFO: version, persistence and memory were not looked at",
            "give the URL of a user who may (ACL: +info)",
        )
        return
    yield from settings_of(subject, facts)


def settings_of(subject: str, facts: dict[str, str]) -> Iterator[Finding]:
    """Yield what there is to say of what ``INFO`` tells."""
    yield _version(subject, facts)
    if facts.get("role") == "slave":
        yield Finding(
            subject,
            "role",
            "wrong",
            f"it is a replica of {facts.get('master_host', '?')} and takes no writes",
            "use the address of its primary",
        )
    yield _persistence(subject, facts)
    yield _eviction(subject, facts)
    if (room := _room(subject, facts)) is not None:
        yield room


def _latency(subject: str, client: RedisClient) -> Finding:
    client.call("PING")
    times = []
    for _ in range(PINGS):
        began = time.perf_counter()
        client.call("PING")
        times.append(time.perf_counter() - began)
    median_s = statistics.median(times)
    facts = {"median_s": round(median_s, 6), "slowest_s": round(max(times), 6)}
    text = f"it answers in {quickly(median_s)}"
    if median_s < SLOW_S:
        return Finding(subject, "reachable", "ok", text, facts=facts)
    advice = "see SLOWLOG GET, LATENCY DOCTOR, and the network between here and there"
    return Finding(subject, "reachable", "warning", f"{text}: that is slow", advice, facts)


def _rights(subject: str, client: RedisClient) -> Finding:
    client.call("EVAL", "return 1", 0)  # all that stores do is done by scripts
    return Finding(subject, "rights", "ok", "this user may run scripts, as stores do")


def _clock(subject: str, client: RedisClient) -> Finding:
    asked_at = time.time()
    seconds, microseconds = client.call("TIME")
    told = int(seconds) + int(microseconds) / 1e6
    off_s = min(told - asked_at, 0.0) or max(told - time.time(), 0.0)
    return of_clock(subject, "its clock", off_s)


def _facts(client: RedisClient) -> dict[str, str] | None:
    try:
        told = client.call("INFO").decode(errors="replace")
    except AuthorizationError:
        return None
    return dict(line.split(":", 1) for line in told.splitlines() if ":" in line)


def _version(subject: str, facts: dict[str, str]) -> Finding:
    version = facts.get("redis_version", "?")
    told = {"version": version}
    if version_of(version) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        text = f"it is Redis {version}: stores are tried with {oldest} and newer"
        return Finding(
            subject, "version", "wrong", text, f"update to Redis {oldest} or newer", told
        )
    return Finding(subject, "version", "ok", f"it is Redis {version}", facts=told)


def _persistence(subject: str, facts: dict[str, str]) -> Finding:
    told = {
        name: facts.get(name)
        for name in ("aof_enabled", "aof_last_write_status", "rdb_last_bgsave_status", "loading")
    }
    if facts.get("aof_enabled") != "1":
        return Finding(
            subject,
            "persistence",
            "wrong",
            "appendonly is off: what was written since the last snapshot is lost when it ends",
            "redis-cli CONFIG SET appendonly yes, and the same in redis.conf; for a cache alone "
            "that nobody needs to fill again it may stay so",
            told,
        )
    if facts.get("aof_last_write_status", "ok") != "ok":
        return Finding(
            subject,
            "persistence",
            "wrong",
            "it could not write its log of changes: it refuses writes until it can",
            "see its log, and whether its disk is full",
            told,
        )
    if facts.get("rdb_last_bgsave_status", "ok") != "ok":
        text = "its newest snapshot failed"
        advice = "see its log, and whether disk or memory are full (vm.overcommit_memory = 1)"
        return Finding(subject, "persistence", "warning", text, advice, told)
    return Finding(subject, "persistence", "ok", "appendonly is on", facts=told)


def _eviction(subject: str, facts: dict[str, str]) -> Finding:
    policy, limit = facts.get("maxmemory_policy", "?"), facts.get("maxmemory", "0")
    told = {"maxmemory_policy": policy, "maxmemory": int(limit) if limit.isdigit() else None}
    if policy == "noeviction":
        return Finding(subject, "eviction", "ok", "it throws no keys away (noeviction)", facts=told)
    status: Status = "warning" if limit == "0" else "wrong"
    when = "once it has a limit of memory" if limit == "0" else "when its memory is full"
    return Finding(
        subject,
        "eviction",
        status,
        f"it throws keys away {when} ({policy}): stores lose data without a trace",
        "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
        told,
    )


def _room(subject: str, facts: dict[str, str]) -> Finding | None:
    try:
        used, limit = int(facts["used_memory"]), int(facts["maxmemory"])
    except (KeyError, ValueError):
        return None
    if not limit:
        return None
    told = {"used_bytes": used, "limit_bytes": limit}
    text = f"{used / limit:.0%} of its {limit / 2**20:.0f} MiB are used"
    if used < limit * NEARLY_FULL:
        return Finding(subject, "memory", "ok", text, facts=told)
    if used >= limit:
        advice = "delete something, or raise maxmemory: until then no write succeeds"
        return Finding(subject, "memory", "wrong", text, advice, told)
    advice = "delete something, or raise maxmemory: when it is full, writes fail"
    return Finding(subject, "memory", "warning", text, advice, told)


def _with_namespace(url: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}namespace={NAMESPACE}"
