"""Who plays together."""

from __future__ import annotations

from tests.chaos.keeping import Part

#: Some hundred events.
SMALL_SPOOL_BYTES = 40_000

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
    Part(
        "ordered-1",
        "subscriber",
        network=0,
        mode="broadcast",
        subscription="ordered",
        failing_share=0.01,
        is_ordered=True,
        options=(("retry_delay_s", 0.02),),
    ),
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
        # Its spool is full after a second or two without a broker; then emit raises.
        Part(
            *("pub-3", "publisher"),
            network=0,
            rate=rate / 2,
            is_spooled=is_spooled,
            options=(("spool_bytes", SMALL_SPOOL_BYTES), ("when_full", "raise")),
        ),
    ]
    if name in ("broadcast", "all"):
        parts += _BROADCAST
    if name in ("durable", "all"):
        parts += _DURABLE
    return parts
