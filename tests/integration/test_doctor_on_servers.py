"""``antiphon doctor`` on RabbitMQ and Redis."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from broker_users import add_user

from antiphon import BaseEvent, open_bus
from antiphon.cli import doctor_broker
from antiphon.cli.main import run
from antiphon.messaging.amqp_rights import patterns
from antiphon.testing.servers import RabbitMQ, Redis

Doctor = Callable[..., dict[str, Any]]

#: A system of these tests; its exchange stays on the broker that they share.
SYSTEM = "doctored"

#: What a bus without durable subscriptions needs.
BUS_ONLY = rf"^({SYSTEM}\.events.*|amq\.gen.*)$"


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Runs the command, and returns what it says, by check."""
    for name in ("ANTIPHON_AMQP_URL", "ANTIPHON_REDIS_URL", "ANTIPHON_ARCHIVE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor_broker, "CANARIES", 2)

    def examine(*arguments: str) -> dict[str, Any]:
        run(["doctor", "--wait", "0.3", "--json", *arguments])
        told = json.loads(capsys.readouterr().out)
        return {one["check"]: one for one in told["findings"]}

    return examine


def login(broker: RabbitMQ, rights: tuple[str, str, str]) -> str:
    """Return the URL of a user with *rights*."""
    add_user(broker, "patient", "sesame", rights)
    return f"amqp://patient:sesame@127.0.0.1:{broker.url.rpartition(':')[2]}"


def test_a_system_at_work(amqp_url: str, redis_url: str, system: str, doctor: Doctor) -> None:
    """Everything is well, and nothing is left behind at the broker."""
    with open_bus(amqp_url, system=system) as bus:
        bus.subscribe("audit", BaseEvent, lambda event: None).wait_ready(20)
        servers = ["--url", amqp_url, "--redis", redis_url]
        found = doctor(*servers, "--system", system, "--wait", "1")

    assert [] == [one for one in found.values() if one["status"] in ("warning", "wrong")]
    assert "RabbitMQ" == found["version"]["facts"].get("product", "RabbitMQ")
    assert 1 == found["consumers"]["facts"]["count"]


def test_the_documented_rights_are_enough_for_a_doctor(
    tls_broker: RabbitMQ, doctor: Doctor
) -> None:
    """A user of one system may do all that programs do."""
    url = login(tls_broker, patterns(SYSTEM))

    assert "ok" == doctor("--url", url, "--system", SYSTEM)["rights"]["status"]


@pytest.mark.parametrize(
    ("lacks", "has", "missing"),
    [
        (0, BUS_ONLY, f"configure the queue '{SYSTEM}.sub.doctor-"),
        (1, BUS_ONLY, f"write the queue '{SYSTEM}.sub.doctor-"),
        (1, patterns(SYSTEM)[0], "write the exchange 'amq.default'"),
        (2, BUS_ONLY, f"read the queue '{SYSTEM}.sub.doctor-"),
    ],
)
def test_a_right_that_is_missing(
    tls_broker: RabbitMQ, doctor: Doctor, lacks: int, has: str, missing: str
) -> None:
    """A bus alone works with less; what durable subscriptions lack is told, and how to grant it."""
    rights = [*patterns(SYSTEM)]
    rights[lacks] = has
    found = doctor(
        "--url", login(tls_broker, (rights[0], rights[1], rights[2])), "--system", SYSTEM
    )

    assert "ok" == found["delivery"]["status"]
    assert ("warning", True, True) == (
        found["rights"]["status"],
        missing in found["rights"]["text"],
        "rabbitmqctl set_permissions" in found["rights"]["advice"],
    )


def test_who_may_not_publish(
    tls_broker: RabbitMQ, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is delivered then: the reason is told, and nobody is asked for nothing."""
    monkeypatch.setattr(doctor_broker, "SHORT_PATIENCE_S", 0.3)
    configure, _, read = patterns(SYSTEM)
    with open_bus(tls_broker.url, system=SYSTEM):
        pass  # its exchange is there
    rights = (configure, r"^(amq\.gen.*|amq\.default)$", read)
    found = doctor("--url", login(tls_broker, rights), "--system", SYSTEM)

    assert ("wrong", "skipped") == (found["delivery"]["status"], found["present"]["status"])
    assert f"write the exchange '{SYSTEM}.events'" in found["delivery"]["text"]


def test_who_may_not_log_in(tls_broker: RabbitMQ, doctor: Doctor) -> None:
    """It is said, without the password."""
    login(tls_broker, patterns(SYSTEM))
    port = tls_broker.url.rpartition(":")[2]
    found = doctor("--url", f"amqp://patient:wrong-one@127.0.0.1:{port}")

    assert ("wrong", True) == (
        found["reachable"]["status"],
        "does not accept user 'patient'" in found["reachable"]["text"],
    )
    assert "wrong-one" not in str(found)


def test_a_redis_that_loses_data(redis_server: Redis, doctor: Doctor) -> None:
    """Without a log, and with eviction, it is no place for stores."""
    redis_server.command("CONFIG", "SET", "appendonly", "no")
    redis_server.command("CONFIG", "SET", "maxmemory", "100mb")
    redis_server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    found = doctor("--redis", redis_server.url)

    assert ("wrong", "wrong", "ok", "ok") == (
        found["persistence"]["status"],
        found["eviction"]["status"],
        found["reachable"]["status"],
        found["clock"]["status"],
    )


def test_users_of_redis_with_few_rights(redis_server: Redis, doctor: Doctor) -> None:
    """Who may not ask is told what was not looked at; who may not run scripts cannot use stores."""
    redis_server.command("ACL", "SETUSER", "few", "on", ">sesame", "~*", "+@all", "-info")
    redis_server.command("ACL", "SETUSER", "none", "on", ">sesame", "~*", "+@all", "-@scripting")
    few, none = (
        doctor("--redis", redis_server.url.replace("://", f"://{user}:sesame@"))
        for user in ("few", "none")
    )

    assert ("skipped", "ok") == (few["settings"]["status"], few["rights"]["status"])
    assert "wrong" == none["rights"]["status"]
    assert "sesame" not in str((few, none))
