"""Who plays together."""

from __future__ import annotations

from tests.chaos.cast import Part

_BROADCAST = [
    Part("ear-1", "subscriber", network=1, slow_share=0.1),
    Part("ear-2", "subscriber", network=0, wanted="Left", slow_share=0.0),
]

_DURABLE = [
    Part("named-1", "subscriber", network=1, mode="broadcast", subscription="named"),
    Part("group-1", "subscriber", network=0, mode="group", subscription="group"),
    Part(
        "group-2",
        "subscriber",
        network=1,
        mode="group",
        subscription="group",
        failing_share=0.01,
    ),
    Part("group-3", "subscriber", network=1, mode="group", subscription="group", slow_share=0.2),
    Part("single-1", "subscriber", network=0, mode="single", subscription="single"),
    Part("single-2", "subscriber", network=1, mode="single", subscription="single"),
]


def company(name: str, rate: float, *, is_spooled: bool = True) -> list[Part]:
    """Return the parts of a play.

    Args:
        name: broadcast, durable or all.
        rate: events a second of each publisher.
        is_spooled: whether one of the publishers has a spool.
    """
    parts = [
        Part("pub-1", "publisher", network=0, rate=rate),
        Part("pub-2", "publisher", network=1, rate=rate, is_spooled=is_spooled),
    ]
    if name in ("broadcast", "all"):
        parts += _BROADCAST
    if name in ("durable", "all"):
        parts += _DURABLE
    return parts
