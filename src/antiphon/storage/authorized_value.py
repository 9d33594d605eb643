"""A value as one user may see it."""

from __future__ import annotations

from io import BytesIO
from typing import Any, BinaryIO, cast

from antiphon.errors import AuthorizationError
from antiphon.storage.permissions import PERMISSIONS_NAME, Permissions
from antiphon.storage.value import Value, metadata_of, split_value


class AuthorizedValue(Value):
    """The value of the wrapped store without the permissions among its metadata.

    Args:
        value: what the wrapped store returned.
        permissions: those of the key; None if the user does not own it.
    """

    def __init__(self, value: Any, permissions: Permissions | None) -> None:
        self._value = value
        self._permissions = permissions
        self.size = getattr(value, "size", None)
        self.created = getattr(value, "created", None)
        self.modified = getattr(value, "modified", None)
        self.version = getattr(value, "version", None)

    @property
    def data(self) -> BinaryIO:
        """The stream of the bytes: one and the same at every access."""
        return cast(BinaryIO, split_value(self._value)[0])

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of the metadata, without the permissions."""
        return without_permissions(metadata_of(self._value))

    @property
    def permissions(self) -> dict[str, set[str]]:
        """The permissions of the key, for its owners.

        Raises:
            AuthorizationError: the user does not own the key.
        """
        if self._permissions is None:
            raise AuthorizationError("only owners of the key may see its permissions")
        return {name: set(tags) for name, tags in self._permissions.items()}

    def range(self, start: int | None = None, end: int | None = None) -> BinaryIO:
        """Return a new stream of ``data[start:end]``, counted as in Python slices."""
        if hasattr(self._value, "range"):
            return cast(BinaryIO, self._value.range(start, end))
        return BytesIO(self.data.read()[start:end])


def without_permissions(metadata: Any) -> dict[str, Any]:
    """Return the entries of *metadata* that are the user's own."""
    return {name: value for name, value in metadata.items() if name != PERMISSIONS_NAME}
