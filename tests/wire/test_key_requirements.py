"""The requirements of docs/reference/wire-format.md on names, origins and keys.

The sentence of a test begins with those that it shows.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from antiphon.errors import CorruptMessage, WireError
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.origin import Prefix
from antiphon.wire import ClassRegistry, binding_keys, parse_routing_key, routing_key

ROOT = "antiphon:BaseEvent"


def words(origin: str) -> list[str]:
    """Return the words of an origin as they are in a key."""
    return routing_key([ROOT], origin).key.removeprefix(f"{ROOT}.").split(".")


def digest(text: str) -> str:
    """Return the hash of a text."""
    return "~" + hashlib.sha256(text.encode()).hexdigest()[:16]


def refused(key: str, headers: dict[str, Any] | None = None) -> None:
    """Check that a key is refused."""
    with pytest.raises(CorruptMessage):
        parse_routing_key(key, headers)


@pytest.mark.parametrize("name", ["", "a\udc80"])
def test_a_name_is_text(name: str) -> None:
    """N1: Of at least one character, and without lone surrogates."""
    with pytest.raises(WireError):
        ClassRegistry().names_of(type("Odd", (BaseEvent,), {"wire_name": name}))

    refused(f"{ROOT}..x")
    refused(f"{ROOT}.a%ED%B2%80")


def test_names_are_not_normalised() -> None:
    """N2: Two spellings of one letter are two names."""
    composed, decomposed = "caf\u00e9", "cafe\u0301"

    assert routing_key([composed], None).key != routing_key([decomposed], None).key
    assert ((decomposed,), None) == parse_routing_key(decomposed)


def test_aliases_are_heard_and_not_sent() -> None:
    """N3: A class that was moved is called by its name, and still known by its old one."""
    moved = type("Moved", (BaseEvent,), {"wire_name": "new:Moved", "wire_aliases": ("old:Moved",)})
    registry = ClassRegistry()

    assert (ROOT, "new:Moved") == registry.names_of(moved)
    assert moved is registry.class_of((ROOT, "old:Moved"))


def test_classes_stand_after_their_bases() -> None:
    """N4: The root first, the event's own class last."""
    left, right = (
        type(name, (BaseEvent,), {"wire_name": f"t:{name}"}) for name in ("Left", "Right")
    )
    both = type("Both", (left, right), {"wire_name": "t:Both"})
    names = ClassRegistry().names_of(both)

    assert (ROOT, "t:Both") == (names[0], names[-1])
    assert {"t:Left", "t:Right"} == set(names[1:-1])


def test_there_are_at_most_256_classes() -> None:
    """N5: More are neither sent nor read."""
    names = [ROOT, *(f"a:{number}" for number in range(255))]
    key, headers = routing_key(names, None)
    assert (tuple(names), None) == parse_routing_key(key, headers)

    with pytest.raises(WireError):
        routing_key([*names, "one:More"], None)
    assert headers is not None
    refused("!", {"classes": [*headers["classes"], "one:More"]})


def test_no_origin_is_not_the_empty_one() -> None:
    """O1: One has no word, the other an empty one."""
    assert (ROOT, f"{ROOT}.@") == (routing_key([ROOT], None).key, routing_key([ROOT], "").key)
    assert (None, "") == (parse_routing_key(ROOT)[1], parse_routing_key(f"{ROOT}.@")[1])


def test_a_key_has_the_classes_then_the_origin() -> None:
    """K1, K3: Words between dots; those of the origin begin with @ and +."""
    assert f"{ROOT}.shop:Sold.@vienna.+web" == routing_key([ROOT, "shop:Sold"], "vienna.web").key


SPECIAL = [
    *".*#%@+!~",
    *map(chr, [*range(0x21), *range(0x7F, 0xA1), 0x1680, *range(0x2000, 0x200B)]),
    *"\u2028\u2029\u202f\u205f\u3000",
]


@pytest.mark.parametrize("character", SPECIAL, ids=ascii)
def test_special_characters_are_escaped(character: str) -> None:
    """K2: As the bytes of their UTF-8, in upper-case digits."""
    written = "".join(f"%{byte:02X}" for byte in character.encode())

    assert f"{ROOT}.a{written}b" == routing_key([ROOT, f"a{character}b"], None).key
    if character != ".":
        assert f"{ROOT}.@a{written}b" == routing_key([ROOT], f"a{character}b").key


def test_other_characters_are_not() -> None:
    """K2: Whatever else UTF-8 has stands for itself; surrogates in origins do not."""
    plain = "".join(
        chr(code)
        for code in [*range(0x21, 0x7F), 0xA1, 0x1681, 0x200B, 0x2027, 0x202A, 0x3001, 0x1F389]
        if chr(code) not in SPECIAL
    )

    assert f"{ROOT}.{plain}" == routing_key([ROOT, plain], None).key
    assert f"{ROOT}.@%ED%B2%80" == routing_key([ROOT], "\udc80").key


@pytest.mark.parametrize("word", ["a%2e", "a%41", "a%", "a%G0", "a b", "a%ED%A0"])
def test_escaping_otherwise_is_refused(word: str) -> None:
    """K2, K11: In small letters, without need, or not at all."""
    refused(f"{ROOT}.{word}")
    refused(f"{ROOT}.@{word}")


def test_long_words_are_hashed() -> None:
    """K4: From 33 bytes on, after escaping."""
    assert ["@" + "a" * 32] == words("a" * 32)
    assert ["@" + digest("a" * 33)] == words("a" * 33)
    assert ["@" + digest("%20" * 11)] == words(" " * 11)
    assert ["@" + digest("ü" * 17), "+b"] == words("ü" * 17 + ".b")


def test_words_beyond_the_sixth_are_hashed_together() -> None:
    """K5: Even if they are short."""
    assert ["@a", "+b", "+c", "+d", "+e", "+f"] == words("a.b.c.d.e.f")
    assert ["@a", "+b", "+c", "+d", "+e", "+f", "+" + digest("g")] == words("a.b.c.d.e.f.g")
    assert "+" + digest("%20.h") == words("a.b.c.d.e.f. .h")[-1]


def test_classes_that_do_not_fit_are_in_a_header() -> None:
    """K6, K7: From 256 bytes on, and not before."""
    fits, does_not = "x" * (255 - len(ROOT) - 1), "x" * (256 - len(ROOT) - 1)

    assert (f"{ROOT}.{fits}", None) == routing_key([ROOT, fits], None)
    assert ("!", {"classes": [ROOT, does_not]}) == routing_key([ROOT, does_not], None)
    assert ("!.@a", {"classes": [ROOT, "%20" * 99]}) == routing_key([ROOT, " " * 99], "a")
    refused("!", {"classes": [ROOT, fits]})
    refused("!", {})
    refused("!", {"classes": f"{ROOT}.{does_not}"})


def test_an_origin_with_a_hash_is_in_a_header() -> None:
    """K8: All of it, escaped, without sigils."""
    origin = "a b." + "c" * 40
    key, headers = routing_key([ROOT], origin)

    assert {"origin": "a%20b." + "c" * 40} == headers
    assert origin == parse_routing_key(key, headers)[1]
    refused(key, {"origin": "a%20b." + "d" * 40})
    refused(key, {})


def test_headers_are_bounded() -> None:
    """K9: What would have more bytes is not sent."""
    assert routing_key([ROOT, "x" * (65_536 - len(ROOT))], None).headers
    with pytest.raises(WireError):
        routing_key([ROOT, "x" * (65_537 - len(ROOT))], None)


def test_headers_are_not_looked_at_without_need() -> None:
    """K10: Where the key says all, they say nothing."""
    lies = {"classes": ["x"], "origin": "y"}

    assert ((ROOT,), "a") == parse_routing_key(f"{ROOT}.@a", lies)
    assert routing_key([ROOT], "a").headers is None


@pytest.mark.parametrize(
    "key", ["", ".", "!", f"{ROOT}.+a", f"{ROOT}.@a.b", f"{ROOT}.@a.@b", f"@a.{ROOT}", f"{ROOT}."]
)
def test_keys_that_this_format_does_not_make_are_refused(key: str) -> None:
    """K11: The broker matched by the key, so it must mean what we match by."""
    refused(key)


def test_a_listener_binds_two_keys() -> None:
    """B1: For the classes that fit, and for those that do not."""
    assert ["#.C.#", "!.#"] == binding_keys("C")
    assert ["#.C.#.@a.+b", "!.@a.+b"] == binding_keys("C", "a.b")
    assert ["#.C.#.@a.+b.#", "!.@a.+b.#"] == binding_keys("C", Prefix("a.b"))


def test_words_of_bindings_are_those_of_keys() -> None:
    """B2: Escaped, hashed, and beyond six words one wild-card."""
    long = "c" * 40

    assert f"#.a%20b.#.@a%20b.+{digest(long)}" == binding_keys("a b", f"a b.{long}")[0]
    assert "!.@a.+b.+c.+d.+e.+f.*" == binding_keys("C", Prefix("a.b.c.d.e.f.g"))[1]


def test_listeners_of_everything_bind_events_only() -> None:
    """B3: Not what buses send each other besides."""
    assert [f"{ROOT}.#", "!.#"] == binding_keys(ROOT)
    assert ["#.@a.+b"] == binding_keys(ROOT, "a.b")


def test_bindings_that_do_not_fit_are_left_out() -> None:
    """B4: No key with such a word fits, either."""
    assert ["!.#"] == binding_keys("x" * 300)
    assert routing_key([ROOT, "x" * 300], None).key == "!"
