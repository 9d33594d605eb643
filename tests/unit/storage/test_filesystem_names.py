"""Names of files: any key, safe on any file system, and back again."""

from __future__ import annotations

import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.storage.file_names import METADATA, file_name, hashed_name, is_hashed, key_of

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text(
    "aAbB.%~/\\ :\0éE\u0301-", max_size=12
)

TWINS = [
    ("a", "A"), ("straße", "STRASSE"), ("é", "e\u0301"), ("ﬁ", "fi"), ("a/b", "a\\b"),
    ("", "%"), ("", "."), ("a", "a."), ("a", "a "), ("a%2Fb", "a/b"), ("con", "CON"),
    ("x" * 300, "x" * 301), ("x" * 300, "X" * 300), ("K", "\u212a"), ("a\0", "a"),
]  # fmt: skip


def as_worst_disk_has_it(name: str) -> str:
    """Return what a name is on a disk that ignores case, form, and what is at the end."""
    return unicodedata.normalize("NFKD", name.casefold()).rstrip(" .")


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_twins_are_two_files(one: str, other: str) -> None:
    """Keys that some disk takes for one have names that none does."""
    names = {as_worst_disk_has_it(file_name(key) + METADATA) for key in (one, other)}

    assert 2 == len(names)


@given(st.lists(KEYS, unique=True, max_size=6))
def test_different_keys_have_different_names(keys: list[str]) -> None:
    """On the worst of disks."""
    assert len(keys) == len({as_worst_disk_has_it(file_name(key) + METADATA) for key in keys})


@given(KEYS)
@example("..")
@example("../../etc/passwd")
@example("C:\\x")
@example("con.txt")
@example("LPT1")
@example("-rf")
@example(".antiphon/log-1")
@example("a\nb")
@example("x" * 10_000)
@example("é" * 3000)
@example("%" * 200)
def test_a_name_is_harmless_everywhere(key: str) -> None:
    """One short name of harmless characters, no hidden file, no device, no way out."""
    name = file_name(key)

    assert name.isascii()
    assert name.isprintable()
    assert len(name + METADATA) < 143
    assert not set(name) & set('/\\:*?"<>|')
    assert name[0] not in ".- ~"
    assert name == name.lower() or "%" in name
    stem = name.partition(".")[0].rstrip().lower()
    assert stem not in {"con", "prn", "aux", "nul", "com1", "lpt1"}


@given(KEYS)
@example("")
@example("%41")
@example("%")
@example("a%7Eb")
def test_a_name_gives_the_key_back(key: str) -> None:
    """To this module, and to whoever decodes percent signs."""
    name = file_name(key)

    assert is_hashed(name) or key == key_of(name)
    assert is_hashed(name) or not key or key == unquote(name)


@given(st.text("aA% .~é", min_size=1, max_size=8))
def test_a_name_of_another_program_is_its_key(name: str) -> None:
    """What this module would not have written is taken as it is."""
    key = key_of(name)

    assert key == name or name == file_name(key)


def test_people_can_read_usual_names() -> None:
    """What harms nowhere stays as it is; capitals and slashes are what a URL has."""
    assert "report-2024_v1.txt" == file_name("report-2024_v1.txt")
    assert "catalogue%2Fitem 7" == file_name("catalogue/item 7")
    assert "%52%45%41%44%4DE.md".replace("E", "%45") == file_name("README.md")
    assert "%" == file_name("")


def test_a_long_key_is_cut_and_hashed() -> None:
    """The beginning can be read, the rest is in the hash."""
    name = file_name("a" * 5000)

    assert is_hashed(name)
    assert name.startswith("a" * 70 + "%~")
    assert not is_hashed(file_name("a%~b"))


def test_a_name_is_not_cut_within_an_escape() -> None:
    """Half of a percent-encoding would be none."""
    name = hashed_name("k", "a" * 69 + "%C3%A9")

    assert name.startswith("a" * 69 + "%~")
