"""What every store with permissions must do."""

from __future__ import annotations

from antiphon.testing.permission_tests.keeping import Keeping
from antiphon.testing.permission_tests.owning import Owning
from antiphon.testing.permission_tests.rights import Rights


class PermissionSuite(Rights, Owning, Keeping):
    """Users, owners, and what they may do.

    A subclass overrides ``make_stores``; see the module ``permission_suite``.
    """
