"""``antiphon store`` over a Redis and a store server, from one to the other and back."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon import StringValue, open_store
from antiphon.cli.main import run
from antiphon.events.event_manager import EventManager
from antiphon.server import Account, Accounts, token_hash
from antiphon.storage.abstract_store import AbstractStore
from http_media import Web, running_web

#: More than is held in memory, and than a message has.
LONG = random.Random(7).randbytes(5 << 20)

VALUES = {
    "prices/eur": (b"1.09", {"currency": "EUR", "raw": b"\xff\0"}),
    "logo": (LONG, {"n": 1}),
    "": (b"", {}),
    "odd\n\x1b[1m/../ü": (b"\0\xff", {}),
}

#: Kilobytes that a command may take for any value; Python and its libraries take 50 000.
MOST_KB = 100_000


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with running_web() as web:
        yield web


@pytest.fixture
def served(web: Web, tmp_path: Path) -> Iterator[str]:
    """URL of a store on a server, with a token in a file."""
    (tmp_path / "token").write_text("guess\n")
    accounts = Accounts([Account("ann", token_hashes=(token_hash("guess"),), may="write")])
    with web.serving(_opened(f"sqlite://{tmp_path}/served.db"), authenticator=accounts) as url:
        yield f"dynamic+{url}?token_file={tmp_path}/token"


@pytest.fixture
def place(request: pytest.FixtureRequest, redis_url: str, served: str) -> str:
    """URL of a store of the kind that is asked for."""
    places: dict[str, str] = {"redis": f"{redis_url}?namespace=shop", "server": served}
    return places[request.param]


def _opened(url: str) -> AbstractStore:
    return open_store(url, event_manager=EventManager())


def _store(command: str, *arguments: object) -> int:
    return run(["store", command, *map(str, arguments)])


@pytest.mark.parametrize("place", ["redis", "server"], indirect=True)
def test_a_way_there_and_back(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All keys, data and metadata come back as they went; a second copy writes nothing."""
    here, again = f"sqlite://{tmp_path}/here.db", f"file://{tmp_path}/again"
    with _opened(here) as store:
        store.multiset(VALUES, (StringValue(*value) for value in VALUES.values()))

    assert 0 == _store("cp", here, place)
    assert 0 == _store("cp", place, again)
    capsys.readouterr()
    assert 0 == _store("cp", place, again, "--json")
    assert len(VALUES) == json.loads(capsys.readouterr().out)["same"]
    with _opened(again) as store:
        found = {key: (store.to_bytes(key), store.get_metadata(key)) for key in store.query_keys()}
    assert found == VALUES


@pytest.mark.parametrize("place", ["redis", "server"], indirect=True)
def test_conditions_and_history(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A write may depend on a version, and the journal tells what was written."""
    assert 0 == _store("set", place, "k", "--text", "1", "--json")
    version = json.loads(capsys.readouterr().out)["version"]

    assert 3 == _store("set", place, "k", "--text", "2", "--if-absent")
    assert 0 == _store("set", place, "k", "--text", "2", "--if-version", version)
    assert 3 == _store("rm", place, "k", "--if-version", version)
    assert 0 == _store("rm", place, "k")
    capsys.readouterr()
    assert 0 == _store("watch", place, "--from-start", "--no-wait", "--json")
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["set", "update", "delete"] == [line["action"] for line in told]


def test_a_long_value_is_never_held_in_memory(tmp_path: Path) -> None:
    """Not on its way in, nor on its way out, nor while two are compared."""
    source, target, folder = tmp_path / "in", tmp_path / "out", tmp_path / "folder"
    source.write_bytes(LONG * 12)
    place = f"sqlite://{tmp_path}/shop.db?durable=no"
    commands = (
        ["set", place, "long", str(source)],
        ["get", place, "long", str(target)],
        ["cp", place, str(folder)],
        ["cp", place, str(folder)],
    )

    assert [] == [command for command in commands if _most_kb(command) > MOST_KB]
    assert source.stat().st_size == target.stat().st_size == (folder / "long").stat().st_size


#: Runs a command, and prints last how much memory it had at most, in kilobytes.
MEASURED = """
import sys
from antiphon.cli.main import run
status = run(["store", *sys.argv[1:]])
(most,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(most.split()[1])
sys.exit(status)
"""


def _most_kb(command: list[str]) -> int:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], stdout=subprocess.PIPE, check=True
    )
    return int(done.stdout.split()[-1])
