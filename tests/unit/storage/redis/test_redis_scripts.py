"""The scripts are files of the package, and found by their digest."""

from __future__ import annotations

import hashlib
from importlib import resources

import pytest

from antiphon.storage import redis_scripts
from antiphon.storage.redis_scripts import load_script

_SHARED = {"common", "ledger", "lines"}
_NAMES = sorted(
    entry.name.removesuffix(".lua")
    for entry in resources.files(redis_scripts).iterdir()
    if entry.name.endswith(".lua") and entry.name.removesuffix(".lua") not in _SHARED
)


def test_the_scripts_are_there() -> None:
    """Nothing was left out of the package."""
    assert {
        "open",
        "prepare",
        "apply",
        "stage",
        "discard",
        "keep",
        "fill",
        "void",
        "void_prefix",
    } <= set(_NAMES)


@pytest.mark.parametrize("name", _NAMES)
def test_a_script_says_what_it_takes(name: str) -> None:
    """Each begins with its purpose and its keys, and has the digest that Redis computes."""
    script = load_script(name)
    own = (resources.files(redis_scripts) / f"{name}.lua").read_text()

    assert own.startswith("-- ")
    assert "\n-- KEYS: " in own
    assert hashlib.sha1(script.source, usedforsecurity=False).hexdigest() == script.sha1
