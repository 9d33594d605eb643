"""Who may do what with a key: pure functions over its permissions.

A permission is a name; tags of users, groups or roles have it.  In the wrapped
store the permissions of a key are an entry of its metadata, so they change in
one commit with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from antiphon.errors import InvalidValue

#: The metadata entry that holds the permissions; no user sees or sets it.
PERMISSIONS_NAME = "antiphon.permissions"

#: Everything, also the permissions themselves.
OWNED = "owned"

#: The permissions that the store itself looks at.  All but ``exists`` let a
#: user see the key too; others may be given, and are up to the program.
RIGHTS = ("owned", "exists", "get", "set", "delete")

#: The tag that every user has.
EVERYONE = "*"

#: Permissions of one key: the tags that have each.
Permissions = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who uses a store.

    Attributes:
        tag: names the user; owns what the user creates.
        tags: groups and roles that the user is in.
    """

    tag: str
    tags: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not isinstance(self.tag, str) or not self.tag or self.tag == EVERYONE:
            raise InvalidValue(
                f"the tag of a user must be text, not empty and not '*': {self.tag!r:.80}"
            )
        if isinstance(self.tags, str) or not all(isinstance(tag, str) for tag in self.tags):
            raise InvalidValue(
                f"the tags of {self.tag!r:.80} must be a set of texts: {self.tags!r:.80}"
            )
        object.__setattr__(self, "tags", frozenset(self.tags))

    @property
    def all_tags(self) -> frozenset[str]:
        """The user's own tag, the groups and roles, and ``*``."""
        return self.tags | {self.tag, EVERYONE}


def has_right(user: User, permissions: Permissions, right: str) -> bool:
    """Return whether *user* has *right* by *permissions*, as an owner or by name."""
    tags = user.all_tags
    return not tags.isdisjoint(permissions.get(OWNED, ())) or not tags.isdisjoint(
        permissions.get(right, ())
    )


def may_see(user: User, permissions: Permissions) -> bool:
    """Return whether *user* may know that the key is there."""
    tags = user.all_tags
    return any(not tags.isdisjoint(permissions.get(right, ())) for right in RIGHTS)


def checked_permissions(permissions: object, *, partial: bool = False) -> dict[str, frozenset[str]]:
    """Return a copy of *permissions* that a user gave.

    Args:
        permissions: names, and a set, list or tuple of tags for each.
        partial: they are added to others, so ``owned`` may be missing.

    Raises:
        InvalidValue: they are not of that shape, or nobody would own the key.
    """
    if not isinstance(permissions, Mapping):
        raise InvalidValue(
            f"permissions must be a dictionary of name and set of tags, not {permissions!r:.80}"
        )
    copy: dict[str, frozenset[str]] = {}
    for name, tags in permissions.items():
        if not isinstance(name, str):
            raise InvalidValue(f"names of permissions must be text, and {name!r:.80} is not")
        if not isinstance(tags, (set, frozenset, list, tuple)) or not all(
            isinstance(tag, str) for tag in tags
        ):
            raise InvalidValue(
                f"the permission {name!r:.80} must have a set of tags, not {tags!r:.80}"
            )
        copy[name] = frozenset(tags)
    if not partial and not copy.get(OWNED):
        raise InvalidValue(f"nobody would own the key: {OWNED!r} needs at least one tag")
    return copy


def to_entry(permissions: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return *permissions* as they are kept in the metadata."""
    return {name: sorted(tags) for name, tags in permissions.items()}


def from_entry(entry: Any) -> dict[str, frozenset[str]] | None:
    """Return the permissions that ``to_entry`` wrote; None if *entry* is not of that form."""
    if type(entry) is not dict or not entry.get(OWNED):
        return None
    found: dict[str, frozenset[str]] = {}
    for name, tags in entry.items():
        # A text would be taken for the set of its letters.
        if type(tags) is not list or not all(type(tag) is str for tag in tags):
            return None
        found[name] = frozenset(tags)
    return found
