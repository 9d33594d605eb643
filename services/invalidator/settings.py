"""Settings of the invalidator: the skeleton's, and the caches."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from antiphon import open_store
from antiphon.schemes import scheme_of
from services.skeleton import ServiceSettings
from services.skeleton.settings import in_setting

#: Seconds since the newest look into a journal until a cache is not ready, at least.
_READY_WITHIN_S = 5.0


class CacheSettings(BaseModel):
    """One cache.

    Attributes:
        name: for logs, health and metrics; the mount point if not given.
        mount_point: prefix of the keys that are cached, ``prices/``; empty for all.
        cache_url: the store that holds the cache, and that its readers open, too.
        backing_url: the store whose values are cached.
        check_interval_s: seconds between two looks into the backing store's journal.
        follow: ``events``: changes are heard of on the bus, and the journal is
            looked into; ``journal``: the journal alone is waited on, for a backing
            store whose events do not come to this broker.
        ready_within_s: ``/readyz`` says no once the newest look that succeeded is
            so many seconds old; at least three times ``check_interval_s``, which
            is what it is if not given, or 5.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(default="", max_length=100)
    mount_point: str
    cache_url: str = Field(min_length=1)
    backing_url: str = Field(min_length=1)
    check_interval_s: float = Field(default=1.0, gt=0, le=3600)
    follow: Literal["events", "journal"] = "events"
    ready_within_s: float | None = Field(default=None, gt=0, le=36000)

    @model_validator(mode="after")
    def _is_shared(self) -> Self:
        if _is_private(self.cache_url):
            raise ValueError(
                "cache_url is in this process's memory, where nobody else reads it: "
                "name a store that the readers open, too (redis:, sqlite:)"
            )
        if _is_private(self.backing_url):
            raise ValueError(
                "backing_url is in this process's memory, where nobody else writes: "
                "name the store that the readers' caches are filled from"
            )
        if self.cache_url == self.backing_url:
            raise ValueError(
                "cache_url and backing_url are the same store: name the one that is cached, "
                "and another one for the cache, such as another namespace"
            )
        if self.ready_within_s is not None and self.ready_within_s < 3 * self.check_interval_s:
            raise ValueError(
                f"ready_within_s is {self.ready_within_s:g} and check_interval_s"
                f" {self.check_interval_s:g}, so it would not be ready between two looks: make"
                f" ready_within_s at least {3 * self.check_interval_s:g}"
            )
        return self

    @property
    def staleness_limit_s(self) -> float:
        """``ready_within_s``, or what it is if not given."""
        return self.ready_within_s or max(_READY_WITHIN_S, 3 * self.check_interval_s)

    @property
    def title(self) -> str:
        """The name, or what stands for it."""
        return self.name or self.mount_point or "all"


def _is_private(url: str) -> bool:
    """Return whether the store at *url* is this process's own."""
    return scheme_of(url) == "memory" or url.startswith("sqlite::memory:")


class InvalidatorSettings(ServiceSettings):
    """The invalidator's settings.

    Attributes:
        caches: at least one; their names differ.
    """

    origin: str | None = "invalidator"
    caches: tuple[CacheSettings, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        titles = [cache.title for cache in self.caches]
        for title in titles:
            if titles.count(title) > 1:
                raise ValueError(f"two caches are named {title!r}: give each a name of its own")
        return self

    def check(self) -> None:
        """Look at the URLs as well."""
        super().check()
        for number, cache in enumerate(self.caches):
            with in_setting(f"caches[{number}].cache_url"):
                open_store(cache.cache_url)
            with in_setting(f"caches[{number}].backing_url"):
                open_store(cache.backing_url)
