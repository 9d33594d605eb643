"""A store as users of Encore wrote them: its signatures and nothing else."""

from collections.abc import Iterable, Iterator
from typing import Any

from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.string_value import StringValue


class EncoreStore(AbstractStore):
    """Knows no ``expect``, has no versions, no journal, no transactions; emits nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, tuple[bytes, dict[str, Any]]] = {}

    def get(self, key: str) -> StringValue:
        data, metadata = self.held[key]
        return StringValue(data, metadata)

    def set(self, key, value, buffer_size=1048576):  # type: ignore[no-untyped-def,override]
        data, metadata = value if isinstance(value, tuple) else (value.data, value.metadata)
        self.held[key] = (data.read(), dict(metadata))

    def set_data(self, key, data, buffer_size=1048576):  # type: ignore[no-untyped-def,override]
        self.held[key] = (data.read(), self.held.get(key, (b"", {}))[1])

    def set_metadata(self, key, metadata):  # type: ignore[no-untyped-def,override]
        self.held[key] = (self.held.get(key, (b"", {}))[0], dict(metadata))

    def update_metadata(self, key, metadata):  # type: ignore[no-untyped-def,override]
        self.held[key][1].update(metadata)

    def delete(self, key):  # type: ignore[no-untyped-def,override]
        del self.held[key]

    def query(
        self, select: Iterable[str] | None = None, **kwargs: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, (_, metadata) in list(self.held.items()):
            if all(metadata.get(name) == item for name, item in kwargs.items()):
                yield key, dict(metadata)
