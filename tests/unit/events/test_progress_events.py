"""Progress events, and the manager that emits them; the manual's examples among them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from antiphon.events import package_globals
from antiphon.events.api import (
    BaseEvent,
    EventManager,
    ProgressEndEvent,
    ProgressEvent,
    ProgressManager,
    ProgressStartEvent,
    ProgressStepEvent,
)


@pytest.fixture
def manager() -> EventManager:
    return EventManager()


@pytest.fixture
def events(manager: EventManager) -> list[Any]:
    """All progress events of *manager*."""
    events: list[Any] = []
    manager.connect(ProgressEvent, events.append)
    return events


def kinds(events: list[Any]) -> list[str]:
    return [type(event).__name__.removeprefix("Progress").removesuffix("Event") for event in events]


def test_the_manual_s_first_example_runs(manager: EventManager, events: list[Any]) -> None:
    """The context manager emits the start and the end, calling it emits the steps."""
    with ProgressManager(manager, "source", 7, "Performing operation", 3) as progress:
        for step in range(3):
            progress(step)

    assert ["Start", "Step", "Step", "Step", "End"] == kinds(events)
    assert {("source", 7)} == {(event.source, event.operation_id) for event in events}
    assert (3, [0, 1, 2]) == (events[0].steps, [event.step for event in events[1:4]])
    assert ("Performing operation", "normal") == (events[4].message, events[4].exit_state)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyError("k"), ("Failure mode 1", "warning")),
        (OSError("o"), ("Failure mode 2", "error")),
        (ValueError("v"), ("v", "exception")),
        (None, ("Success", "normal")),
    ],
)
def test_the_manual_s_second_example_runs(
    manager: EventManager, events: list[Any], error: Exception | None, expected: tuple[str, str]
) -> None:
    """Its ``end_state`` says what the listeners read as ``exit_state``."""
    progress = ProgressManager(manager, "source", 7, "Performing operation", 1)
    progress.start()
    try:
        for step in range(1):
            progress(step)
            if error:
                raise error
    except KeyError:
        progress.end(message="Failure mode 1", end_state="warning")
    except OSError:
        progress.end(message="Failure mode 2", end_state="error")
    except Exception as exc:
        progress.end(message=str(exc), end_state="exception")
    else:
        progress.end(message="Success", end_state="normal")

    assert ["Start", "Step", "End"] == kinds(events)
    assert expected == (events[-1].message, events[-1].exit_state)


def test_the_manual_s_file_example_runs(manager: EventManager, events: list[Any]) -> None:
    """An operation that tells its progress by message and step."""
    data, block = b"x" * 25, 10
    steps = range(0, len(data), block)
    with ProgressManager(manager, self_ := object(), uuid.uuid4(), 'Saving "f"', len(steps)) as p:
        for i, pos in enumerate(steps):
            p(f'Saving "f" ({pos} of {len(data)} bytes)', step=i + 1)

    assert [1, 2, 3] == [event.step for event in events[1:-1]]
    assert 'Saving "f" (20 of 25 bytes)' == events[3].message
    assert all(event.source is self_ for event in events)


def test_the_manual_s_display_runs(manager: EventManager) -> None:
    """Listeners for one operation, connected when it starts, gone when it ends."""
    written: list[str] = []
    writers: dict[Any, Any] = {}

    class Writer:
        def __init__(self, operation_id: Any) -> None:
            self.operation_id = operation_id

        def step_listener(self, event: BaseEvent) -> None:
            written.append(f"{event.operation_id}:{event.step}")

        def end_listener(self, event: BaseEvent) -> None:
            written.append(f"{event.operation_id}:{event.exit_state}")
            del writers[self.operation_id]

    def start_listener(event: BaseEvent) -> None:
        writer = writers[event.operation_id] = Writer(event.operation_id)
        for cls, func in (
            (ProgressStepEvent, writer.step_listener),
            (ProgressEndEvent, writer.end_listener),
        ):
            manager.connect(cls, func, filter={"operation_id": event.operation_id})

    manager.connect(ProgressStartEvent, start_listener)
    with ProgressManager(manager, None, "a", "m", 1) as a, ProgressManager(manager, None, "b") as b:
        a()
        b()

    assert ["a:0", "b:0", "b:normal", "a:normal"] == written
    assert ([], {}) == (manager.get_listeners(ProgressEndEvent), writers)


def test_an_error_ends_the_operation(manager: EventManager, events: list[Any]) -> None:
    """It goes on to the caller, and is the message of the end event."""
    with pytest.raises(ValueError, match="no luck"), ProgressManager(manager):
        raise ValueError("no luck")

    assert ("no luck", "exception") == (events[-1].message, events[-1].exit_state)


def test_an_operation_ended_inside_is_not_ended_again(
    manager: EventManager, events: list[Any]
) -> None:
    """Nor is one started again that runs."""
    progress = ProgressManager(manager)
    progress.start()
    with progress:
        progress.end("enough", "warning")

    assert ["Start", "End"] == kinds(events)


def test_calling_starts_what_does_not_run(manager: EventManager, events: list[Any]) -> None:
    """The first call emits a start event before its step."""
    ProgressManager(manager, message="m")("first", kind="extra")

    assert ["Start", "Step"] == kinds(events)
    assert ("m", "first", "extra") == (events[0].message, events[1].message, events[1].kind)


@pytest.mark.parametrize("method", [ProgressManager.step, ProgressManager.end])
def test_what_does_not_run_has_no_steps_and_no_end(
    manager: EventManager, events: list[Any], method: Callable[[ProgressManager], None]
) -> None:
    """It is an error, and nothing is emitted."""
    with pytest.raises(RuntimeError, match=r"call start\(\) first"):
        method(ProgressManager(manager))

    assert [] == events


def test_further_attributes_go_to_all_events(manager: EventManager, events: list[Any]) -> None:
    """Those of the manager to all, those of a call to that event, which wins."""
    progress = ProgressManager(manager, unit="bytes", color="red")
    progress.start(color="blue")
    progress.step()
    progress.end()

    assert ["bytes"] * 3 == [event.unit for event in events]
    assert ["blue", "red", "red"] == [event.color for event in events]


def test_what_is_not_given_is_made_up(events: list[Any], manager: EventManager) -> None:
    """The manager itself is the source, the id is new, the number of steps unknown."""
    progress = ProgressManager(manager)
    progress.start()

    assert (progress, -1, "Performing operation") == (
        events[0].source,
        events[0].steps,
        events[0].message,
    )
    assert isinstance(events[0].operation_id, uuid.UUID)


def test_without_a_manager_the_programs_is_used(
    manager: EventManager, events: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that ``get_event_manager`` returns."""
    monkeypatch.setattr(package_globals, "_event_manager", manager)
    ProgressManager().start()

    assert ["Start"] == kinds(events)


def test_subclasses_choose_their_events(manager: EventManager, events: list[Any]) -> None:
    """The class attributes name the classes of the events."""

    class Start(ProgressStartEvent):
        pass

    class Step(ProgressStepEvent):
        pass

    class End(ProgressEndEvent):
        pass

    class Manager(ProgressManager):
        StartEventType = Start
        StepEventType = Step
        EndEventType = End

    with Manager(manager) as progress:
        progress()

    assert [Start, Step, End] == [type(event) for event in events]
