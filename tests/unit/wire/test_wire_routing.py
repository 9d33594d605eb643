"""Routing keys and bindings, checked against an exact topic exchange."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_classes import class_families, class_names, origins, single_specs
from topic_matching import topic_matches

from antiphon.errors import CorruptMessage, WireError
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.origin import Prefix, matches_origin
from antiphon.wire import ClassRegistry, binding_keys, parse_routing_key, routing_key
from antiphon.wire.routing import MAX_HEADER_BYTES, ROOT_NAME, escape_word, is_exact, unescape_word

ROOT = "antiphon:BaseEvent"
#: Machines that run tests are busy with others.
relaxed = settings(deadline=None)


def delivered(name: str, spec: str | Prefix | None, key: str) -> bool:
    """Return whether a topic exchange gives *key* to who listens to *name* and *spec*."""
    return any(topic_matches(binding, key) for binding in binding_keys(name, spec))


# -- The topic exchange of the tests -------------------------------------------


@pytest.mark.parametrize(
    ("binding", "key", "expected"),
    [
        ("#", "a", True),
        ("#", "a.b.c", True),
        ("a.#", "a", True),
        ("a.#.c", "a.c", True),
        ("a.#.c", "a.b.b.c", True),
        ("a.#.c", "a.b", False),
        ("a.*", "a", False),
        ("a.*", "a.", True),
        ("#.b.#", "a.b", True),
        ("#.b.#", "ab", False),
        ("a", "a.b", False),
    ],
)
def test_the_model_of_a_topic_exchange(binding: str, key: str, expected: bool) -> None:
    """The tests' own matching does what the examples of AMQP say."""
    assert expected == topic_matches(binding, key)


# -- Keys ----------------------------------------------------------------------


def test_a_key_has_the_classes_then_the_origin() -> None:
    """BaseEvent first, the event's class last, then the origin's words with their sigils."""
    assert (f"{ROOT}.app:Saved.@a.+b", None) == routing_key([ROOT, "app:Saved"], "a.b")


def test_the_root_name_is_that_of_base_event() -> None:
    """The constant that bindings know is the name that the registry gives."""
    assert ROOT_NAME == ClassRegistry().name_of(BaseEvent)


def test_no_origin_and_an_empty_origin_differ() -> None:
    """None has no words, the empty text one that is empty."""
    assert f"{ROOT}" == routing_key([ROOT], None).key
    assert f"{ROOT}.@" == routing_key([ROOT], "").key


@relaxed
@given(st.text())
def test_escaped_words_come_back(text: str) -> None:
    """Any text survives escaping, lone surrogates too."""
    assert text == unescape_word(escape_word(text))


@relaxed
@given(st.text())
def test_escaped_words_have_no_meaning(text: str) -> None:
    """No dot, wild-card, sigil or blank is left in a word."""
    word = escape_word(text)

    assert not set(word) & set(".*#@+!~ \t\n\u00a0")
    assert len(word.encode()) >= len(text)


@relaxed
@given(st.lists(class_names, min_size=1, max_size=30), st.none() | origins)
def test_keys_fit_and_come_back(names: list[str], origin: str | None) -> None:
    """Every key has at most 255 bytes, and key and headers tell classes and origin exactly."""
    key, headers = routing_key([ROOT, *names], origin)

    assert len(key.encode()) <= 255
    assert ((ROOT, *names), origin) == parse_routing_key(key, headers)
    assert (headers is None) == is_exact(key)


@relaxed
@given(origins, origins)
def test_the_origin_header_must_fit_the_key(origin: str, other: str) -> None:
    """A header that would make another key is refused: the broker matched by this one."""
    key, headers = routing_key([ROOT, "C"], origin)
    if headers is None or other == origin:
        return
    forged = ".".join(map(escape_word, other.split(".")))

    with pytest.raises(CorruptMessage):
        parse_routing_key(key, {"origin": forged})


def test_the_classes_header_must_not_fit_a_key() -> None:
    """Classes that a key can hold stand in the key, where the broker sees them."""
    key, _ = routing_key([ROOT, "C" * 300], None)

    with pytest.raises(CorruptMessage):
        parse_routing_key(key, {"classes": [ROOT, "C"]})


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        ("", None),
        (".", None),
        ("a..b", None),
        ("@a", None),
        ("+a", None),
        ("a.+b", None),
        ("a.@b.c", None),
        ("a.@b.@c", None),
        ("a.%41", None),
        ("a.%zz", None),
        ("a.@%2e", None),
        ("a b", None),
        ("a.*", None),
        ("a.#", None),
        ("!", None),
        ("!", {"classes": []}),
        ("!", {"classes": "a"}),
        ("!", {"classes": ["a"]}),
        ("!", {"classes": [1]}),
        ("!.!", {"classes": ["a"]}),
        ("a.@~0123456789abcdef", None),
        ("a.@~0123456789abcdef", {"origin": "x" * 40}),
        ("a.@~0123456789abcdef", {"origin": 5}),
        ("a" * 300, None),
        ("\ud800", None),
        (".".join("a" * 300), None),
    ],
)
def test_other_keys_are_refused(key: str, headers: dict[str, object] | None) -> None:
    """What routing_key does not make is no key."""
    with pytest.raises(CorruptMessage):
        parse_routing_key(key, headers)


@relaxed
@given(st.text(), st.none() | st.dictionaries(st.sampled_from(["origin", "classes"]), st.text()))
def test_any_text_is_a_key_or_refused(key: str, headers: dict[str, object] | None) -> None:
    """Nothing but CorruptMessage comes of a key."""
    try:
        names, origin = parse_routing_key(key, headers)
    except CorruptMessage:
        return
    assert key == routing_key(names, origin).key


def test_too_many_classes_are_an_error() -> None:
    """An event class with hundreds of bases is told so when it is emitted."""
    with pytest.raises(WireError, match="at most 256"):
        routing_key([ROOT] * 257, None)


def test_headers_that_no_frame_holds_are_an_error() -> None:
    """RabbitMQ closes the connection over them; so the event is refused before."""
    with pytest.raises(WireError, match="at most 65536"):
        routing_key([ROOT], "x" * (MAX_HEADER_BYTES + 1))


# -- Bindings ------------------------------------------------------------------


def test_the_bindings_of_a_class() -> None:
    """Any origin, one origin, and a prefix: as docs/reference/wire-format.md has them."""
    assert ["#.C.#", "!.#"] == binding_keys("C")
    assert ["#.C.#.@a.+b", "!.@a.+b"] == binding_keys("C", "a.b")
    assert ["#.C.#.@a.+b.#", "!.@a.+b.#"] == binding_keys("C", Prefix("a.b"))
    assert ["antiphon:BaseEvent.#", "!.#"] == binding_keys(ROOT)
    assert ["#.@a"] == binding_keys(ROOT, "a")
    assert ["#.@a.#"] == binding_keys(ROOT, Prefix("a"))


def test_a_prefix_of_more_words_than_a_key_has() -> None:
    """The overflow word hashes all the rest, so any overflow word will do."""
    assert "#.C.#.@1.+2.+3.+4.+5.+6.*" == binding_keys("C", Prefix("1.2.3.4.5.6.7"))[0]


@relaxed
@given(class_names, single_specs)
def test_bindings_fit(name: str, spec: str | Prefix | None) -> None:
    """Every binding has at most 255 bytes."""
    for binding in binding_keys(name, spec):
        assert len(binding.encode()) <= 255


@settings(deadline=None, max_examples=300)
@given(class_families(), st.none() | origins, single_specs, st.data())
def test_the_broker_delivers_what_a_process_would_match(
    family: list[type[BaseEvent]],
    origin: str | None,
    spec: str | Prefix | None,
    data: st.DataObject,
) -> None:
    """P1 and P2: what matches is let through, and where keys are exact nothing else."""
    registry = ClassRegistry()
    kind = data.draw(st.sampled_from(family))
    listened = data.draw(st.sampled_from(family))
    if data.draw(st.booleans()) and origin is not None:
        words = origin.split(".")
        spec = Prefix(".".join(words[: data.draw(st.integers(1, len(words)))]))
    key, _ = routing_key(registry.names_of(kind), origin)

    matched = issubclass(kind, listened) and matches_origin(spec, origin)
    let_through = delivered(registry.name_of(listened), spec, key)

    assert let_through or not matched
    if is_exact(key):
        assert matched == let_through


@relaxed
@given(class_names, origins, single_specs)
def test_the_longest_keys_reach_their_listeners(
    name: str, origin: str, spec: str | Prefix | None
) -> None:
    """Where the class words do not fit, every listener of the origin gets the event."""
    names = [ROOT, *(f"{name}{i}" for i in range(30))]
    key, _ = routing_key(names, origin)

    for listened in names:
        assert delivered(listened, origin, key)
        assert delivered(listened, None, key)
        assert delivered(listened, spec, key) or not matches_origin(spec, origin)


def test_other_origins_are_not_delivered() -> None:
    """P2: an origin that merely ends, begins or continues like another is another."""
    key = routing_key([ROOT, "C"], "a.b").key

    for spec in ("a", "b", "a.b.c", "x.a.b", "a.bc", "ab", "", "a.b."):
        assert not delivered("C", spec, key)
    for prefix in ("a.b.c", "b", "", "a.", "aa"):
        assert not delivered("C", Prefix(prefix), key)
    for prefix in ("a", "a.b"):
        assert delivered("C", Prefix(prefix), key)
