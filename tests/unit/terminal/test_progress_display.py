"""What a person sees of progress, on a terminal and in a file."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import Any

import pytest

from antiphon.events import package_globals
from antiphon.events.api import (
    BaseEvent,
    EventManager,
    ProgressEndEvent,
    ProgressManager,
    ProgressStartEvent,
    ProgressStepEvent,
)
from antiphon.terminal import progress_rows
from antiphon.terminal.api import ProgressDisplay, ProgressWriter, SpinWriter, write_static

PATIENCE_S = 20.0

BEGIN = """
import threading
from antiphon.events.api import EventManager, ProgressManager
from antiphon.terminal.api import ProgressDisplay, write_static

manager = EventManager()
display = ProgressDisplay(manager)
"""


@pytest.fixture
def manager() -> EventManager:
    """A manager of its own."""
    return EventManager()


@pytest.fixture
def display(manager: EventManager) -> ProgressDisplay:
    """A display that listens to it; standard output is a file."""
    return ProgressDisplay(manager)


def seen_on_terminal(program: str, environment: dict[str, str] | None = None) -> str:
    """Run *program* on a terminal of its own, and return all that was written to it."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", BEGIN + program],
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"} | (environment or {}),
        )
        os.close(theirs)
        written = b""
        while piece := _read(ours):
            written += piece
        process.wait(PATIENCE_S)
    finally:
        os.close(ours)
    return written.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""  # Linux says so when the other end is closed.


def screen(written: str) -> list[str]:
    """Return the lines that a terminal shows after *written*, without colours."""
    lines = [""]
    row = column = 0
    for escape, count, letter, char in re.findall(
        r"(\x1b\[)([0-9;]*)([A-Za-z])|(.)", written, re.S
    ):
        if escape:
            if letter == "A":
                row -= int(count or 1)
            elif letter == "K":
                lines[row] = "" if count == "2" else lines[row][:column]
        elif char in "\r\n\b":
            row += char == "\n"
            column = 0 if char == "\r" else column - (char == "\b")
            lines += [""] * (row + 1 - len(lines))
        else:
            lines[row] = lines[row].ljust(column)[:column] + char + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]


# -- On a terminal ---------------------------------------------------------------


def test_an_operation_with_steps_is_a_bar() -> None:
    """Its name, a bar, how many steps of how many, and in the end Done."""
    seen = seen_on_terminal(
        """
with ProgressManager(manager, None, 1, "Saving letters", 100) as progress:
    for step in range(100):
        progress(step=step)
print("bye")
"""
    )

    assert any(re.match(r"Saving letters ━+ 100/100 Done\. 0:00:0\d", row) for row in screen(seen))
    assert ["bye", ""] == screen(seen)[-2:]


def test_an_operation_without_steps_is_a_spinner() -> None:
    """It shows what each step says."""
    seen = seen_on_terminal(
        """
with ProgressManager(manager, None, 1, "Loading") as progress:
    for page in range(40):
        progress(f"page {page}")
        threading.Event().wait(0.01)
"""
    )

    assert re.search(r"Loading .*[-\\|/].* page \d", seen)
    assert any(re.match(r"Loading +Done\.", row) for row in screen(seen))


def test_several_operations_at_once_have_a_row_each() -> None:
    """One that ends stays as a line above those that go on."""
    seen = screen(
        seen_on_terminal(
            """
first = ProgressManager(manager, None, 1, "First", 10)
second = ProgressManager(manager, None, 2, "Second", 20)
first.start(); second.start()
for step in range(5):
    first.step(step=step); second.step(step=step)
second.end()
print("in between")
first.end()
"""
        )
    )
    last = {name: max(i for i, row in enumerate(seen) if name in row) for name in ("Sec", "Fir")}

    assert last["Sec"] < last["Fir"]
    assert "20/20 Done." in seen[last["Sec"]]
    assert "10/10 Done." in seen[last["Fir"]]


@pytest.mark.parametrize("state", ["warning", "error", "exception"])
def test_an_operation_that_ends_badly_says_why(state: str) -> None:
    """The bar stays where it was, and the message follows."""
    seen = seen_on_terminal(
        f"""
progress = ProgressManager(manager, None, 1, "Copying", 10)
progress.start(); progress.step(step=4)
progress.end("the disk is full", {state!r})
"""
    )

    assert re.search(
        r"Copying ━+.* 4/10 .*\n" + f"{state.upper()}: the disk", "\n".join(screen(seen))
    )


@pytest.mark.parametrize("death", ["", "raise SystemExit(1)", "import os; os.kill(os.getpid(), 9)"])
def test_the_terminal_is_as_before(death: str) -> None:
    """However the program ends: the cursor was never hidden, nor the screen switched."""
    seen = seen_on_terminal(
        f"""
progress = ProgressManager(manager, None, 1, "Copying", 10)
progress.start(); progress.step(step=4)
{death}
"""
    )

    assert "Copying" in seen
    assert [] == re.findall(r"\x1b\[\?(?:25|1049|47)[hl]", seen)


def test_a_forked_child_can_print() -> None:
    """Neither lost threads nor held locks of the display hold it up."""
    seen = seen_on_terminal(
        """
import os, sys
progress = ProgressManager(manager, None, 1, "Copying", 10)
progress.start()
child = os.fork()
if child == 0:
    progress.step(step=9); progress.end()
    print("from the child", type(sys.stdout).__name__, flush=True)
    os._exit(0)
os.waitpid(child, 0)
progress.end()
"""
    )

    assert "from the child TextIOWrapper" in "\n".join(screen(seen))


def test_messages_cannot_steer_the_terminal() -> None:
    """Names of keys may be anyone's: what a terminal would obey, and markup, is shown as text."""
    seen = seen_on_terminal(
        r"""
name = "evil \x1b]0;title\x07 [bold]b[/bold]\r\x9b2J"
with ProgressManager(manager, None, 1, name, 3) as progress:
    progress("\x1b[2J", step=1)
"""
    )

    assert "evil  ]0;title  [bold]b[/bold]  2J" in "\n".join(screen(seen))
    assert [] == re.findall(r"\x1b\]|\x07|\x1b\[2J|\x9b", seen)


def test_static_text_is_replaced_by_the_next() -> None:
    """The cursor goes back by columns; what is left of a longer text is erased."""
    seen = seen_on_terminal("write_static('long\\ntext'); write_static('日本'); print()")

    assert "long text\x1b[K" + "\b" * 9 + "日本\x1b[K" + "\b" * 4 + "\r\n" == seen


def test_a_dumb_terminal_gets_lines() -> None:
    """One that cannot move its cursor is written to like a file."""
    seen = seen_on_terminal(
        "with ProgressManager(manager, None, 1, 'Saving', 3): pass", {"TERM": "dumb"}
    )

    assert "Saving:\r\nSaving: Done.\r\n" == seen


# -- Anywhere else ---------------------------------------------------------------


def test_elsewhere_an_operation_is_two_lines(
    manager: EventManager, display: ProgressDisplay, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file gets the beginning and the end, and no escape codes."""
    with ProgressManager(manager, None, 1, "Saving", 100) as progress:
        for step in range(100):
            progress(step=step)

    assert "Saving:\nSaving: Done.\n" == capsys.readouterr().out
    assert {} == display.writers


def test_elsewhere_a_long_operation_has_lines_in_between(
    manager: EventManager,
    display: ProgressDisplay,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One every five seconds: how far it is, or what it does."""
    now = 0.0
    monkeypatch.setattr(progress_rows.time, "monotonic", lambda: now)
    counted = ProgressManager(manager, None, 1, "Saving", 10)
    uncounted = ProgressManager(manager, None, 2, "Loading")
    counted.start()
    uncounted.start()
    for step in range(9):
        now += 1.0
        counted.step(step=step)
        uncounted.step(f"page {step}")
    counted.end()
    uncounted.end("no more pages", "error")

    assert [
        "Saving:",
        "Loading:",
        "Saving: 4 of 10",
        "Loading: page 4",
        "Saving: Done.",
        "Loading: ERROR: no more pages",
    ] == capsys.readouterr().out.splitlines()


def test_static_text_elsewhere_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A file has no place to go back to."""
    write_static("50 %\x1b[2J")

    assert "50 % [2J\n" == capsys.readouterr().out


def test_what_the_output_cannot_encode_is_replaced() -> None:
    """A log in ASCII ends no program."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + "with ProgressManager(manager, message='日本'): pass"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        timeout=PATIENCE_S,
    )

    assert (b"??:\n??: Done.\n", b"") == (done.stdout, done.stderr)


# -- What users may build on -------------------------------------------------------


def test_the_programs_own_manager_is_the_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Encore, a display without a manager shows what the program emits."""
    monkeypatch.setattr(package_globals, "_event_manager", EventManager())
    display = ProgressDisplay()
    with ProgressManager(message="Saving", steps=2):
        assert [ProgressWriter] == [type(writer) for writer in display.writers.values()]

    assert "Saving:\nSaving: Done.\n" == capsys.readouterr().out


def test_a_subclass_may_bring_its_own_writers(
    manager: EventManager, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those written for Encore print what they like after the display's first line."""

    class Stars:
        def __init__(self, display: Any, operation_id: Any, steps: int) -> None:
            self.display, self.operation_id = display, operation_id
            sys.stdout.write("[")

        def step_listener(self, event: Any) -> None:
            sys.stdout.write("*")

        def end_listener(self, event: Any) -> None:
            sys.stdout.write("]\n")
            del self.display.writers[self.operation_id]

    class Display(ProgressDisplay):
        progress_writer = Stars

    display = Display(manager)
    with ProgressManager(manager, None, 1, 'Saving "foo/bar/baz.txt"', 5) as progress:
        for _ in range(5):
            progress()

    assert 'Saving "foo/bar/baz.txt":\n[*****]\n' == capsys.readouterr().out
    assert {} == display.writers


def test_a_display_that_nobody_holds_shows_nothing(
    manager: EventManager, capsys: pytest.CaptureFixture[str]
) -> None:
    """Event managers hold bound methods weakly, as in Encore."""
    ProgressDisplay(manager)
    with ProgressManager(manager, message="Saving"):
        pass

    assert "" == capsys.readouterr().out


@pytest.mark.parametrize(
    ("steps", "writer"),
    [(5, ProgressWriter), (2.5, ProgressWriter), (0, SpinWriter), (-1, SpinWriter)]
    + [(each, SpinWriter) for each in (None, "many", float("nan"), float("inf"))],
)
def test_only_a_number_of_steps_makes_a_bar(
    manager: EventManager, display: ProgressDisplay, steps: Any, writer: type
) -> None:
    """Whatever else the event has for steps is an unknown number."""
    manager.emit(ProgressStartEvent(None, operation_id=1, message="m", steps=steps))

    assert [writer] == [type(each) for each in display.writers.values()]


@pytest.mark.parametrize("step", [-1, 1e308, None, "x", float("nan")])
def test_odd_steps_are_shown_as_far_as_they_go(
    manager: EventManager,
    display: ProgressDisplay,
    step: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No step makes a listener fail, and none is beyond the end."""
    manager.emit(ProgressStartEvent(None, operation_id=1, message="m", steps=4))
    manager.emit(ProgressStepEvent(None, operation_id=1, message="m", step=step))
    shown = display.writers[1].last_step  # type: ignore[attr-defined]
    manager.emit(ProgressEndEvent(None, operation_id=1, message="m", exit_state="normal"))

    assert 0 <= shown <= 4
    assert [] == caplog.records


def test_events_that_lack_attributes_are_shown(
    manager: EventManager, display: ProgressDisplay, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the operation's id is needed."""
    for cls in (ProgressStartEvent, ProgressStepEvent, ProgressEndEvent):
        event: BaseEvent = cls(None, operation_id=1)
        manager.emit(event)

    assert ":\n: Done.\n" == capsys.readouterr().out
