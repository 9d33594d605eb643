"""What is told of each request: a line in the log, and figures."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric

from antiphon.server import RequestRecord
from antiphon.server.request_in_hand import request_in_hand
from antiphon.storage.backend_telling import EVENT_OF_ACTION
from antiphon.wire.registry import default_registry
from services.skeleton.in_hand import trace_id_of

logger = logging.getLogger("antiphon.service.access")

#: Seconds that requests take; long uploads end in the last ones.
_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60)

#: Bytes of a key's digest in the log: enough to tell keys apart.
_DIGEST_BYTES = 6


class RequestLog:
    """Counts requests, and logs them.

    Args:
        access_log: whether to log.
        log_keys: whether the log has keys; else a digest that is the same for
            the same key until the process ends, and that nobody can turn back.
    """

    def __init__(self, *, access_log: bool, log_keys: bool) -> None:
        self._access_log = access_log
        self._origins: dict[str, str | None] = {}
        self._log_keys = log_keys
        self._secret = os.urandom(16)
        registry = CollectorRegistry()
        self._requests = Counter(
            "antiphon_http_requests",
            "Requests by store, part, method and status (0: the client went before an answer).",
            ["store", "part", "method", "status"],
            registry=registry,
        )
        self._bytes = Counter(
            "antiphon_http_bytes",
            "Bytes of bodies, taken in and sent out.",
            ["store", "direction"],
            registry=registry,
        )
        self._seconds = Histogram(
            "antiphon_http_request_seconds",
            "From a request's head to the end of its answer.",
            ["store", "part"],
            buckets=_BUCKETS_S,
            registry=registry,
        )

    def serves(self, store: str, origin: str | None) -> None:
        """Take note of the *origin* that events of the store *store* have."""
        self._origins[store] = origin

    def observe(self, record: RequestRecord) -> None:
        """Count and log a request."""
        # A client may send any word as its method; each would be a series of its own.
        method = record.method if record.part else "other"
        self._requests.labels(record.store, record.part, method, record.status).inc()
        self._bytes.labels(record.store, "in").inc(record.bytes_in)
        self._bytes.labels(record.store, "out").inc(record.bytes_out)
        self._seconds.labels(record.store, record.part).observe(record.seconds)
        if self._access_log:
            self._log(record)

    def _log(self, record: RequestRecord) -> None:
        logger.info(
            "%s %s %s %d",
            record.method,
            record.store,
            record.part or "?",
            record.status,
            extra={
                "method": record.method,
                "store": record.store,
                "part": record.part,
                "key": self._shown(record.key),
                "status": record.status,
                "bytes_in": record.bytes_in,
                "bytes_out": record.bytes_out,
                "seconds": round(record.seconds, 6),
                "user": record.user_tag,
                "client": record.client,
                **self._event(record),
            },
        )

    def _event(self, record: RequestRecord) -> dict[str, str]:
        """Return what is known of the event that tells of the change, and of the trace."""
        facts = {"trace_id": trace_id_of(record.traceparent)}
        if record.event_id is not None:
            kind = None if record.action is None else EVENT_OF_ACTION.get(record.action)
            facts |= {
                "event_id": record.event_id,
                "event_class": None if kind is None else default_registry.name_of(kind),
                "origin": self._origins.get(record.store),
            }
        return {name: fact for name, fact in facts.items() if fact is not None}

    def _shown(self, key: str | None) -> str | None:
        if key is None or self._log_keys:
            return key if key is None else key[:1000]
        digest = hashlib.blake2b(key.encode(), key=self._secret, digest_size=_DIGEST_BYTES)
        return f"#{digest.hexdigest()}"

    def metrics(self) -> Iterable[Metric]:
        """The figures of this moment."""
        yield from self._requests.collect()
        yield from self._bytes.collect()
        yield from self._seconds.collect()


def request_facts() -> dict[str, str]:
    """Return what a log line says of the request that its thread works for."""
    request = request_in_hand()
    if request is None:
        return {}
    facts = {"store": request.store, "method": request.method}
    trace_id = trace_id_of(request.traceparent)
    return facts if trace_id is None else facts | {"trace_id": trace_id}
