"""Who may import whom: read from the source, so that no import can hide."""

from __future__ import annotations

import ast
import functools
import os
import pkgutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import antiphon

SOURCE = Path(antiphon.__file__).parent

#: What each part may import besides itself.  "errors", "environment" and "schemes" are
#: single modules for all; the parts that are missing here (server, cli, testing) may
#: import anything.
ALLOWED = {
    "errors": set(),
    "environment": {"errors"},
    "schemes": {"errors"},
    "events": {"errors"},
    "wire": {"errors", "events"},
    "storage": {"errors", "schemes", "events"},
    "messaging": {"errors", "environment", "schemes", "events", "wire"},
    "outbox": {"errors", "events", "wire", "storage", "messaging"},
    "caching": {"errors", "events", "wire", "storage", "messaging"},
    "archive": {"errors", "schemes", "events", "wire", "storage", "messaging"},
    "notifications": {"errors", "events", "wire", "messaging"},
    "concurrent": {"errors", "events"},
    "terminal": {"errors", "events"},
    "util": {"errors"},
}

#: Parts that use the standard library only, apart from the named file.
PURE = {"errors": None, "environment": None, "schemes": None, "events": None, "wire": "packing.py"}

#: Libraries of the extras: nothing may need them at import, apart from these modules.
OPTIONAL = {
    "docker",
    "httpx",
    "hypothesis",
    "prometheus_client",
    "pydantic",
    "pydantic_settings",
    "pytest",
    "pythonjsonlogger",
    "starlette",
    "testcontainers",
    "uvicorn",
}

#: Places of more than one file; any other library is imported in exactly one.
PLACES = {
    "click": "cli/*",
    "pika": "messaging/amqp*.py",
    "rich": "terminal/*",
    # Suites that users' tests subclass.
    "hypothesis": "testing/*",
    "pytest": "testing/*",
}

#: Imports every module named on the command line with some libraries made unfindable.
BLOCKED_IMPORT = """
import importlib, sys
blocked, modules = sys.argv[1].split(","), sys.argv[2:]
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Blocker())
for module in modules:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as exc:
        print(f"{module} needs {exc.name}")
"""


def source_files() -> list[Path]:
    """Every file of the package."""
    return sorted(SOURCE.rglob("*.py"))


def module_name(path: Path) -> str:
    """``antiphon.events.api`` for the file with that module."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def imports(path: Path, *, nested: bool = True) -> tuple[str, ...]:
    """Absolute names of all modules that a file imports.

    With ``nested=False`` only what an import of the file itself imports: nothing in
    functions, and nothing that is for type checkers only.
    """
    return tuple(_imports(path, nested))


def _imports(path: Path, nested: bool) -> Iterator[str]:
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in _nodes(ast.parse(path.read_text()), nested):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # "from antiphon.wire import codec" imports a module if there is one of that name.
            for alias in node.names:
                name = f"{module}.{alias.name}"
                yield name if _exists(name) else module


@functools.cache
def _exists(name: str) -> bool:
    path = SOURCE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def _nodes(node: ast.AST, nested: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not nested and (is_function or is_for_types):
            continue
        yield child
        yield from _nodes(child, nested)


def part_of(module: str) -> str:
    """``events`` for ``antiphon.events.api``; ``""`` for ``antiphon`` itself."""
    return [*module.split("."), ""][1]


def third_party(module: str) -> str | None:
    """Name of the library that a module belongs to, if it is none of ours or Python's."""
    top = module.partition(".")[0]
    return None if top in sys.stdlib_module_names or top in ("antiphon", "__future__") else top


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_a_part_imports_only_what_is_below_it(part: str) -> None:
    """No module reaches up, not even in a function."""
    wrong = [
        f"{path.relative_to(SOURCE)} imports {name}"
        for path in source_files()
        if part_of(module_name(path)) == part
        for name in imports(path)
        if name.startswith("antiphon.") and part_of(name) not in ALLOWED[part] | {part}
    ]

    assert wrong == []


@pytest.mark.parametrize("part", sorted(PURE))
def test_the_lowest_parts_use_the_standard_library_only(part: str) -> None:
    """Events and the wire can be read and used without any library, the codec apart."""
    wrong = [
        f"{path.relative_to(SOURCE)} imports {name}"
        for path in source_files()
        if part_of(module_name(path)) == part and path.name != PURE[part]
        for name in imports(path)
        if third_party(name)
    ]

    assert wrong == []


def test_each_library_is_imported_in_one_place() -> None:
    """A library can be replaced, and its errors mapped, in a single place."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in source_files():
        for name in imports(path):
            if library := third_party(name):
                found[library].add(path.relative_to(SOURCE).as_posix())

    scattered = {
        library: files
        for library, files in found.items()
        if len({PLACES.get(library, file) for file in files}) > 1
        or not all(fnmatch(file, PLACES.get(library, "*")) for file in files)
    }
    assert scattered == {}


def test_there_is_no_import_cycle() -> None:
    """No module imports itself through others, so any of them can be imported first."""
    modules = {module_name(path): path for path in source_files()}
    graph = {
        name: {found for found in imports(path, nested=False) if found in modules}
        for name, path in modules.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            pytest.fail("cycle: " + " -> ".join([*trail[trail.index(name) :], name]))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, [*trail, name])
            done.add(name)

    for name in sorted(graph):
        visit(name, [])


def modules_that_need(blocked: set[str], modules: list[str]) -> list[str]:
    """Import modules in a fresh process with libraries blocked; return what failed."""
    argv = [sys.executable, "-c", BLOCKED_IMPORT, ",".join(sorted(blocked)), *modules]
    done = subprocess.run(argv, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_packages_import_without_any_library() -> None:
    """``import antiphon`` and its parts work before a library is needed for something."""
    libraries = {
        library
        for path in source_files()
        for name in imports(path)
        if (library := third_party(name))
    }
    found = pkgutil.walk_packages([str(SOURCE)], "antiphon.")
    packages = ["antiphon", *(module.name for module in found if module.ispkg)]

    # The command line is click's, and the suites in testing are pytest's.
    needed = modules_that_need(libraries - {"click", "msgpack", "ormsgpack"}, packages)

    assert needed == []


def test_no_module_needs_an_optional_library() -> None:
    """Every module can be imported with the required libraries alone."""
    modules = [
        module_name(path)
        for path in source_files()
        if path.name != "__main__.py" and part_of(module_name(path)) != "testing"
    ]

    assert modules_that_need(OPTIONAL, modules) == []
