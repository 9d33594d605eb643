"""From a bus into an archive, out of it by the command line, and back to a subscription."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from antiphon import BaseEvent, open_bus
from antiphon.archive import open_archive
from antiphon.archive.recorder import Recorder
from antiphon.cli.main import run
from antiphon.events.delivery import delivery_of
from patience import wait_until


class Shelved(BaseEvent):
    """Something to archive."""

    wire_name = "test_archive:Shelved"


def test_what_was_recorded_is_found_and_sent_once_more(
    amqp_url: str, system: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A search has each event once; a replay reaches its one subscription, handled or not."""
    url = f"sqlite://{tmp_path}/archive.db"
    heard: list[Any] = []
    with (
        open_bus(amqp_url, system=system, origin="shop.till") as bus,
        open_bus(amqp_url, system=system) as recording,
        open_archive(url) as store,
        Recorder(recording, store),
    ):
        bus.subscribe("audit", Shelved, heard.append).wait_ready(20)
        for n in range(3):
            bus.emit(Shelved(n=n))
        bus.flush(20)
        flag = "test_archive:Shelved"
        wait_until(lambda: store.stats().flags.get(flag) == len(heard) == 3, "all are archived")
        first = heard[1]

        search = ["archive", "search", "--archive", url, "--class", flag, "--json"]
        assert 0 == run(search)
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert 0 == run(
            [
                *("archive", "replay", "--archive", url, "--to", "audit", "--match", '"n": 1'),
                *("--url", amqp_url, "--system", system),
            ]
        )
        wait_until(lambda: len(heard) == 4, "one is heard again")
        again = delivery_of(heard[3])

        assert [0, 1, 2] == [one["attributes"]["n"] for one in found]
        assert {"shop.till"} == {one["origin"] for one in found}
        assert again is not None
        assert (found[1]["id"], True) == (str(again.event_id), again.replayed)
        assert first._event_id == heard[3]._event_id
        assert 3 == store.stats().flags[flag]
        assert "replayed 1 event to audit" in capsys.readouterr().out
