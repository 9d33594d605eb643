"""Conformance suite for stores: subclass it and supply one fixture.

A backend's test class overrides ``make_store``, which returns a function that
makes one more unconnected store on the medium of the test, empty at first::

    class TestMyStore(StoreSuite):
        @pytest.fixture
        def make_store(self, tmp_path):
            return lambda: open_store(f"mine:///{tmp_path}/store")

        @pytest.fixture
        def make_fresh_store(self, tmp_path):
            numbers = itertools.count()
            return lambda: open_store(f"mine:///{tmp_path}/store{next(numbers)}")

Each test then tries the store through its public methods, and through a second
one on the same medium.  The suite needs pytest, and Hypothesis for the test
against a model.
"""

from __future__ import annotations

import pytest

# Before they are imported: so a failing assert tells what it compared.
pytest.register_assert_rewrite(
    *(
        f"antiphon.testing.store_tests.{part}"
        for part in ("reading", "writing", "telling", "journalling", "transacting", "model")
    )
)

from antiphon.testing.store_tests.base import MakeStore  # noqa: E402
from antiphon.testing.store_tests.journalling import Journalling  # noqa: E402
from antiphon.testing.store_tests.reading import Reading  # noqa: E402
from antiphon.testing.store_tests.telling import Telling  # noqa: E402
from antiphon.testing.store_tests.transacting import Transacting  # noqa: E402
from antiphon.testing.store_tests.writing import Writing  # noqa: E402

__all__ = ["MakeStore", "StoreSuite"]


class StoreSuite(Reading, Writing, Telling, Journalling, Transacting):
    """What every writable store must do.

    Class attributes:
        shared: False if each store that ``make_store`` returns is a medium of
            its own, as one in memory is.
        needs_connecting: False if a store may be used before ``connect()``.
    """

    @pytest.fixture
    def make_fresh_store(self, make_store: MakeStore) -> MakeStore:
        """Return a function that makes a store on a medium of its own each time."""
        if self.shared:
            raise NotImplementedError("override make_fresh_store in the backend's test class")
        return make_store

    def test_random_histories_agree_with_a_dictionary(self, make_fresh_store: MakeStore) -> None:
        """Whatever is done in whatever order, the store holds what a dictionary would."""
        from antiphon.testing.store_tests.model import check_against_model

        check_against_model(make_fresh_store)
