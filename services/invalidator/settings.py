"""Settings of the invalidator: the skeleton's, and the caches."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from antiphon.schemes import scheme_of
from services.skeleton import ServiceSettings


class CacheSettings(BaseModel):
    """One cache.

    Attributes:
        name: for logs, health and metrics; the mount point if not given.
        mount_point: prefix of the keys that are cached, ``prices/``; empty for all.
        cache_url: the store that holds the cache, and that its readers open, too.
        backing_url: the store whose values are cached.
        check_interval_s: seconds between two looks into the backing store's journal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(default="", max_length=100)
    mount_point: str
    cache_url: str = Field(min_length=1)
    backing_url: str = Field(min_length=1)
    check_interval_s: float = Field(default=1.0, gt=0, le=3600)

    @model_validator(mode="after")
    def _is_shared(self) -> Self:
        if scheme_of(self.cache_url) == "memory":
            raise ValueError(
                "cache_url is in this process's memory, where nobody else reads it: "
                "name a store that the readers open, too (redis:, sqlite:)"
            )
        if self.cache_url == self.backing_url:
            raise ValueError("cache_url and backing_url are the same store")
        return self

    @property
    def title(self) -> str:
        """The name, or what stands for it."""
        return self.name or self.mount_point or "all"


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
