"""Conformance suite for stores with permissions: subclass it and supply one fixture.

The test class overrides ``make_stores``, which returns a function that gives the
store of a user, connected; all that it gives in a test are over one medium::

    class TestMyStore(PermissionSuite):
        @pytest.fixture
        def make_stores(self, tmp_path):
            base = MyStore(tmp_path)
            return lambda tag, tags=(): base.as_user(User(tag, frozenset(tags)))

``PermissionSuite`` needs nothing but the stores' methods.  Where there is more,
add the parts for it: ``TransactingPermissions``, ``JournallingPermissions`` and
``TellingPermissions``.  The suite needs pytest.
"""

from __future__ import annotations

import pytest

# Before they are imported: so a failing assert tells what it compared.
pytest.register_assert_rewrite(
    *(
        f"antiphon.testing.permission_tests.{part}"
        for part in ("base", "rights", "owning", "keeping", "more")
    )
)

from antiphon.testing.permission_tests.base import MakeStores  # noqa: E402
from antiphon.testing.permission_tests.basic import PermissionSuite  # noqa: E402
from antiphon.testing.permission_tests.more import (  # noqa: E402
    JournallingPermissions,
    TellingPermissions,
    TransactingPermissions,
)

__all__ = [
    "JournallingPermissions",
    "MakeStores",
    "PermissionSuite",
    "TellingPermissions",
    "TransactingPermissions",
]
