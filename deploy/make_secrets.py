#!/usr/bin/env python3
"""Makes the passwords of docker-compose.yml's accounts, and what the servers are told of them.

    make_secrets.py               at each start: makes those that are not there yet
    make_secrets.py rotate NAME   makes another one for the account NAME
    make_secrets.py show NAME     prints what a program on this machine needs as NAME

Each account has a folder of its own under ``/secrets``, which only its container mounts:
``amqp-password``, ``redis-password``, and ``token`` for the store server.  RabbitMQ and Redis
get hashes: ``rabbitmq/definitions.json`` from ``rabbitmq-accounts.json`` and
``rabbitmq-policies.json``, ``redis/users.acl`` from ``redis-users.acl``.

The standard library only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

AMQP, REDIS, TOKEN = "amqp-password", "redis-password", "token"

#: (account, file) -> variable with a password that was given; all others are made at random.
GIVEN = {
    ("program", AMQP): "RABBITMQ_PASSWORD",
    ("program", REDIS): "REDIS_PASSWORD",
    ("store-server", TOKEN): "STORE_TOKEN",
}

#: The account of the command line in its own container, which takes URLs from files.
OPERATOR = "operator"

#: Variables with URLs of stores, for `antiphon store … env:NAME`, and which store of Redis it is.
STORES = {"CATALOGUE": "/0?namespace=catalogue"}

#: Bytes of a password that is made.
LENGTH = 24

_REDIS_USER = re.compile(r"^user (\S+) on #PASSWORD ", re.MULTILINE)


class BadSecret(Exception):
    """What was asked for cannot be done."""


def main(argv: list[str]) -> int:
    """Do what the command line says; return the exit status."""
    here = Path(os.environ.get("DEPLOY_FOLDER") or Path(__file__).parent)
    folder = Path(os.environ.get("SECRETS_FOLDER") or "/secrets")
    try:
        match argv:
            case []:
                make(here, folder, os.environ)
            case ["rotate", name]:
                make(here, folder, os.environ, rotated=name)
            case ["show", name]:
                sys.stdout.write(show(folder, name, os.environ))
            case _:
                sys.stderr.write("usage: make_secrets.py [rotate ACCOUNT | show ACCOUNT]\n")
                return 2
    except BadSecret as exc:
        sys.stderr.write(f"passwords: {exc}\n")
        return 1
    return 0


def make(here: Path, folder: Path, given: Mapping[str, str], *, rotated: str | None = None) -> None:
    """Make the passwords that are missing, and write what the servers read.

    Args:
        here: where the accounts are named.
        folder: has a folder for each account, and for ``rabbitmq`` and ``redis``.
        given: variables with passwords, see ``GIVEN``.
        rotated: name of the account that gets new ones.

    Raises:
        BadSecret: one that is given is not the one that is there, or *rotated* is nobody.
    """
    accounts = json.loads((here / "rabbitmq-accounts.json").read_text())
    policies = json.loads((here / "rabbitmq-policies.json").read_text())
    rules = (here / "redis-users.acl").read_text()
    wanted = [(user["name"], AMQP) for user in accounts["users"]]
    wanted += [(name, REDIS) for name in _REDIS_USER.findall(rules)]
    wanted += [place for place in GIVEN if place[1] == TOKEN]
    names = sorted({name for name, _ in wanted})
    if rotated is not None and rotated not in names:
        raise BadSecret(f"there is no account {rotated!r} (known: {', '.join(names)})")
    found = {
        place: _secret(folder.joinpath(*place), GIVEN.get(place), given, is_new=place[0] == rotated)
        for place in wanted
    }
    _write(folder / "rabbitmq" / "definitions.json", _definitions(accounts, found) | policies)
    _write(folder / "redis" / "users.acl", _acl(rules, found))
    # Inside the network of the containers.
    for variable, url in _urls(folder / OPERATOR, OPERATOR, "rabbitmq", "redis").items():
        _write(folder / OPERATOR / variable, url)


def show(folder: Path, name: str, ports: Mapping[str, str]) -> str:
    """Return lines for a shell with what a program on this machine needs as *name*.

    Args:
        folder: see ``make``.
        name: of the account.
        ports: AMQP_PORT and REDIS_PORT, published on the loopback interface.

    Raises:
        BadSecret: it has nothing.
    """
    amqp = f"127.0.0.1:{ports.get('AMQP_PORT') or 5672}"
    redis = f"127.0.0.1:{ports.get('REDIS_PORT') or 6379}"
    lines = _urls(folder / name, name, amqp, redis)
    if (token := folder / name / TOKEN).exists():
        lines["STORE_TOKEN"] = token.read_text()
    if not lines:
        raise BadSecret(f"there are no passwords of {name!r}")
    return "".join(f"export {variable}={shlex.quote(text)}\n" for variable, text in lines.items())


def rabbitmq_hash(password: str, salt: bytes | None = None) -> str:
    """Return what RabbitMQ keeps of *password*: base64 of a salt of 4 bytes, and of SHA-256.

    https://www.rabbitmq.com/docs/passwords#computing-password-hash
    """
    salt = secrets.token_bytes(4) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _urls(place: Path, name: str, rabbitmq: str, redis: str) -> dict[str, str]:
    """Return the URLs of servers and stores by their variables, for an account's *place*."""
    found = {}
    if (place / AMQP).exists():
        found["ANTIPHON_AMQP_URL"] = f"amqp://{_login(place / AMQP, name)}@{rabbitmq}"
    if (place / REDIS).exists():
        url = f"redis://{_login(place / REDIS, name)}@{redis}"
        found["ANTIPHON_REDIS_URL"] = url
        found |= {variable: url + store for variable, store in STORES.items()}
    return found


def _login(path: Path, name: str) -> str:
    return f"{name}:{quote(path.read_text(), safe='')}"


def _definitions(accounts: dict[str, Any], found: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """Return *accounts* as RabbitMQ reads them, with the hash of each password."""
    users = [
        user
        | {
            "password_hash": rabbitmq_hash(found[user["name"], AMQP]),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
        }
        for user in accounts["users"]
    ]
    return accounts | {"users": users}


def _acl(rules: str, found: Mapping[tuple[str, str], str]) -> str:
    """Return the users as Redis reads them, which takes no comments."""
    lines = []
    for line in rules.splitlines():
        if not line.startswith("user "):
            continue
        if " #PASSWORD " in line:
            password = found[line.split()[1], REDIS]
            digest = hashlib.sha256(password.encode()).hexdigest()
            line = line.replace("#PASSWORD", f"#{digest}")
        lines.append(line)
    return "\n".join(lines) + "\n"


def _secret(path: Path, variable: str | None, given: Mapping[str, str], *, is_new: bool) -> str:
    """Return the password that is at *path*, or that is made now."""
    wish = given.get(variable, "") if variable else ""
    kept = path.read_text() if path.exists() else ""
    if kept and not is_new:
        if wish and wish != kept:
            raise BadSecret(
                f"the {variable} that is given is not the one of the first start, which stays;"
                f" for a new one: docker compose run --rm passwords rotate {path.parent.name},"
                " then docker compose restart"
            )
        return kept
    made = wish or secrets.token_hex(LENGTH)
    _write(path, made)
    return made


def _write(path: Path, content: str | dict[str, Any]) -> None:
    """Write *content* at *path*, all or nothing."""
    text = content if isinstance(content, str) else json.dumps(content, indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.new")
    partial.write_text(text)
    # Containers read as users of their own, and mount only what is theirs.
    partial.chmod(0o444)
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
