"""Events of changes that were observed, not made: heard here, and sent to nobody.

Who commits a change publishes it.  Who merely sees it (a poller of a static
URL, the client of a server) tells the listeners of its own process only, with
the committer's event id where that is known, so that the copy which the broker
brings is recognised as the same event (DESIGN section 7).
"""

from __future__ import annotations

from antiphon.events.api import BaseEvent, BaseEventManager


def emit_observed(manager: BaseEventManager, event: BaseEvent) -> None:
    """Have *manager* call the listeners of this process with *event*.

    A manager that reaches other processes has a method ``emit_observed``; any
    other one emits as always.
    """
    emit = getattr(manager, "emit_observed", None)
    if emit is None:
        manager.emit(event)
    else:
        emit(event)
