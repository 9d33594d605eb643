"""Encore's own tests pass on Antiphon.

They are taken from the installed ``encore``, and run with the imports changed
as its users change theirs.  Nothing of Encore's is part of this project.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.testing.servers.kept import free_ports

#: Encore's test modules; those that end in ``_test`` its own CI never collected.
MODULES = [
    "concurrent/test_threadtools",
    "concurrent/futures/test_asynchronizer",
    "concurrent/futures/test_delayed_asynchronizer",
    "concurrent/futures/test_enhanced_thread_pool_executor",
    "concurrent/futures/test_serializer",
    "concurrent/futures/test_serializing_asynchronizer",
    "concurrent/futures/test_synchronous_executor",
    "events/test_event_manager",
    "storage/dict_memory_store_test",
    "storage/dynamic_url_store_test",
    "storage/filesystem_store_test",
    "storage/joined_store_test",
    "storage/mounted_store_test",
    "storage/simple_auth_store_test",
    "storage/sqlite_store_test",
    "storage/static_url_store_test",
    "storage/test_file_lock",
]

#: The module whose tests sleep for half a minute: its classes run side by side.
SLOW = "concurrent/futures/test_enhanced_thread_pool_executor"

#: First of the ports of Encore's web servers: 8090 in its source.
FREE_PORT = free_ports(1)[0]

#: Tests of Encore that do not pass, and why.
DIFFERENT = {
    "storage/*::test_to_file_large": "Encore skips it: it writes text where bytes belong",
}


#: Outcome of each test by "module::Class::test".
Outcomes = dict[str, str]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Outcomes of all of Encore's tests, run in several processes at once."""
    folder = tmp_path_factory.mktemp("encore")
    write_suite(folder)
    running = []
    for number, targets in enumerate(shards(folder)):
        report = folder / f"report{number}.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=."]
        command += [f"--junitxml={report}", "--continue-on-collection-errors", *targets]
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        running.append((process, report))
    found: Outcomes = {}
    for process, report in running:
        text, _ = process.communicate(timeout=100)
        assert report.exists(), text
        found |= dict(read_report(report))
    return found


def write_suite(folder: Path) -> None:
    """Write Encore's tests into *folder*, with ``antiphon`` in place of ``encore``."""
    root = encore_root()
    for path in root.rglob("tests/*.py"):
        package = path.relative_to(root).parts[:-2]
        place = folder.joinpath(*package_folder(package))
        place.mkdir(parents=True, exist_ok=True)
        (place / path.name).write_text(with_antiphon(path.read_text(), package))
    shutil.copy(Path(__file__).with_name("encore_seeding.py"), folder / "conftest.py")
    (folder / "pytest.ini").write_text("[pytest]\npython_files = test_*.py *_test.py\n")


def encore_root() -> Path:
    """Return the folder of the installed Encore."""
    spec = importlib.util.find_spec("encore")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def package_folder(package: tuple[str, ...]) -> list[str]:
    """Return the folder of a package's tests; not ``concurrent``, which Python has itself."""
    return [f"encore_{part}" for part in package]


def with_antiphon(source: str, package: tuple[str, ...]) -> str:
    """Return the *source* of a test of Encore's *package* with Antiphon's imports."""
    source = re.sub(r"\bfrom \.\.(?=\w)", f"from {'.'.join(('antiphon', *package))}.", source)
    # Its servers have fixed ports, which others of this machine may have.
    source = source.replace("8090 + next(port_counter)", f"{FREE_PORT} + next(port_counter)")
    # encore.testing is what Encore tests itself with.
    return re.sub(r"\bencore(?=\.(?!testing))", "antiphon", source)


def shards(folder: Path) -> Iterator[list[str]]:
    """Yield what each process runs."""
    slow = path_of(SLOW)
    busy = [path_of(module) for module in MODULES if module.startswith(("events", "storage"))]
    yield busy[::2]  # the others sleep most of the time; these keep two processors busy
    yield busy[1::2]
    yield [
        path_of(module) for module in MODULES if module.startswith("concurrent") and module != SLOW
    ]
    classes = [
        f"{slow}::{node.name}"
        for node in ast.parse((folder / slow).read_text()).body
        if isinstance(node, ast.ClassDef) and any("TestCase" in ast.unparse(b) for b in node.bases)
    ]
    waiting = [name for name in classes if "Wait" in name]
    for some in (waiting, [name for name in classes if name not in waiting]):
        yield [*some, "-k", "timeout"]
        yield [*some, "-k", "not timeout"]


def path_of(module: str) -> str:
    """Return where the tests of *module* are written."""
    *package, name = module.split("/")
    return "/".join([*package_folder(tuple(package)), f"{name}.py"])


def read_report(report: Path) -> Iterator[tuple[str, str]]:
    """Yield id and outcome of each test in a JUnit report."""
    for case in ET.parse(report).iter("testcase"):
        where = re.sub(r"\bencore_", "", case.get("classname") or "")
        name = case.get("name") or ""
        parts = where.split(".") if where else name.split(".")
        is_class = bool(where) and parts[-1][0].isupper()
        module = "/".join(parts[:-1] if is_class else parts).removeprefix("encore_")
        test = f"{module}::{parts[-1]}::{name}" if is_class else f"{module}::{name}"
        bad = [(child.tag, child.get("message") or "") for child in case]
        bad = [each for each in bad if each[0] in ("failure", "error", "skipped")]
        yield test, "passed" if not bad else f"{bad[0][0]}: {bad[0][1][:300]}"


@pytest.mark.parametrize("module", MODULES)
def test_the_tests_of_encore_pass(module: str, outcomes: Outcomes) -> None:
    """A program written for Encore, here its tests, runs on Antiphon with its imports changed."""
    mine = {test: outcome for test, outcome in outcomes.items() if test.split("::")[0] == module}
    expected = {test for test in mine if is_different(test)}

    assert mine
    assert {} == {
        test: outcome
        for test, outcome in mine.items()
        if outcome != "passed" and test not in expected
    }
    assert set() == {test for test in expected if mine[test] == "passed"}


def is_different(test: str) -> bool:
    """Return whether *test* is one of ``DIFFERENT``; ``*`` stands for any module, or class."""
    module, *_, name = test.split("::")
    places = {module, module.rpartition("/")[0] + "/*"}
    return any(each.split("::")[0] in places and each.split("::")[-1] == name for each in DIFFERENT)


def test_no_test_of_encore_is_forgotten() -> None:
    """Each module of tests that the installed Encore has is listed."""
    root = encore_root()
    found = {
        path.relative_to(root).as_posix().replace("tests/", "").removesuffix(".py")
        for pattern in ("test_*.py", "*_test.py")
        for path in root.rglob(f"tests/{pattern}")
    }

    assert set(MODULES) == found - {"storage/abstract_test"}
