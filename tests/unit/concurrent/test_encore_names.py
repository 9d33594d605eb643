"""Each public name of Encore's concurrent, terminal and util is here, and is called alike."""

from __future__ import annotations

import importlib
import inspect
import logging
import pkgutil
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

PACKAGES = ["concurrent", "terminal", "util"]

#: Not for users: a demonstration that prints, and the logger that it prints to.
LEFT_OUT = {("util.human_date", "test"), ("util.human_date", "log")}


def modules() -> Iterator[str]:
    """Yield the names of Encore's modules, its tests apart, without the first word."""
    for package in PACKAGES:
        yield package
        path = importlib.import_module(f"encore.{package}").__path__
        for module in pkgutil.walk_packages(path, f"encore.{package}."):
            if "tests" not in module.name:
                yield module.name.removeprefix("encore.")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Encore's human_date configures the program's logging when it is imported."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def both(name: str) -> tuple[ModuleType, ModuleType]:
    """Return Encore's module and ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape in one of Encore's
        theirs = importlib.import_module(f"encore.{name}")
    return theirs, importlib.import_module(f"antiphon.{name}")


def public(module: ModuleType) -> dict[str, Any]:
    """Return what a module defines for users; what it only imports counts in packages and apis."""
    hands_on = hasattr(module, "__path__") or module.__name__.endswith(".api")
    home = "encore." if hands_on else module.__name__
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", "").startswith(home)
    }


def accepts_what(ours: Callable[..., Any], theirs: Callable[..., Any]) -> bool:
    """Whether every call that *theirs* takes by its parameters is one for *ours*."""
    mine = inspect.signature(ours)
    named = []
    for parameter in inspect.signature(theirs).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        named.append(parameter)
    required = [each.name for each in named if each.default is each.empty]
    names = [each.name for each in named]
    try:
        mine.bind(*required)  # what must be given, by place
        mine.bind(*names)  # all by place, in Encore's order
        if "fn" not in names:  # positional only, so that a job may have an argument fn
            mine.bind(**dict.fromkeys(names))  # all by name
    except TypeError:
        return False
    return True


@pytest.mark.parametrize("name", sorted(modules()))
def test_every_public_name_is_here(name: str) -> None:
    """Under the same module, of the same kind."""
    theirs, ours = both(name)
    missing = [
        each
        for each, value in public(theirs).items()
        if (name, each) not in LEFT_OUT
        and isinstance(value, type) is not isinstance(getattr(ours, each, None), type)
    ]
    missing += [each for each in public(theirs) if not hasattr(ours, each)]

    assert [] == [each for each in missing if (name, each) not in LEFT_OUT]


@pytest.mark.parametrize("name", sorted(modules()))
def test_everything_is_called_alike(name: str) -> None:
    """Functions, constructors and methods take the arguments that Encore's take."""
    theirs, ours = both(name)
    different = []
    for each, value in public(theirs).items():
        if (name, each) in LEFT_OUT or not callable(value):
            continue
        mine = getattr(ours, each)
        if not accepts_what(mine, value):
            different.append(each)
        if not isinstance(value, type):
            continue
        for method, function in inspect.getmembers(value, inspect.isfunction):
            if not method.startswith("_") and not accepts_what(getattr(mine, method), function):
                different.append(f"{each}.{method}")

    assert [] == different
