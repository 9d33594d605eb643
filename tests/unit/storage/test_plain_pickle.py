"""Pickles of plain data are read; nothing in a pickle is ever run."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import os
import pickle
import struct
import time
import tracemalloc
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.storage.plain_pickle import RefusedPickle, read_pickle

_SIMPLE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC))
    | st.dates()
)
_HASHABLE = st.recursive(_SIMPLE, lambda inner: st.tuples(inner, inner), max_leaves=4)
_VALUES = st.recursive(
    _SIMPLE | st.sets(_HASHABLE, max_size=4) | st.frozensets(_HASHABLE, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner, inner, inner)
        | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), _VALUES, max_size=5))
def test_whatever_python_3_pickles_of_plain_data_comes_back(metadata: dict[str, Any]) -> None:
    """Encore's protocol is 2."""
    assert read_pickle(pickle.dumps(metadata, protocol=2)) == metadata


@pytest.mark.parametrize(
    ("pickled", "expected"),
    [
        (b"\x80\x02}q\x01U\x05titleq\x02U\x07Genesisq\x03s.", {"title": "Genesis"}),
        (b"\x80\x02}q\x01U\x01nI1099511627776\ns.", {"n": 2**40}),
        (b"\x80\x02}q\x01U\x01n\x8a\x06\x00\x00\x00\x00\x00\x01s.", {"n": 2**40}),
        (b"\x80\x02}q\x01U\x01uX\x02\x00\x00\x00\xc3\xa9q\x02s.", {"u": "é"}),
        (b"\x80\x02}q\x01U\x01uU\x02\xc3\xa9q\x02s.", {"u": "é"}),
        (b"\x80\x02}q\x01U\x01uU\x02\xe9\x00q\x02s.", {"u": b"\xe9\x00"}),
        (b"\x80\x02}q\x01U\x01sc__builtin__\nset\nq\x02]q\x03(K\x01K\x02e\x85Rs.", {"s": {1, 2}}),
        (
            b"\x80\x02}q\x01U\x01dcdatetime\ndatetime\nq\x02U\n\x07\xe4\x01\x02\x03\x04\x05\x00"
            b"\x00\x06q\x03\x85q\x04Rq\x05s.",
            {"d": datetime.datetime(2020, 1, 2, 3, 4, 5, 6)},
        ),
        (
            b"\x80\x02}q\x01U\x01dcdatetime\ndate\nq\x02U\x04\x07\xe4\x01\x02q\x03\x85q\x04Rs.",
            {"d": datetime.date(2020, 1, 2)},
        ),
        (
            b"\x80\x02}q\x01(U\x01aNU\x01b\x88U\x01cG?\xf8\x00\x00\x00\x00\x00\x00u.",
            {"a": None, "b": True, "c": 1.5},
        ),
    ],
    ids=["text", "int", "long", "unicode", "utf-8", "bytes", "set", "datetime", "date", "others"],
)
def test_what_python_2_pickled_comes_back(pickled: bytes, expected: dict[str, Any]) -> None:
    """Byte for byte what cPickle of 2.7 wrote; its ``str`` is text if it can be."""
    assert expected == read_pickle(pickled)


class _Runs:
    """Its pickle runs a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_nothing_is_run(tmp_path: Path, protocol: int) -> None:
    """A pickle that would run a command is refused, whatever its protocol."""
    path = tmp_path / "was-run"

    with pytest.raises(RefusedPickle):
        read_pickle(pickle.dumps({"x": _Runs(path)}, protocol=protocol))

    assert not path.exists()


def test_the_class_is_named() -> None:
    """Who reads the message knows what to look for."""
    with pytest.raises(RefusedPickle, match=r"decimal\.Decimal"):
        read_pickle(pickle.dumps({"price": decimal.Decimal("1.5")}, protocol=2))


@pytest.mark.parametrize(
    "pickled",
    [
        pytest.param(b"\x80\x02cposix\nsystem\nU\x02id\x85R.", id="global"),
        pytest.param(b"\x80\x02c__builtin__\neval\nU\x011\x85R.", id="eval"),
        pytest.param(b"\x80\x02cdatetime\nsys\n.", id="module in a permitted module"),
        pytest.param(
            b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
            id="another codec",
        ),
        pytest.param(b"\x80\x02c__builtin__\nset\n}X\x01\x00\x00\x00aNsb.", id="state for a class"),
        pytest.param(b"\x80\x02c__builtin__\nset\n.", id="a class by itself"),
        pytest.param(b"\x80\x02(S'id'\nios\nsystem\n.", id="inst"),
        pytest.param(b"\x80\x02(cos\nsystem\nS'id'\no.", id="obj"),
        pytest.param(b"\x80\x02cuuid\nUUID\n)\x81.", id="newobj"),
        pytest.param(b"\x80\x02\x82\x01.", id="extension"),
        pytest.param(b"\x80\x02Pid\n.", id="persistent id"),
        pytest.param(b"\x80\x04\x8c\x02os\x8c\x06system\x93.", id="stack global"),
        pytest.param(b"\x80\x02K\x01K\x02\x85R.", id="call of a number"),
        pytest.param(b"\x80\x02}K\x01K\x02s.", id="number as name"),
        pytest.param(b"\x80\x02]q\x00h\x00a.", id="list in itself"),
        pytest.param(b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".", id="nested deep"),
        pytest.param(
            b"\x80\x02c__builtin__\nset\n](" + b")" + b"\x85" * 99999 + b"e\x85R.",
            id="deep in a set",
        ),
        pytest.param(
            b"\x80\x02\x8b" + struct.pack("<i", 100000) + b"\xff" * 99999 + b"\x01.",
            id="huge number",
        ),
        pytest.param(b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01.", id="cut number"),
        pytest.param(b"\x80\x02T\xff\xff\xff\x7fabc.", id="cut text"),
        pytest.param(b"\x80\x02L" + b"9" * 100000 + b"L\n.", id="number in words"),
        pytest.param(b"\x80\x02c__builtin__\nset\n]]a\x85R.", id="list in a set"),
        pytest.param(
            b"\x80\x02cdatetime\ndatetime\nU\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x85R.",
            id="no moment",
        ),
        pytest.param(b"\x80\x02h\x05.", id="unknown memo"),
        pytest.param(b"\x80\x02K\x01K\x02.", id="two values"),
        pytest.param(b"\x80\x02(.", id="mark"),
        pytest.param(b"\x80\x02u.", id="no mark"),
        pytest.param(b"\x80\x02}", id="no end"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"not a pickle", id="no pickle"),
    ],
)
def test_what_is_no_plain_data_is_refused(pickled: bytes) -> None:
    """Each with one kind of error, and nothing run."""
    with pytest.raises(RefusedPickle):
        read_pickle(pickled)


def test_a_short_pickle_cannot_be_made_of_a_thousand_million_values() -> None:
    """Thirty lists, each twice the one before it."""
    lists = [
        f"]q{chr(n)}".encode() + b"(" + (f"h{chr(n - 1)}".encode() * 2 if n else b"K\x01") + b"e0"
        for n in range(30)
    ]
    began = time.monotonic()

    with pytest.raises(RefusedPickle, match="more than"):
        read_pickle(b"\x80\x02" + b"".join(lists) + b"h\x1d.")

    assert time.monotonic() - began < 20


def test_a_memo_number_costs_no_memory() -> None:
    """Python's own reader makes room for all numbers up to it."""
    tracemalloc.start()
    try:
        assert read_pickle(b"\x80\x02Nr\xff\xff\xff\x7f.") is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=60))
def test_any_bytes_give_plain_data_or_the_one_error(junk: bytes) -> None:
    """No other error comes out, whatever goes in."""
    with contextlib.suppress(RefusedPickle):
        read_pickle(b"\x80\x02" + junk)


@given(st.dictionaries(st.text(), _VALUES, max_size=3), st.data())
def test_a_damaged_pickle_gives_plain_data_or_the_one_error(
    metadata: dict[str, Any], data: st.DataObject
) -> None:
    """One byte is another."""
    pickled = bytearray(pickle.dumps(metadata, protocol=2))
    at = data.draw(st.integers(0, len(pickled) - 1))
    pickled[at] = data.draw(st.integers(0, 255))

    with contextlib.suppress(RefusedPickle):
        read_pickle(bytes(pickled))


def test_a_uuid_is_refused() -> None:
    """Its pickle makes an object."""
    with pytest.raises(RefusedPickle, match="UUID"):
        read_pickle(pickle.dumps({"id": uuid.UUID(int=1)}, protocol=2))
