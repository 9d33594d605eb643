"""docs/reference/http-protocol.md says what the server does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from antiphon import errors
from antiphon.server import exchange, reading, searching, uploads, waiting, writing
from antiphon.server.answers import answer_to_error
from antiphon.server.operations import OPERATIONS
from antiphon.server.routing import target_of

TEXT = (Path(__file__).parents[3] / "docs/reference/http-protocol.md").read_text()

ROUTES = re.findall(r"^\| `(/[^`]*)` \| ([A-Z ]+|as above) \|", TEXT, re.MULTILINE)

STATUSES = re.findall(r"^\| (\d{3}) \| ([A-Za-z, ()]+) \|", TEXT, re.MULTILINE)


def operations_at(route: str, method: str) -> set[str]:
    """Return the methods that there are at a documented route."""
    path, _, query = route.replace("<key>", "a").replace("<part>", "data").partition("?")
    return set(OPERATIONS[target_of(path.encode(), query.encode(), method).part])


def test_every_route_is_there() -> None:
    """Each documented route has the documented methods, and no others."""
    assert 13 == len(ROUTES)
    for route, methods in ROUTES:
        if methods == "as above":
            continue
        documented = set(methods.split())
        found = operations_at(route, "DELETE" if "DELETE" in documented else "GET")

        assert documented - {"HEAD"} == found, route
        assert ("HEAD" in documented) == ("GET" in found), route


def test_every_part_is_documented() -> None:
    """Nothing is served that the document does not tell of."""
    found = {
        target_of(
            route.partition("?")[0].replace("<key>", "a").replace("<part>", "data").encode(),
            b"k=a",
            "DELETE" if methods == "DELETE" else "GET",
        ).part
        for route, methods in ROUTES
    }

    assert set(OPERATIONS) == found


def test_every_status_is_documented() -> None:
    """The table has each status that errors are answered with, and the class beside it."""
    documented = {
        (int(status), name.strip()) for status, names in STATUSES for name in names.split(",")
    }
    classes = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.StoreError)
    ]
    answered = {(answer_to_error(kind("x"), None, []).status, kind.__name__) for kind in classes}
    refused = {
        int(status)
        for module in (exchange, reading, searching, uploads, waiting, writing)
        for status in re.findall(r"Refused\(\s*(\d{3})", inspect.getsource(module))
    }

    assert answered <= documented
    assert refused <= {status for status, _ in documented}


def test_every_header_is_documented() -> None:
    """Headers of our own are named in the document."""
    sources = "".join(
        inspect.getsource(module) for module in (exchange, reading, searching, writing)
    )
    found = set(re.findall(r'b"(antiphon-[a-z-]+)"', sources))

    assert found
    assert {name for name in found if name not in TEXT.lower()} == set()


def test_limits_are_as_documented() -> None:
    """Numbers in the text are those in the code."""
    assert f"at most {reading.MAX_HEADER_METADATA} characters" in TEXT
    assert f"{searching.DEFAULT_ENTRIES} if it is not given" in TEXT
    assert f"after {waiting.MAX_WAIT_S:g} seconds if `wait_s` is more" in TEXT
    assert f'"wait_s": {waiting.MAX_WAIT_S:g},' in TEXT
    assert f"At most {waiting.MAX_WAITING} clients wait" in TEXT
    assert f"JSON has at most {exchange.MAX_JSON_BYTES >> 20} MiB" in TEXT
