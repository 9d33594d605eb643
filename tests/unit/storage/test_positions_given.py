"""What is given as a position of a journal and is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from antiphon import open_store
from antiphon.errors import InvalidValue


@pytest.mark.parametrize("url", ["memory:", "sqlite:{}/store.db", "file://{}/files"])
def test_a_version_is_no_position(tmp_path: Path, url: str) -> None:
    """A likely slip, since writes return it; it must not look like a journal that was cut."""
    store: Any
    with open_store(url.format(tmp_path)) as store:
        version = store.from_bytes("k", b"1")

        with pytest.raises(InvalidValue, match=r"position is Version\(.*\); it must be a Position"):
            store.since(version)
        with pytest.raises(InvalidValue, match="position is None"):
            store.wait(None, 0)
