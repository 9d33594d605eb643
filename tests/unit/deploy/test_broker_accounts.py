"""One account a service at the broker, and what each may do there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from antiphon.messaging.amqp_rights import patterns

ACCOUNTS = json.loads((Path(__file__).parents[3] / "deploy" / "rabbitmq-accounts.json").read_text())
RIGHTS = {one["user"]: one for one in ACCOUNTS["permissions"]}

#: What every bus has: its exchanges and its own queue.
BUS = ["antiphon.events", "antiphon.events.topic", "amq.gen-x"]
RECORDERS = ["antiphon.sub.recorder", "antiphon.retry.recorder"]
ORDERS = ["antiphon.sub.orders", "antiphon.retry.orders", "antiphon.sub.recorder2"]
DEAD = "antiphon.dead"
#: Queues that an account has besides.
OWN = {
    "invalidator": [],
    "store-server": [],
    "recorder": RECORDERS,
    "program": ORDERS,
    "operator": [*RECORDERS, *ORDERS],
}
RIGHT_NAMES = ("configure", "write", "read")
FOREIGN = ["shop.events", "antiphons.events", "antiphon", "amq.topic", "amq.direct", "other"]


def reach(user: str, right: str, names: list[str]) -> list[str]:
    """Return those of *names* that *user* has the *right* for."""
    return [name for name in names if re.search(RIGHTS[user][right], name)]


def everything() -> list[str]:
    """Return the name of everything that there may be, besides the default exchange."""
    return sorted([*BUS, *RECORDERS, *ORDERS, *FOREIGN, DEAD])


@pytest.mark.parametrize("user", OWN)
def test_an_account_reaches_its_own(user: str) -> None:
    """Each has its bus and its own queues, puts dead letters aside, and has nothing else."""
    own = [*BUS, *OWN[user]]
    read = [*own, DEAD] if user == "operator" else own

    assert sorted([*own, DEAD]) == reach(user, "configure", everything())
    assert sorted([*own, DEAD]) == reach(user, "write", everything())
    assert sorted(read) == reach(user, "read", everything())


@pytest.mark.parametrize("user", OWN)
def test_the_default_exchange_is_written_to_only(user: str) -> None:
    """Dead letters go through it; nobody declares or reads it."""
    name = ["amq.default"]

    assert ([], name, []) == tuple(reach(user, right, name) for right in RIGHT_NAMES)


def test_the_operator_may_what_errors_name() -> None:
    """The operator's rights are those of a user of the whole system."""
    names = [*everything(), "amq.default"]

    for right, pattern in zip(RIGHT_NAMES, patterns("antiphon"), strict=True):
        assert [n for n in names if re.search(pattern, n)] == reach("operator", right, names)


def test_nobody_is_an_administrator() -> None:
    """Users and permissions are changed where the files are, not over the network."""
    tags = {user["name"]: user["tags"] for user in ACCOUNTS["users"] if user["tags"]}

    assert tags == {"operator": ["monitoring"]}
    assert {user["name"] for user in ACCOUNTS["users"]} == set(RIGHTS) == set(OWN)
