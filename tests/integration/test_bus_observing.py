"""A change that was observed, and its event that the broker brings, are one event."""

from __future__ import annotations

import pytest
from bus_helpers import Heard, Numbered

from antiphon import open_bus
from antiphon.events.event_id import next_event_id


@pytest.mark.parametrize("observed_first", [True, False])
def test_an_observed_change_is_heard_once(amqp_url: str, system: str, observed_first: bool) -> None:
    """Whichever comes first; and the observer sends nothing."""
    heard, at_committer = Heard(), Heard()
    with open_bus(amqp_url, system=system) as committer, open_bus(amqp_url, system=system) as bus:
        bus.connect(Numbered, heard)
        committer.connect(Numbered, at_committer, filter={"number": 2})
        committed, observed = Numbered(number=1), Numbered(number=1)
        committed._event_id = observed._event_id = next_event_id()
        if observed_first:
            bus.emit_observed(observed)
        committer.emit(committed)
        if not observed_first:
            heard.wait(1)
            bus.emit_observed(observed)
        bus.emit_observed(Numbered(number=2))
        committer.emit(Numbered(number=3))
        heard.wait(3)
        bus.emit(Numbered(number=2, last=True))

        assert [True] == [event.last for event in at_committer.wait(1)]
        assert [1, 2, 3, 2] == heard.numbers
