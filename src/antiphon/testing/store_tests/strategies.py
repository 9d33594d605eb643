"""What Hypothesis draws keys and metadata from."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

#: Examples that a property of the suite is tried with.
EXAMPLES = 15

#: Pieces that mean something to some medium: keys are made of them.
_PIECES = [
    "..", ".", "/", "\\", "\x00", "\n", "\r\n", "\t", " ", "%", "%2e", "%2F", "%00", "a", "A",
    "\u00e9", "e\u0301", "ß", "SS", "\u0130", "\u212a", "k", "\ufb01", "fi", "\ufeff", "\u2028",
    "\u202e", "\U0001f600", "~", "#", "?", "&", "=", ":", "*", "'", '"', ";", "--", "{", "}", "|",
    "con", "nul", ".data", ".metadata", ".tmp", ".lock", ".FSStore", ".user_", "key", "data",
    "index.json", "journal", "antiphon", "store", "x" * 300,
]  # fmt: skip

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)

_nasty = st.lists(st.sampled_from(_PIECES), max_size=5).map("".join)

#: Keys of any kind, as they come.
keys = _nasty | any_text


def _with_twins(drawn: Iterable[str]) -> list[str]:
    twins: set[str] = set()
    for key in drawn:
        twins |= {key, key.upper(), key.lower(), key + "/", key + " "}
        twins |= {unicodedata.normalize(form, key) for form in ("NFC", "NFD", "NFKC")}
    return sorted(twins)


#: Lists of keys in which each has those beside it that media mix up with it.
twin_keys = st.lists(keys, min_size=1, max_size=2).map(_with_twins)

#: Text that is no key: half of a character is in it.
broken_text = st.builds(
    lambda before, half, after: before + half + after,
    any_text,
    st.characters(categories=["Cs"]),
    any_text,
)

_scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(
    allow_nan=False
) | any_text | st.binary(max_size=6) | st.dates() | st.datetimes() | st.uuids()  # fmt: skip

#: Whatever an entry of metadata may be, NaN excepted, which equals nothing.
items = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(any_text, inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=5,
)

# Sets, and moments with a zone, which the model leaves out.
_rare_items = (
    st.sets(_scalars, max_size=3)
    | st.frozensets(_scalars, max_size=3)
    | st.datetimes(timezones=st.timezones())
)

#: Metadata of any kind.
all_metadata = st.dictionaries(any_text, items | _rare_items, max_size=5)

#: Up to five values of metadata, of any kind.
all_items = st.lists(items | _rare_items, min_size=1, max_size=5)


def for_all(**strategies: Any) -> Callable[[Callable[..., None]], None]:
    """Try the decorated function at once, with values drawn from *strategies*."""

    def decorate(check: Callable[..., None]) -> None:
        quiet = settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        quiet(given(**strategies)(check))()

    return decorate
