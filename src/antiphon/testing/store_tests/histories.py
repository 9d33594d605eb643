"""The suite's part on random histories."""

from __future__ import annotations

from typing import ClassVar

from antiphon.testing.store_tests.base import MakeStore, SuiteBase


class Histories(SuiteBase):
    """Random histories, compared with a dictionary.

    Attributes:
        transacts: False if the store has no transactions.
        journals: False if it has no journal.
    """

    transacts: ClassVar[bool] = True
    journals: ClassVar[bool] = True

    def test_random_histories_agree_with_a_dictionary(self, make_fresh_store: MakeStore) -> None:
        """Whatever is done in whatever order, the store holds what a dictionary would."""
        from antiphon.testing.store_tests.model import check_against_model

        check_against_model(
            self, make_fresh_store, transacts=self.transacts, journals=self.journals
        )
