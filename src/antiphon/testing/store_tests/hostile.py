"""The suite's part on bad input."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import datetime
import io
from typing import Any

import pytest

from antiphon.errors import InvalidKey, InvalidValue
from antiphon.storage.abstract_store import AbstractStore
from antiphon.testing.store_tests.base import (
    Call,
    Peek,
    SuiteBase,
    content,
    everything,
    large_bytes,
    value,
)

#: Keys that mean something to some medium, and nothing to a store.
KEYS = [
    "", "a", "A", "a/b", "/", "//", "..", "../../etc/passwd", ".", "a\nb", "a\x00b", "a\x00",
    "\x00", "ü", "u\u0308", "日本語", "\U0001f600", "\uffff", "a b", " a", "%41", "*", "?", "[a]",
    "{a}", "#", "'", '"; drop table store', "a.b", "key", "%", "_", "k" * 10_000, "\\", "con",
    "-rf", "\x7f",
]  # fmt: skip


class Hostile(SuiteBase):
    """Odd keys are kept apart; what is no key, value or metadata is refused."""

    def test_a_key_is_any_text(self, store: AbstractStore, other: AbstractStore) -> None:
        """No sign has a meaning, and no two keys are mixed up."""
        for number, key in enumerate(KEYS):
            store.set(key, value(str(number).encode(), n=number))
        for number, key in enumerate(KEYS):
            assert (str(number).encode(), {"n": number}) == content(other, key)
            assert [key] == list(other.query_keys(n=number))
        assert sorted(KEYS) == sorted(other.query_keys())
        for key in KEYS:
            store.delete(key)
        assert {} == everything(store)

    def test_no_two_keys_are_mixed_up(self, store: AbstractStore, peek: Peek) -> None:
        """Traversals, case twins, normalisation twins, odd signs: each keeps its own."""
        from antiphon.testing.store_tests.strategies import for_all, twin_keys

        @for_all(keys=twin_keys)
        def check(keys: list[str]) -> None:
            expected = {key: (key.encode(), {"n": n}) for n, key in enumerate(keys)}
            store.multiset(keys, [value(data, **metadata) for data, metadata in expected.values()])
            assert expected == everything(store) == peek()
            for number, key in enumerate(keys):
                assert [key] == list(store.query_keys(n=number))
                store.delete(key)
                assert not store.exists(key)
            assert {} == peek()

    def test_no_key_has_half_a_character(self, store: AbstractStore, peek: Peek) -> None:
        """Wherever the lone surrogate stands, every method refuses it."""
        from antiphon.testing.store_tests.strategies import broken_text, for_all

        @for_all(key=broken_text)
        def check(key: str) -> None:
            calls: list[Call] = [
                lambda: store.get(key),
                lambda: store.exists(key),
                lambda: store.get_metadata(key),
                lambda: store.set(key, value()),
                lambda: store.set_data(key, io.BytesIO()),
                lambda: store.set_metadata(key, {}),
                lambda: store.update_metadata(key, {}),
                lambda: store.delete(key),
            ]
            for call in calls:
                with pytest.raises(InvalidKey, match="UTF-8"):
                    call()

        assert {} == peek()

    def test_names_of_the_medium_are_free(self, store: AbstractStore, peek: Peek) -> None:
        """What the backend calls its own parts is a key like any other."""
        expected = {name: (name.encode(), {"n": 1}) for name in self.internal_names}
        for name in self.internal_names:
            store.set(name, value(name.encode(), n=1))
        assert expected == peek()
        for name in self.internal_names:
            store.delete(name)
        store.set("a", value())

        assert {"a": (b"data", {})} == peek()

    def test_any_key_may_have_a_large_value(self, store: AbstractStore) -> None:
        """Values that are staged are found by any key too."""
        for key in ("", "../x", "a\x00\n", "k" * 5000):
            store.set(key, value(large_bytes(), n=1))

            assert large_bytes() == store.to_bytes(key)

    @pytest.mark.parametrize("key", [None, 1, b"a", ["a"], ("a",), 1.5, object()])
    def test_a_key_that_is_not_text_is_refused(self, store: AbstractStore, key: Any) -> None:
        """Whatever is called, the error says what a key must be."""
        calls: list[Call] = [
            lambda: store.get(key),
            lambda: store.exists(key),
            lambda: store.get_metadata(key),
            lambda: store.set(key, value()),
            lambda: store.set_data(key, io.BytesIO()),
            lambda: store.set_metadata(key, {}),
            lambda: store.update_metadata(key, {}),
            lambda: store.delete(key),
        ]
        for call in calls:
            with pytest.raises(InvalidKey, match="must be text"):
                call()
        assert {} == everything(store)

    def test_a_key_with_half_a_character_is_refused(self, store: AbstractStore) -> None:
        """A lone surrogate cannot be written as UTF-8, nor travel."""
        with pytest.raises(InvalidKey, match="UTF-8"):
            store.set("a\ud800", value())
        with pytest.raises(InvalidKey, match="UTF-8"):
            store.get("a\ud800")

    def test_a_key_without_end_is_refused(self, store: AbstractStore) -> None:
        """1 MiB is a key, a byte more is none: its event could not travel."""
        longest = "k" * (1 << 20)
        store.set(longest, value(b"x"))
        assert b"x" == store.to_bytes(longest)
        for key in (longest + "k", "ü" * (1 << 19) + "k"):
            with pytest.raises(InvalidKey, match="at most 1048576"):
                store.set(key, value())

    @pytest.mark.parametrize(
        "bad",
        [None, b"bytes", "text", 1, (), (io.BytesIO(),), (1, 2, 3), (b"x", {}), (None, {}),
         (io.StringIO("text"), {}), (io.BytesIO(), None), (io.BytesIO(), [("a", 1)]), {"a": 1}],
    )  # fmt: skip
    def test_what_is_no_value_is_refused(self, store: AbstractStore, bad: Any) -> None:
        """One clear error, and the old value stays."""
        store.set("a", value(b"before", n=1))
        with pytest.raises(InvalidValue):
            store.set("a", bad)

        assert {"a": (b"before", {"n": 1})} == everything(store)

    @pytest.mark.parametrize("bad", [None, b"bytes", "text", io.StringIO("text"), object()])
    def test_data_that_cannot_be_read_are_refused(self, store: AbstractStore, bad: Any) -> None:
        """Data are a stream of bytes; the error names the key."""
        with pytest.raises(InvalidValue, match="some-key"):
            store.set_data("some-key", bad)
        with pytest.raises(InvalidValue, match="some-key"):
            store.from_bytes("some-key", bad if not isinstance(bad, bytes) else "text")  # type: ignore[arg-type]
        assert not store.exists("some-key")

    @pytest.mark.parametrize(
        "item",
        [object(), 1j, lambda: 1, datetime.timedelta(1), "a\ud800", 2**64, -(2**63) - 1, {1: "x"},
         {"x": {("a",): 1}}, [object()], {"x": [{"y": object()}]}, range(3)],
    )  # fmt: skip
    def test_metadata_that_cannot_be_stored_are_refused(
        self, store: AbstractStore, changes: list[Any], item: Any
    ) -> None:
        """The error names the entry; nothing was written."""
        store.set_metadata("a", {"n": 1})
        del changes[:]
        calls: list[Call] = [
            lambda: store.set("a", value(b"", good=1, culprit=item)),
            lambda: store.set_metadata("a", {"good": 1, "culprit": item}),
            lambda: store.update_metadata("a", {"good": 1, "culprit": item}),
        ]
        for write in calls:
            with pytest.raises(InvalidValue, match="culprit"):
                write()

        assert {"a": (b"", {"n": 1})} == everything(store)
        assert [] == changes

    def test_metadata_nested_without_end_are_refused(self, store: AbstractStore) -> None:
        """A list that contains itself is an error, not a crash."""
        endless: list[Any] = []
        endless.append(endless)
        with pytest.raises(InvalidValue, match="endless"):
            store.set_metadata("a", {"endless": endless})

    def test_metadata_without_end_are_refused(self, store: AbstractStore) -> None:
        """At once, or when they were added up little by little; nothing was written."""
        store.set_metadata("a", {"x": "x" * (1 << 22 >> 1)})
        calls: list[Call] = [
            lambda: store.set_metadata("a", {"x": "x" * (1 << 22)}),
            lambda: store.set_metadata("a", {"x": ["ü" * (1 << 20)]}),
            lambda: store.update_metadata("a", {"y": b"y" * (1 << 22 >> 1)}),
        ]
        for write in calls:
            with pytest.raises(InvalidValue, match="too much"):
                write()

        assert ["x"] == list(store.get_metadata("a"))

    @pytest.mark.parametrize("bad", [None, [("a", 1)], "text", {1: 2}, {None: 1}, {"a\ud800": 1}])
    def test_metadata_are_a_dictionary_with_names(self, store: AbstractStore, bad: Any) -> None:
        """Anything else is refused."""
        with pytest.raises(InvalidValue):
            store.set_metadata("a", bad)
        assert not store.exists("a")
