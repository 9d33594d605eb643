"""The events that all benchmarks here save and look for: as a recorder writes them.

Event *n* is the same in every archive.  The large archive has all numbers up to
its size, the small one each tenth; whatever has a rare flag is a tenth one, so that
both have the very same events with it, and the large one nine times as many others
beside.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from antiphon.archive import Event

#: When the first one happened, and seconds from one to the next: ten million in 29 days.
BEGAN = 1_790_000_000.0
STEP_S = 0.25

#: Keys of what is stored; each belongs to a hundred of ten million events.
KEYS = 100_000

#: Events that are saved at once where only the end is of interest.
AT_ONCE = 50_000

_OWN = ["BaseEvent", "StoreEvent", "StoreKeyEvent", "StoreModificationEvent"]
_SOURCE = (
    '{"kind": "RedisStore", "origin": null, "store_id": "f4bae0ac-b447-4666-ab5f-e6dc913a9873"}'
)
_FILLER = random.Random(6).randbytes(160)

#: Frequent flags that the small archive lacks.
LARGE_ONLY = frozenset({"origin:import", "StoreMoveEvent"})


def event(number: int) -> Event:
    """Return one of the events."""
    publisher, kind, key, origin = _kind_of(number)
    tags = ["BaseEvent", "shop:Alarm"] if kind == "shop:Alarm" else [*_OWN, kind]
    content = (
        f'{{"class": "antiphon:{kind}", "origin": "{origin}", "attributes": {{"key": "{key}",'
        f' "metadata": {{}}}}, "source": {_SOURCE}, "position": ["f4bae0ac-b447-4666-ab5f-'
        f'e6dc913a9873", 1, {number}, {{"base64": "Rk1Rw/TPW4I="}}], "replayed": false,'
        ' "traceparent": null}'
    )
    happened = time_of(number)
    return Event(
        f"{publisher:024x}-{number}",
        origin,
        happened,
        [*tags, f"origin:{origin}", f"key:{key}"],
        content,
        received=happened + 0.01,
        message=f"{kind} {key} {origin} {number}".encode() + _FILLER,
    )


def _kind_of(number: int) -> tuple[int, str, str, str]:
    # Spread over the publishers and keys without a pattern that an index would like.
    mixed = number * 2_654_435_761 % 4_294_967_296
    publisher = 0x1432995582C9C1DF662C1B95 + mixed % 5 * 0x0F0F0F0F0F0F0F0F0F0F0F0F
    key, origin, kind = f"prices/{mixed // 16 % KEYS:06}", f"shop-{mixed % 5}", "StoreSetEvent"
    last = number % 10
    if last == 5:
        origin = "import"
    elif last == 3:
        kind = "StoreMoveEvent"
    elif last == 0:
        if number % 100_000 == 50_000:
            kind = "shop:Alarm"
        elif number % 200 == 10:
            kind = "StoreDeleteEvent"
        elif number % 20_000 == 20:
            key = "prices/watched"
    return publisher, kind, key, origin


def events(numbers: Iterable[int]) -> Iterator[Event]:
    """Return some of the events."""
    return map(event, numbers)


def time_of(number: int) -> float:
    """Return when event *number* happened."""
    return BEGAN + number * STEP_S
