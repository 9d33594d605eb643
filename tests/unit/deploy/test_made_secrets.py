"""The passwords of docker compose: made once, hashed for the servers, and shown to their owner."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "deploy" / "make_secrets.py"


def run(folder: Path, *words: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Run the script that the container ``passwords`` runs."""
    environment = {"PATH": os.environ["PATH"], "SECRETS_FOLDER": str(folder)}
    return subprocess.run(
        [sys.executable, SCRIPT, *words], env=environment | given, capture_output=True, text=True
    )


def made(folder: Path) -> dict[str, str]:
    """Return the passwords and tokens that are there, by account and file."""
    paths = [*folder.glob("*/*-password"), *folder.glob("*/token")]
    return {f"{path.parent.name}/{path.name}": path.read_text() for path in paths}


def definitions(folder: Path) -> dict[str, Any]:
    """Return what RabbitMQ is told."""
    told: dict[str, Any] = json.loads((folder / "rabbitmq" / "definitions.json").read_text())
    return told


def test_each_account_gets_a_password_of_its_own(tmp_path: Path) -> None:
    """All are made at random, and no two are the same."""
    assert run(tmp_path).returncode == 0

    found = made(tmp_path)
    accounts = ("invalidator", "store-server", "recorder", "program", "operator")
    assert {f"{name}/amqp-password" for name in accounts} < set(found)
    assert "store-server/token" in found
    assert len(found) == len(set(found.values()))
    assert all(re.fullmatch("[0-9a-f]{48}", text) for text in found.values())


def test_what_was_made_stays(tmp_path: Path) -> None:
    """The next start finds the passwords of the first."""
    run(tmp_path)
    before = made(tmp_path)
    run(tmp_path)

    assert made(tmp_path) == before


def test_rabbitmq_is_told_hashes(tmp_path: Path) -> None:
    """Definitions have each user's salted hash, the permissions and the policy, and no password."""
    run(tmp_path)
    told = definitions(tmp_path)

    for user in told["users"]:
        kept = base64.b64decode(user["password_hash"])
        password = made(tmp_path)[f"{user['name']}/amqp-password"].encode()
        assert hashlib.sha256(kept[:4] + password).digest() == kept[4:]
    assert {user["name"] for user in told["users"]} == {one["user"] for one in told["permissions"]}
    assert ["antiphon-subscriptions"] == [policy["name"] for policy in told["policies"]]
    assert not any(password in json.dumps(told) for password in made(tmp_path).values())


def test_redis_is_told_hashes(tmp_path: Path) -> None:
    """The users' file has no comment, which Redis would refuse, and no password."""
    run(tmp_path)
    lines = (tmp_path / "redis" / "users.acl").read_text().splitlines()

    assert all(line.startswith("user ") for line in lines)
    password = made(tmp_path)["invalidator/redis-password"]
    digest = hashlib.sha256(password.encode()).hexdigest()
    assert any(line.startswith(f"user invalidator on #{digest} ~") for line in lines)
    assert "PASSWORD" not in "".join(lines)


def test_redis_can_read_its_own_data(tmp_path: Path) -> None:
    """Nobody logs in as ``default``, which has every right: as it Redis reads transactions."""
    run(tmp_path)
    (line,) = (
        line
        for line in (tmp_path / "redis" / "users.acl").read_text().splitlines()
        if line.startswith("user default ")
    )

    assert line == "user default off resetpass ~* &* +@all"


def test_passwords_that_are_given_are_taken(tmp_path: Path) -> None:
    """A given password is used as it is."""
    run(tmp_path, REDIS_PASSWORD='it\'s "mine" $HOME')

    assert made(tmp_path)["program/redis-password"] == 'it\'s "mine" $HOME'


def test_another_password_later_is_refused(tmp_path: Path) -> None:
    """The servers that run would not know it, so it is said, without showing either."""
    run(tmp_path, RABBITMQ_PASSWORD="first-one")

    done = run(tmp_path, RABBITMQ_PASSWORD="second-one")

    assert done.returncode == 1
    assert "RABBITMQ_PASSWORD that is given is not the one of the first start" in done.stderr
    assert "rotate program" in done.stderr
    assert "-one" not in done.stderr
    assert made(tmp_path)["program/amqp-password"] == "first-one"


def test_one_account_gets_another_password(tmp_path: Path) -> None:
    """``rotate`` makes those of one account anew, tells the servers, and leaves the others."""
    run(tmp_path)
    before, told = made(tmp_path), definitions(tmp_path)
    assert run(tmp_path, "rotate", "recorder").returncode == 0

    after = made(tmp_path)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"recorder/amqp-password"}
    assert told != definitions(tmp_path)


@pytest.mark.parametrize("words", [("rotate", "nobody"), ("show", "nobody")])
def test_nobody_has_no_password(tmp_path: Path, words: tuple[str, str]) -> None:
    """A name that is no account's is an error in one line."""
    run(tmp_path)
    done = run(tmp_path, *words)

    assert done.returncode == 1
    assert "'nobody'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_program_is_shown_what_it_needs(tmp_path: Path) -> None:
    """``show`` prints lines for a shell, with the ports that are published."""
    run(tmp_path, RABBITMQ_PASSWORD="p/w $1")
    lines = run(tmp_path, "show", "program", AMQP_PORT="25672").stdout.splitlines()

    exported = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    assert exported["ANTIPHON_AMQP_URL"] == "amqp://program:p%2Fw%20%241@127.0.0.1:25672"
    assert exported["ANTIPHON_REDIS_URL"].endswith("@127.0.0.1:6379")
    assert exported["CATALOGUE"] == exported["ANTIPHON_REDIS_URL"] + "/0?namespace=catalogue"


def test_the_operators_container_reads_urls(tmp_path: Path) -> None:
    """The command line in it finds the servers by their names in the network."""
    run(tmp_path)
    place = tmp_path / "operator"

    assert (place / "ANTIPHON_AMQP_URL").read_text().endswith("@rabbitmq")
    assert (place / "ANTIPHON_REDIS_URL").read_text().endswith("@redis")
    assert (place / "CATALOGUE").read_text().endswith("@redis/0?namespace=catalogue")


def test_a_wrong_word_is_told(tmp_path: Path) -> None:
    """Whoever calls it wrongly is told how."""
    done = run(tmp_path, "remove")

    assert done.returncode == 2
    assert "usage: make_secrets.py" in done.stderr
