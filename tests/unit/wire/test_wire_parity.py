"""P1 between two real processes, of which one lacks some of the classes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

#: What both processes have: classes, and listeners of them.
SHARED = '''
from antiphon.events.api import BaseEvent, EventManager
from antiphon.events.origin import Prefix, matches_origin
from antiphon.wire import Codec

class Mixin:
    flavour = "mixed"

class Thing(BaseEvent): pass
class Saved(Thing): action = "saved"
class Spoken(Mixin, Thing): action = "spoken"
class Unrelated(BaseEvent): pass
class Moved(Thing):
    wire_name = "somewhere.else:Moved"

LISTENERS = [
    (BaseEvent, None, None), (Thing, None, None), (Saved, None, None), (Spoken, None, None),
    (Unrelated, None, None), (Moved, None, None), (Thing, {"n": 2}, None),
    (Thing, {"action": "saved"}, None), (Thing, {"action": "spoken"}, None),
    (Thing, {"tags": ("a", "b")}, None), (Thing, {"flavour": "mixed"}, None),
    (Thing, None, "a.b"), (Thing, None, Prefix("a")), (Saved, {"n": 1}, Prefix("a.b")),
    (BaseEvent, None, ["x", Prefix("a.b.c")]),
]

def heard_by(event, origin):
    """Return the numbers of the listeners that hear an event."""
    heard = []
    manager = EventManager()
    for number, (cls, filter, spec) in enumerate(LISTENERS):
        if matches_origin(spec, origin):
            manager.connect(cls, lambda e, n=number: heard.append(n), filter)
    manager.emit(event)
    return sorted(heard)
'''

#: What only the sender has.
SENDER = """
import json
from shared import *
from antiphon.events.event_id import next_event_id

class SavedTwice(Saved): pass
class Both(Spoken, Saved): pass
class Deep(Both, Moved): pass
class Lonely(BaseEvent): pass
class Odd(Saved):
    wire_name = "Odd. *#" + "x" * 300

codec = Codec()
number = 0
for cls in (Thing, Saved, Spoken, Moved, SavedTwice, Both, Deep, Lonely, Odd, Unrelated):
    for origin in (None, "a", "a.b", "a.b.c", "ab", "x", "a.b." + "y" * 40, "a.b.c.d.e.f.g.h"):
        number += 1
        event = cls(n=number % 3, tags=("a", "b") if number % 2 else ["a", "b"])
        sent = codec.encode(event, origin=origin, event_id=next_event_id(), time_ns=1)
        print(json.dumps({
            "class": cls.__name__, "origin": origin, "attributes": repr(sorted(
                (k, v) for k, v in vars(event).items())),
            "key": sent.routing_key, "headers": sent.headers,
            "body": codec.join([sent.envelope]).hex(),
            "heard": heard_by(event, origin),
        }))
"""

#: Reads what the sender printed, and says the same of it.
RECEIVER = """
import json, sys
from shared import *

codec = Codec()
modules = set(sys.modules)
for line in sys.stdin:
    sent = json.loads(line)
    (event,) = codec.decode(sent["key"], sent["headers"], bytes.fromhex(sent["body"]))
    assert event._delivery.origin == sent["origin"]
    print(json.dumps({
        "class": type(event).__name__, "origin": event._delivery.origin,
        "attributes": repr(sorted((k, v) for k, v in vars(event).items() if k[0] != "_")),
        "heard": heard_by(event, event._delivery.origin),
    }))
assert modules == set(sys.modules), "something was imported for an event"
"""


def run(folder: Path, program: str, text: str = "") -> list[dict[str, Any]]:
    """Run *program* in a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_listeners_hear_the_same_in_a_process_that_lacks_the_classes(tmp_path: Path) -> None:
    """For each event, class, filter and origin: process B hears what process A heard."""
    (tmp_path / "shared.py").write_text(SHARED)
    sent = run(tmp_path, SENDER)

    lines = "\n".join(json.dumps(event) for event in sent)
    arrived = run(tmp_path, RECEIVER, lines)

    assert len(sent) == 80
    keys = ("origin", "attributes", "heard")
    wrong = [
        (one, other)
        for one, other in zip(sent, arrived, strict=True)
        if any(one[key] != other[key] for key in keys)
    ]
    assert wrong == []


def test_the_classes_arrive_or_stand_in(tmp_path: Path) -> None:
    """Known classes arrive as themselves, others as placeholders of the same short name."""
    (tmp_path / "shared.py").write_text(SHARED)
    sent = run(tmp_path, SENDER)

    arrived = run(tmp_path, RECEIVER, "\n".join(json.dumps(event) for event in sent))

    for one, other in zip(sent, arrived, strict=True):
        expected = one["class"] if one["class"] != "Odd" else "Odd. *#" + "x" * 93
        assert expected == other["class"]
