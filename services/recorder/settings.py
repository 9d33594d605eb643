"""Settings of the recorder: the skeleton's, the archive, and what is kept of it."""

from __future__ import annotations

import logging
import re
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from antiphon.archive.opening import archives
from antiphon.archive.retention import Retention
from antiphon.archive.sqlite_archive import arguments_in
from antiphon.cli.choosing import import_modules, near_class
from antiphon.schemes import scheme_of
from services.skeleton import BadSettings, ServiceSettings
from services.skeleton.settings import in_setting

logger = logging.getLogger("antiphon.service.recorder")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

#: A class as people write it: ``StoreSetEvent``, ``myapp:Saved``.
_Word = Annotated[str, Field(min_length=1, max_length=1000)]


class RetentionSettings(BaseModel):
    """One rule: what is deleted of some events, or of all.

    Attributes:
        max_age_s: seconds for which an event is kept.
        max_events: how many of the newest are kept.
        flags: the rule is for events that have all of these tags; a class is one.
        unless: the rule is for no event that has one of these tags.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    max_age_s: float | None = Field(default=None, gt=0)
    max_events: int | None = Field(default=None, ge=0)
    flags: tuple[_Word, ...] = ()
    unless: tuple[_Word, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.max_age_s is None and self.max_events is None:
            raise ValueError("a rule needs max_age_s or max_events: else it deletes nothing")
        return self

    @property
    def rule(self) -> Retention:
        """The rule as an archive takes it."""
        return Retention(self.max_age_s, self.max_events, self.flags, self.unless)


class RecorderSettings(ServiceSettings):
    """The recorder's settings.

    Attributes:
        archive_url: where events are kept: ``sqlite:///var/lib/antiphon/archive.db``.
        subscription: its name at the broker; recorders with another archive need
            another one.
        classes: of the events that are recorded, subclasses included; empty for all.
        origins: of the events that are recorded; empty for all.
        indexed: attributes whose values can be searched for quickly, ``key:prices/eur``.
        batch_events: events of one commit at most.
        batch_wait_s: seconds for which the first event of a commit waits for others.
        retention: rules what is deleted; none for nothing.
        retention_interval_s: seconds between two looks for what is to be deleted.
        disk_warn_bytes: it is warned of a disk with less room than this; 0 never.
    """

    origin: str | None = "recorder"
    archive_url: str = Field(min_length=1)
    subscription: str = "recorder"
    classes: tuple[_Word, ...] = ()
    origins: tuple[_Word, ...] = ()
    indexed: tuple[_Word, ...] = ("key",)
    batch_events: int = Field(default=500, ge=1, le=10_000)
    batch_wait_s: float = Field(default=0.05, ge=0, le=60)
    retention: tuple[RetentionSettings, ...] = ()
    retention_interval_s: float = Field(default=60.0, gt=0, le=86_400)
    disk_warn_bytes: int = Field(default=1 << 30, ge=0)

    @field_validator("subscription")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                "the name of a subscription is 1 to 100 letters, digits, '_', '-' and '.', and"
                " begins with a letter or digit"
            )
        return name

    @field_validator("archive_url")
    @classmethod
    def _is_kept(cls, url: str) -> str:
        if url.startswith("sqlite::memory:"):
            raise ValueError("it is in this process's memory, where nobody can read it")
        return url

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes may be called on the wire: a bare name is of ours, or of a main."""
        names = []
        for name in self.classes:
            names += [name] if ":" in name else [f"antiphon:{name}", name]
        return tuple(dict.fromkeys(names))

    def check(self) -> None:
        """Look at the archive's URL as well."""
        super().check()
        with in_setting("archive_url"):
            archives.load(self.archive_url)
            if scheme_of(self.archive_url) == "sqlite" and arguments_in(self.archive_url, {})[
                1
            ].get("read_only"):
                raise BadSettings("a recorder writes: take read_only out")
        import_modules(())
        for name in self.classes:
            # No error: a class of a program's own main module has a bare name as well.
            if near := near_class(name):
                logger.warning("classes: no class %r is known here; did you mean %r?", name, near)
