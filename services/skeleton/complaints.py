"""Says what is wrong with settings: which one, its value, and what to do; never a secret."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from antiphon.schemes import MASK, mask_url

#: Variables of the environment that are settings begin with this.
PREFIX = "ANTIPHON_"

#: Names of settings whose values are shown to nobody.
_SECRET_NAME = re.compile("pass|token|secret|hash|key", re.IGNORECASE)

#: A secret that is shorter is not looked for inside texts: it is in every other word.
SHORTEST_SECRET = 4

#: Characters of a value that are shown at most.
_SHOWN = 80

Place = tuple[int | str, ...]


def problems_in(
    error: ValidationError, settings_class: type[BaseModel], secrets: Iterable[str]
) -> str:
    """Return in one line what is wrong.

    Args:
        error: what the settings' classes said.
        settings_class: the class of the whole.
        secrets: texts that must not be shown.
    """
    found = []
    problems = error.errors(include_url=False, include_context=False)
    broken = {
        problem["loc"][:depth] for problem in problems for depth in range(len(problem["loc"]))
    }
    for problem in problems:
        place = problem["loc"]
        if problem["type"] == "too_short" and place in broken:
            continue  # pydantic counts what is right only
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"there is no such setting{_hint(place, settings_class)}; take it out"
        elif problem["type"] == "missing":
            message = f"it is missing: add it to {_where_to(place)}"
        elif problem["type"] == "too_short" and isinstance(problem["input"], list | tuple):
            message = "at least one is needed"
        elif problem["type"] == "tuple_type" and isinstance(problem["input"], dict):
            message = f"it is one table: begin each with [[{_name(place)}]]"
        elif problem["type"] == "tuple_type":
            shown = _value(place, problem["input"], secrets)
            message = f"it is a list, written in [ ]{shown}"
        else:
            message += _value(place, problem["input"], secrets)
        found.append(f"{with_variable(_name(place))}: {message}" if place else message)
    return "; ".join(found)


def with_variable(name: str) -> str:
    """Return a setting's name with the variable that it comes from, if not from the file."""
    given = variable_of(name)
    return name if given is None else f"{name} (from {given})"


def variable_of(name: str) -> str | None:
    """Return the variable of the environment that a setting comes from, None if from none."""
    variable = PREFIX + re.split(r"[.\[]", name, maxsplit=1)[0].upper()
    return next((each for each in (variable, f"{variable}_FILE") if os.environ.get(each)), None)


def is_secret_name(name: str) -> bool:
    """Return whether the texts under a setting of this name are shown to nobody."""
    return _SECRET_NAME.search(name) is not None


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return *text* with passwords in URLs and all *secrets* replaced."""
    found = mask_url(text) if "://" in text else text
    for secret in sorted(secrets, key=len, reverse=True):
        if found == secret or len(secret) >= SHORTEST_SECRET:
            found = found.replace(secret, MASK)
    return found


def _where_to(place: Place) -> str:
    """Return where a setting can be written; one in a table, only in the file."""
    if len(place) > 1:
        return "the file"
    return f"the settings file, or set {PREFIX}{str(place[0]).upper()}"


def _name(place: Place) -> str:
    """Return ``caches[0].name``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).lstrip(".")


def _value(place: Place, value: Any, secrets: Iterable[str]) -> str:
    """Return the value of a setting, or nothing where it might be a password."""
    name = next((part for part in reversed(place) if isinstance(part, str)), "")
    if is_secret_name(name) or not isinstance(value, str | int | float):
        return ""
    if isinstance(value, str):
        value = masked(value, secrets)
    shown = repr(value)
    return f" (it is {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'})"


def _hint(place: Place, settings_class: type[BaseModel]) -> str:
    """Return a question after a setting whose name is like this one's."""
    model: type[BaseModel] | None = settings_class
    for part in place[:-1]:
        if isinstance(part, str) and model is not None and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation)
    near = difflib.get_close_matches(str(place[-1]), model.model_fields if model else (), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for arg in get_args(annotation) if (model := _model_in(arg))), None)
