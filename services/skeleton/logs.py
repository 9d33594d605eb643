"""Logs as JSON, one object a line on standard error, without any password."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO
from urllib.parse import quote

from pythonjsonlogger.json import JsonFormatter

from antiphon.schemes import MASK
from antiphon.wire.describing import shown_json
from services.skeleton.complaints import SHORTEST_SECRET
from services.skeleton.in_hand import facts_in_hand

#: Levels that are shown before anything was logged at them, so that a rise is seen.
_LEVELS = ("WARNING", "ERROR", "CRITICAL")


class MaskingFormatter(JsonFormatter):
    """One JSON object a record, with all secrets replaced in whatever the record says.

    Args:
        service: name of the service, in each line.
        secrets: texts that must not be shown.
    """

    def __init__(self, service: str, secrets: Iterable[str]) -> None:
        super().__init__(
            "%(levelname)s %(name)s %(message)s %(threadName)s",
            rename_fields={"levelname": "level", "name": "logger", "threadName": "thread"},
            static_fields={"service": service},
            json_ensure_ascii=False,
        )
        self._masked = _spellings(secrets)

    def add_fields(
        self,
        log_data: dict[str, object],
        record: logging.LogRecord,
        message_dict: dict[str, object],
    ) -> None:
        """Put the time first, in UTC, and add which event is in hand."""
        moment = datetime.fromtimestamp(record.created, UTC)
        log_data["time"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        super().add_fields(log_data, record, message_dict)
        for name, fact in facts_in_hand().items():
            log_data.setdefault(name, fact)  # whoever logs knows best

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        line = super().format(record)
        for secret in self._masked:
            line = line.replace(secret, MASK)
        return shown_json(line)  # logs are looked at in terminals


def _spellings(secrets: Iterable[str]) -> list[str]:
    """Return how the secrets may appear in JSON: as they are, in a URL, longest first."""
    found: set[str] = set()
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            for text in (secret, quote(secret, safe="")):
                found.add(json.dumps(text, ensure_ascii=False)[1:-1])
    return sorted(found, key=len, reverse=True)


class CountingHandler(logging.StreamHandler[TextIO]):
    """Writes records to standard error, and counts them by level."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.counts: dict[str, int] = dict.fromkeys(_LEVELS, 0)

    def emit(self, record: logging.LogRecord) -> None:
        """Write and count a record; called with the handler's lock."""
        level = record.levelname
        self.counts[level] = self.counts.get(level, 0) + 1
        super().emit(record)


def counts() -> dict[str, int]:
    """Return how many records this process has logged since ``set_up``, by level."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, CountingHandler):
            return dict(handler.counts)
    return {}


def set_up(service: str, level: str, secrets: Iterable[str]) -> None:
    """Send all logs of this process to standard error, as JSON."""
    handler = CountingHandler()
    handler.setFormatter(MaskingFormatter(service, secrets))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # pika logs every failed attempt of a reconnect as several errors; the bus says it once.
    logging.getLogger("pika").setLevel(max(logging.CRITICAL, logging.getLevelName(level)))
