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

Each test then tries the store through its public methods, and puts things
into the medium and looks at them behind its back: through a second store on
the same medium, or through the fixtures ``seed`` and ``peek`` if the class
overrides them.  A store with fewer abilities takes the parts that it has::

    class TestMyReader(ReadingOnly): ...

    class TestMyPlainStore(Reading, Writing, Telling, Hostile, Concurrency): ...

The suite needs pytest, and Hypothesis for random keys and histories.
See docs/how-to/test-your-backend.md.
"""

from __future__ import annotations

import pytest

# Before they are imported: so a failing assert tells what it compared.
pytest.register_assert_rewrite(
    *(
        f"antiphon.testing.store_tests.{part}"
        for part in (
            "base", "committing", "concurrency", "hostile", "histories", "journalling", "model",
            "progressing", "querying", "read_only", "reading", "strategies", "streaming", "telling",
            "transacting", "versioning", "waiting", "writing",
        )
    )
)  # fmt: skip

from antiphon.testing.store_tests.base import (  # noqa: E402
    Content,
    MakeStore,
    Peek,
    Seed,
    SuiteBase,
)
from antiphon.testing.store_tests.committing import Committing  # noqa: E402
from antiphon.testing.store_tests.concurrency import Concurrency  # noqa: E402
from antiphon.testing.store_tests.histories import Histories  # noqa: E402
from antiphon.testing.store_tests.hostile import Hostile  # noqa: E402
from antiphon.testing.store_tests.journalling import Journalling  # noqa: E402
from antiphon.testing.store_tests.progressing import Progressing  # noqa: E402
from antiphon.testing.store_tests.querying import Querying  # noqa: E402
from antiphon.testing.store_tests.read_only import ReadingOnly  # noqa: E402
from antiphon.testing.store_tests.reading import Reading  # noqa: E402
from antiphon.testing.store_tests.streaming import Snapshots, Streaming  # noqa: E402
from antiphon.testing.store_tests.telling import Telling  # noqa: E402
from antiphon.testing.store_tests.transacting import Transacting  # noqa: E402
from antiphon.testing.store_tests.versioning import Versioning  # noqa: E402
from antiphon.testing.store_tests.waiting import Waiting  # noqa: E402
from antiphon.testing.store_tests.writing import Writing  # noqa: E402

__all__ = [
    "Committing",
    "Concurrency",
    "Content",
    "Histories",
    "Hostile",
    "Journalling",
    "MakeStore",
    "Peek",
    "Progressing",
    "Querying",
    "Reading",
    "ReadingOnly",
    "Seed",
    "Snapshots",
    "StoreSuite",
    "Streaming",
    "SuiteBase",
    "Telling",
    "Transacting",
    "Versioning",
    "Waiting",
    "Writing",
]


class StoreSuite(
    Reading,
    Writing,
    Streaming,
    Snapshots,
    Hostile,
    Telling,
    Progressing,
    Transacting,
    Concurrency,
    Versioning,
    Journalling,
    Waiting,
    Committing,
    Histories,
):
    """Every part: what a ``BackendStore`` must do.

    Attributes:
        shared: False if each store that ``make_store`` returns is a medium of
            its own, as one in memory is.
        needs_connecting: False if a store may be used before ``connect()``.
        credentials: what ``connect()`` is called with.
    """
