"""The first start: what is there, who may come in, and what nobody can read."""

from __future__ import annotations

import base64
import json
import subprocess

import pytest

from tests.compose.stack import ALL, OURS, ROOT, Stack, request

#: Seconds until all are healthy.
UP_WITHIN_S = 60.0

MODULES = {
    "invalidator": "services.invalidator",
    "store-server": "services.store_server",
    "recorder": "services.recorder",
}


def test_all_are_healthy_within_a_minute(stack: Stack) -> None:
    """`docker compose up` brings everything up, quickly."""
    print(f"all healthy after {stack.up_s:.1f} s")  # noqa: T201 - shown by pytest -s

    assert {"healthy"} == {stack.health(name) for name in ALL}
    assert stack.up_s < UP_WITHIN_S


def test_each_service_says_that_it_is_ready(stack: Stack) -> None:
    """/livez, /readyz and /metrics answer."""
    for service in OURS:
        assert 200 == stack.get(service, "/livez").status
        answer = stack.ready(service)
        assert (200, True) == (answer.status, answer.json()["ready"])
        metrics = stack.get(service, "/metrics").body.decode()
        assert "antiphon_bus_ready 1.0" in metrics


def test_ports_are_for_this_machine_only(stack: Stack) -> None:
    """Docker publishes each port on the loopback interface, as it was told."""
    published = []
    for service in ALL:
        ports = stack.inspect(service)["NetworkSettings"]["Ports"]
        published += [one for bound in ports.values() for one in bound or ()]

    assert {"127.0.0.1"} == {one["HostIp"] for one in published}
    assert sorted(stack.ports.values()) == sorted(int(one["HostPort"]) for one in published)


@pytest.mark.parametrize("service", OURS)
def test_a_container_can_change_nothing(stack: Stack, service: str) -> None:
    """It is no root, has no capabilities, and its root is read only."""
    places = "/x /opt/x /opt/antiphon/x /etc/x"
    script = f"id -u; grep CapEff /proc/self/status; touch {places} 2>&1; true"
    user, capabilities, *refused = stack.execute(service, "sh", "-c", script).splitlines()

    assert "10001" == user
    assert 0 == int(capabilities.split()[1], 16)
    assert 4 == len(refused)
    assert all("Read-only file system" in line for line in refused)


def test_each_container_has_its_own_secrets_only(stack: Stack) -> None:
    """A service that is taken over gives away no other account."""
    found = {name: stack.execute(name, "ls", "/secrets").split() for name in OURS}

    assert found["invalidator"] == ["amqp-password", "redis-password"]
    assert found["recorder"] == ["amqp-password"]
    assert found["store-server"] == ["amqp-password", "redis-password", "token"]
    own = {stack.execute(name, "cat", "/secrets/amqp-password") for name in OURS}
    assert 3 == len(own)


def test_no_password_is_to_be_seen(stack: Stack) -> None:
    """Neither logs, nor what Docker shows of containers and image, nor effective settings."""
    accounts = ("invalidator", "store-server", "recorder", "program", "operator")
    passwords = {
        text.rpartition("@")[0].rpartition(":")[2] or text
        for account in accounts
        for text in stack.secrets(account).values()
    }
    history = ["docker", "history", "--no-trunc", "antiphon"]
    shown = [
        stack.compose("logs", "--no-color"),
        *(json.dumps(stack.inspect(name)) for name in (*ALL, "passwords")),
        subprocess.run(history, capture_output=True, text=True, check=True).stdout,
        *(stack.execute(n, "python", "-m", m, "--check-config") for n, m in MODULES.items()),
    ]

    assert len(passwords) >= 9
    assert min(map(len, passwords)) == 48
    assert [] == [text for text in shown if any(password in text for password in passwords)]


def test_users_and_policies_are_those_of_the_files(stack: Stack) -> None:
    """RabbitMQ has the accounts of deploy/, no guest, and the policy on durable queues."""
    accounts = json.loads((ROOT / "deploy" / "rabbitmq-accounts.json").read_text())

    def control(*words: str) -> list[dict[str, object]]:
        words = ("rabbitmqctl", "-q", "--formatter=json", *words)
        told: list[dict[str, object]] = json.loads(stack.execute("rabbitmq", *words))
        return told

    assert sorted(one["name"] for one in accounts["users"]) == sorted(
        str(one["user"]) for one in control("list_users")
    )
    rights = {one["user"]: one for one in control("list_permissions")}
    for one in accounts["permissions"]:
        wanted = {right: one[right] for right in ("configure", "write", "read")}
        assert wanted == {right: rights[one["user"]][right] for right in wanted}
    queues = {one["name"]: one["policy"] for one in control("list_queues", "name", "policy")}
    assert "antiphon-subscriptions" == queues["antiphon.sub.recorder"]


def test_the_next_up_changes_nothing(stack: Stack) -> None:
    """The same containers go on, with the same passwords."""
    before = {name: (stack.inspect(name)["Id"], stack.secrets("program")) for name in ALL}
    stack.compose("up", "-d")

    assert before == {name: (stack.inspect(name)["Id"], stack.secrets("program")) for name in ALL}
    stack.wait_healthy()


def test_the_doctor_finds_all_well(stack: Stack) -> None:
    """`docker compose run --rm doctor` looks at everything, and nothing is wrong."""
    told = json.loads(stack.run("doctor", "--json"))

    assert [] == [one for one in told["findings"] if one["status"] == "wrong"]
    places = " ".join(str(one) for one in told["findings"])
    assert all(f"{service}:8080" in places for service in OURS)


def test_the_management_is_the_operators(stack: Stack) -> None:
    """RabbitMQ's pages let the operator look, and nobody else in."""
    url = f"http://127.0.0.1:{stack.ports['ANTIPHON_RABBITMQ_UI_PORT']}/api"

    def status(account: str, method: str, path: str, body: bytes | None = None) -> int:
        words = {"Authorization": _basic(account, _password(stack, account))}
        return request(method, url + path, body, **words).status

    assert 200 == status("operator", "GET", "/queues")
    assert status("operator", "PUT", "/users/eve", b'{"password":"x","tags":""}') in (401, 403)
    assert status("operator", "GET", "/definitions") in (401, 403)
    for account in ("program", "recorder", "invalidator", "store-server"):
        assert 401 == status(account, "GET", "/queues")


def _password(stack: Stack, account: str) -> str:
    return stack.secrets(account)["ANTIPHON_AMQP_URL"].rpartition("@")[0].rpartition(":")[2]


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
