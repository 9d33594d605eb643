"""What the reference of the services says is what they have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric

from antiphon import BaseEvent, open_bus
from services.invalidator.metrics import cache_metrics
from services.skeleton import ServiceSettings, runner
from services.skeleton.metrics import bus_metrics, service_metrics
from services.store_server.requests import RequestLog
from services.store_server.service import StoreServer
from services.store_server.settings import StoreServerSettings

DOCS = Path(__file__).parents[3] / "docs" / "reference"

REFERENCE = (DOCS / "services.md").read_text()

#: Whose own test compares its table with the figures.
RECORDER = (DOCS / "recorder-service.md").read_text()

#: Words that speak of a time.
TIME = re.compile(r"_(age|time|lag|staleness|ms|s|millis)(_|$)")

ROW = re.compile(r"^\| `([^`]+)`(?:, `[^`]+`)* \| (.*?) \| (.*?) \|$", re.M)


@pytest.fixture(scope="module")
def families() -> dict[str, Metric]:
    """Every metric of every service, as it is scraped."""

    def each() -> Iterator[Metric]:
        yield from service_metrics("sample", {"bus": None}, {"ERROR": 0})
        with open_bus("memory://documented") as bus:
            bus.subscribe("audit", BaseEvent, lambda event: None)
            yield from bus_metrics(bus)
        yield from RequestLog(access_log=False, log_keys=False).metrics()
        settings = StoreServerSettings(
            stores={"a": {"url": "memory:"}},  # type: ignore[dict-item]
            anonymous="read",
            store_port=0,
        )
        service = StoreServer(settings)
        service.start()
        yield from service.metrics()
        service.stop()

    return {
        family.name + ("_total" if family.type == "counter" else ""): family for family in each()
    }


def documented(heading: str) -> dict[str, tuple[str, str]]:
    """Return the rows of three cells below a heading, by the name in the first."""
    part = REFERENCE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return {name: (second, third) for name, second, third in ROW.findall(part)}


def test_all_metrics_are_documented(families: dict[str, Metric]) -> None:
    """Each with its kind and in the same words; a label may be named behind them."""
    shown = {
        name: (family.type, family.documentation.rstrip(".").lower())
        for name, family in families.items()
    }
    table = {
        name: (kind, re.sub(r", by [a-z]+$", "", text).lower())
        for name, (kind, text) in documented("Metrics").items()
    }

    assert {n: (k, re.sub(r", by [a-z]+$", "", t)) for n, (k, t) in shown.items()} == table


def test_metrics_are_named_alike(families: dict[str, Metric]) -> None:
    """Of which part, what, and in which unit: nobody has to look it up twice."""
    parts = "service|log|bus|subscription|outbox|http|store|cache|recorder|archive"
    recorded = re.findall(r"^\| `(antiphon_\w+)` \|", RECORDER, re.M)
    names = {*families, *recorded, *(family.name for family in cache_metrics([]))}
    odd = [name for name in names if not re.fullmatch(rf"antiphon_({parts})_[a-z_]+[a-z]", name)]
    without_unit = [name for name in names if TIME.search(name) and "_seconds" not in name]

    assert ([], []) == (odd, without_unit)
    assert all(re.fullmatch(r"(?s)[A-Z0-9].*\.", each.documentation) for each in families.values())


def test_all_common_settings_are_documented() -> None:
    """The table has each with what it is when it is not given."""
    table = {name: default for name, (default, _) in documented("Settings").items()}
    defaults = {
        name: "none" if field.default is None else str(field.default).removesuffix(".0")
        for name, field in ServiceSettings.model_fields.items()
    }

    assert defaults == {name: default.strip("`") for name, default in table.items()}


def test_all_exit_statuses_are_documented() -> None:
    """Who runs a service can tell what helps."""
    part = REFERENCE.partition("\n## Signals, and exit statuses\n")[2].partition("\n## ")[0]

    assert {runner.EXIT_OK, runner.EXIT_FAILED, 2, runner.EXIT_BAD_SETTINGS} == {
        int(status) for status in re.findall(r"^\| (\d+) \|", part, re.M)
    }
