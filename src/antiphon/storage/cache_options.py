"""How a cache serves, and how large it may become."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.storage.eviction import check_bounds
from antiphon.storage.freshness_modes import DEFAULT_MODE, FreshnessMode


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """How a cache serves, and how large it may become.

    Attributes:
        mode: how fresh a read has to be.
        max_bytes: bytes of data it may hold; None: no bound.
        max_entries: entries it may hold; None: no bound.

    Raises:
        ValueError: a bound is no integer, or below 1.
    """

    mode: FreshnessMode = DEFAULT_MODE
    max_bytes: int | None = None
    max_entries: int | None = None

    def __post_init__(self) -> None:
        check_bounds(max_bytes=self.max_bytes, max_entries=self.max_entries)
