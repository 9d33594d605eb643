"""The event manager that a whole program shares."""

from __future__ import annotations

import pytest

from antiphon.events import package_globals
from antiphon.events.api import EventManager, get_event_manager, set_event_manager


@pytest.fixture(autouse=True)
def _no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_globals, "_event_manager", None)


def test_it_is_made_when_first_asked_for() -> None:
    """And stays the same from then on."""
    assert package_globals._event_manager is None
    manager = get_event_manager()

    assert isinstance(manager, EventManager)
    assert manager is get_event_manager() is package_globals._event_manager


def test_it_can_be_given_before() -> None:
    """A program may choose its own, a bus for one."""
    manager = EventManager()
    set_event_manager(manager)

    assert manager is get_event_manager()


def test_it_cannot_be_replaced() -> None:
    """Listeners may be connected to it; the error says what to do."""
    manager = get_event_manager()

    with pytest.raises(ValueError, match="before anything calls"):
        set_event_manager(EventManager())
    assert manager is get_event_manager()
