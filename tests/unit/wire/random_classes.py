"""Random event classes and origins, for tests by hypothesis."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st

from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.origin import Prefix

_numbers = itertools.count()

_LETTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
#: Class names, with everything that has a meaning in a routing key.
class_names = st.one_of(
    st.sampled_from(["A", "B", "Saved", "Ünïcödé", "a.b", "#", "*", "@", "+", "!", "%41", "~"]),
    st.text(_LETTERS, min_size=1, max_size=12),
    st.text(_LETTERS, min_size=60, max_size=300),
)

_words = st.one_of(
    st.sampled_from(
        ["", "a", "b", "#", "*", "a b", "ü", "%", "%41", "@a", "+a", "!", "~", "\ud800", " ", "\n"]
    ),
    st.text(max_size=5),
    st.text(min_size=20, max_size=40),
)
#: Origins: few words over few letters, so that some are prefixes of others; and any text.
origins = st.one_of(
    st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=9).map(".".join),
    st.lists(_words, min_size=1, max_size=10).map(".".join),
    st.text(max_size=1000),
    st.integers(900, 1000).map(lambda n: ("long word." * 100)[:n]),
)

#: What listeners ask for, one at a time.
single_specs = st.one_of(st.none(), origins, origins.map(Prefix))


class Mixin:
    """A base that is no event class."""


class OtherMixin(Mixin):
    """Another, with an order of its own."""


@st.composite
def class_families(draw: st.DrawFn, max_size: int = 8) -> list[type[BaseEvent]]:
    """Draw some event classes with diamonds and mixins, ``BaseEvent`` first."""
    family: list[type[BaseEvent]] = [BaseEvent]
    for _ in range(draw(st.integers(1, max_size))):
        bases: list[type] = draw(
            st.lists(
                st.sampled_from([*family, Mixin, OtherMixin]), min_size=1, max_size=3, unique=True
            )
        )
        if not any(issubclass(base, BaseEvent) for base in bases):
            bases.append(BaseEvent)
        body: dict[str, Any] = {"__module__": draw(st.sampled_from(["__main__", "pack.age", "ü"]))}
        # A number in each name: two classes of one name are another test's business.
        name = f"{draw(class_names)}{next(_numbers)}"
        if draw(st.integers(0, 4)) == 0:
            body["wire_name"] = name + draw(class_names)
        try:
            family.append(type(name, tuple(bases), body))
        except (TypeError, UnicodeDecodeError):
            continue  # no consistent order of bases, or names too long for the message
    return family
