"""docs/reference/encore.md is complete and true, and Encore's signatures are kept."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import encore
import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "reference" / "encore.md"

#: Signatures that differ on purpose; the document says why.
OTHER_SIGNATURES = {
    "events.event_manager.EventInfo",
    "events.event_manager.EventInfo.connect",
    "storage.dynamic_url_store.DynamicURLStore.user_tag",
    "storage.joined_store.JoinedStore.user_tag",
    "storage.simple_auth_store.SimpleAuthStore.transaction",
}

#: ``*args`` and ``**kwargs``.
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

#: Parameters that have a place.
BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


# -- What Encore has -----------------------------------------------------------


def encore_modules() -> list[str]:
    """Return the names of Encore's modules without ``encore.``, tests and their help excepted."""
    modules = pkgutil.walk_packages(encore.__path__, "encore.")
    names = [module.name.removeprefix("encore.") for module in modules]
    return [name for name in names if "tests" not in name and not name.startswith("testing")]


def encore_names(module: str) -> Iterator[tuple[str, Any]]:
    """Yield what a module of Encore defines (or hands on, if it is an ``api``), with methods."""
    source = importlib.import_module(f"encore.{module}")
    for name, found in vars(source).items():
        home = str(getattr(found, "__module__", None))
        is_handed_on = module.endswith("api") and home.startswith("encore.")
        if name.startswith("_") or not (home == source.__name__ or is_handed_on):
            continue
        yield name, found
        if inspect.isclass(found) and home == source.__name__:
            is_store = name.endswith("Store") and not name.startswith("Abstract")
            for attribute in dir(found) if is_store else vars(found):
                if not attribute.startswith("_"):
                    yield f"{name}.{attribute}", inspect.getattr_static(found, attribute)


NAMES = [
    (f"{module}.{name}", module, name, found)
    for module in encore_modules()
    for name, found in encore_names(module)
]


# -- What the document has -----------------------------------------------------


def sections() -> list[str]:
    """Return the parts of the document, each from its heading on."""
    return re.split(r"^## ", DOCUMENT.read_text(), flags=re.M)[1:]


def rows() -> dict[str, list[str]]:
    """Return the tests of each name that has a row, by its full name without ``antiphon.``."""
    found: dict[str, list[str]] = {}
    for section in sections():
        module = re.match(r"`antiphon\.([\w.]+)`\n", section)
        for name, tests in re.findall(r"^\| `([\w.]+)` \| (.*) \|$", section, re.M):
            if module is not None:
                assert f"{module[1]}.{name}" not in found, f"{name} has two rows"
                found[f"{module[1]}.{name}"] = re.findall(r"`(test_\w+)`", tests)
    return found


@cache
def names_left_out() -> frozenset[str]:
    """Return the names that the document says are not here."""
    (section,) = [each for each in sections() if each.startswith("Names that are not here\n")]
    return frozenset(re.findall(r"^\| `antiphon\.([\w.]+)` \|", section, re.M))


def is_left_out(name: str) -> bool:
    """Return whether *name*, or the class that it belongs to, is left out."""
    return bool({name, name.rpartition(".")[0]} & names_left_out())


@cache
def known_tests() -> frozenset[str]:
    """Return the names of all tests of this project and of its conformance suites."""
    folders = (ROOT / "tests", ROOT / "src" / "antiphon" / "testing")
    texts = (path.read_text() for folder in folders for path in folder.rglob("*.py"))
    return frozenset(name for text in texts for name in re.findall(r"def (test_\w+)\(", text))


# -- Tests ---------------------------------------------------------------------


def test_every_name_of_encore_has_a_row() -> None:
    """Or is among those that are left out, with the reason; and there are no other rows."""
    expected = {name for name, *_ in NAMES}
    described = set(rows())

    assert set() == {name for name in expected - described if not is_left_out(name)}
    assert set() == described - expected
    assert names_left_out() <= expected


def test_the_tests_of_every_row_exist() -> None:
    """Each row names at least one."""
    named = rows()

    assert [] == [name for name, tests in named.items() if not tests]
    assert set() == {test for tests in named.values() for test in tests} - known_tests()


def test_stores_are_tried_where_the_document_says() -> None:
    """The test class of each store is there."""
    line = r"^`(\w+)` passes the suite in `([\w/.:]+)`"
    places = dict(re.findall(line, DOCUMENT.read_text(), re.M))
    stores = {n for _, _, n, _ in NAMES if n.endswith("Store") and not n.startswith("Abstract")}

    assert stores == set(places)
    for place in places.values():
        path, _, name = place.partition("::")
        body = ast.parse((ROOT / path).read_text()).body
        assert name in {each.name for each in body if isinstance(each, ast.ClassDef)}, place


def test_names_that_are_left_out_are_not_here() -> None:
    """Otherwise the table is out of date."""
    for full, module, name, _ in NAMES:
        if full in names_left_out():
            with pytest.raises(AttributeError):
                ours(module, name)


KEPT = [each for each in NAMES if not is_left_out(each[0])]


@pytest.mark.parametrize(("full", "module", "name", "found"), KEPT, ids=[each[0] for each in KEPT])
def test_whatever_is_called_as_in_encore_can_be_called(
    full: str, module: str, name: str, found: Any
) -> None:
    """The name is there, of the same kind, and takes each argument in its place and by its name."""
    here = ours(module, name)

    assert inspect.isclass(found) == inspect.isclass(here)
    if inspect.isclass(found) and issubclass(found, Exception):
        # A handler of what Encore's error derives from catches ours, too.
        builtin = next(base for base in found.__mro__ if base.__module__ == "builtins")
        assert issubclass(here, builtin)
    elif callable(found) and full not in OTHER_SIGNATURES:
        assert callable(here)
        assert [] == list(refused(inspect.signature(found), inspect.signature(here)))


def ours(module: str, name: str) -> Any:
    """Return what Antiphon has under the name of something of Encore's."""
    found: Any = importlib.import_module(f"antiphon.{module}")
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
    return found


def refused(theirs: inspect.Signature, mine: inspect.Signature) -> Iterator[str]:
    """Yield how *mine* cannot be called as *theirs* can."""
    parameters = mine.parameters
    takes_names = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    places = [p.name for p in parameters.values() if p.kind in BY_PLACE]
    for place, parameter in enumerate(theirs.parameters.values()):
        here = parameters.get(parameter.name)
        if parameter.kind in VARIADIC:
            continue
        if here is None:
            if not takes_names:
                yield f"{parameter.name} is missing"
        elif parameter.default is not parameter.empty and here.default is here.empty:
            yield f"{parameter.name} must be given"
        elif parameter.kind in BY_PLACE and places[place : place + 1] != [parameter.name]:
            yield f"{parameter.name} is not in its place"
    for parameter in parameters.values():
        is_new = parameter.name not in theirs.parameters and parameter.kind not in VARIADIC
        if is_new and parameter.default is parameter.empty:
            yield f"{parameter.name} is new, and must be given"
