"""What docker compose is given: no secrets, no open ports, and the names that the code uses."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from antiphon import open_bus
from antiphon.messaging.amqp_rights import patterns
from antiphon.testing.servers import containers
from services.invalidator.metrics import cache_metrics
from services.invalidator.settings import InvalidatorSettings
from services.skeleton.metrics import bus_metrics
from services.skeleton.settings import load
from services.store_server.settings import StoreServerSettings

ROOT = Path(__file__).parents[3]

COMPOSE = (ROOT / "docker-compose.yml").read_text()


def make_passwords(folder: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """Run the script that the container ``passwords`` runs."""
    for name in ("rabbitmq", "redis", "store-server"):
        (folder / name).mkdir(exist_ok=True)
    environment = dict.fromkeys(("RABBITMQ_PASSWORD", "REDIS_PASSWORD", "STORE_TOKEN"), "")
    environment["PATH"] = os.environ["PATH"]
    return subprocess.run(
        ["sh", ROOT / "deploy" / "make_passwords.sh"],
        env=environment | given | {"PASSWORDS_FOLDER": str(folder)},
        capture_output=True,
        text=True,
    )


def test_ports_are_published_on_the_loopback_interface() -> None:
    """No port is reachable from other machines."""
    published = re.findall(r"^ +- (\S+:\d+)$", COMPOSE, re.MULTILINE)

    assert len(published) == 6
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_private_containers_use_the_same_images() -> None:
    """The images of tests are those of docker-compose.yml: one download serves both."""
    images = set(re.findall(r"^ +image: (\S+)$", COMPOSE, re.MULTILINE))

    assert images == {containers.RABBITMQ_IMAGE, containers.REDIS_IMAGE, "antiphon"}


def test_redis_keeps_everything() -> None:
    """The compose file demands what stores rely on."""
    assert "--appendonly yes" in COMPOSE
    assert "--maxmemory-policy noeviction" in COMPOSE


def test_no_password_is_in_a_file() -> None:
    """Passwords are references to the environment or to files in volumes."""
    sample = (ROOT / ".env.example").read_text()
    settings = "".join(path.read_text() for path in (ROOT / "deploy").glob("*.toml"))

    assert re.findall(r"^[^#\n]", sample, re.MULTILINE) == []
    assert re.findall(r"PASSWORD: (.*)", COMPOSE) == [
        "${RABBITMQ_PASSWORD:-}",
        "${REDIS_PASSWORD:-}",
    ]
    assert re.findall(r"TOKEN: (.*)", COMPOSE) == ["${STORE_TOKEN:-}"]
    assert re.findall(r'^token = "(.*)"', settings, re.MULTILINE) == ["${STORE_TOKEN}"]
    found = set(re.findall(r":([^:@/]+)@", settings))
    assert found == {"${RABBITMQ_PASSWORD}", "${REDIS_PASSWORD}"}


def test_the_caches_file_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings that are shipped can be loaded once the passwords are there."""
    for name in [name for name in os.environ if name.startswith("ANTIPHON_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RABBITMQ_PASSWORD", "p/w")
    monkeypatch.setenv("REDIS_PASSWORD", "p/w")

    settings, _ = load(InvalidatorSettings, ROOT / "deploy" / "caches.toml")

    assert settings.amqp_url == "amqp://antiphon:p%2Fw@rabbitmq"
    assert settings.caches[0].title == "prices"


def test_the_stores_file_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store server's settings can be loaded, and its user has the token that was made."""
    for name in [name for name in os.environ if name.startswith("ANTIPHON_")]:
        monkeypatch.delenv(name)
    for name in ("RABBITMQ_PASSWORD", "REDIS_PASSWORD", "STORE_TOKEN"):
        monkeypatch.setenv(name, "0123456789abcdef")

    settings, secrets = load(StoreServerSettings, ROOT / "deploy" / "stores.toml")

    assert ["catalogue"] == list(settings.stores)
    assert "0123456789abcdef" in secrets


def test_passwords_are_made_once(tmp_path: Path) -> None:
    """What was made at random at the first start stays at the next."""
    assert make_passwords(tmp_path).returncode == 0
    made = (tmp_path / "rabbitmq" / "password").read_text()
    assert re.fullmatch(r"[0-9a-f]{48}", made)
    others = [(tmp_path / name / "password").read_text() for name in ("redis", "store-server")]
    assert 3 == len({made, *others})

    make_passwords(tmp_path)

    assert (tmp_path / "rabbitmq" / "password").read_text() == made


def test_passwords_that_are_given_are_taken(tmp_path: Path) -> None:
    """A given password is used as it is."""
    make_passwords(tmp_path, REDIS_PASSWORD='it\'s "mine" $HOME')

    assert (tmp_path / "redis" / "password").read_text() == 'it\'s "mine" $HOME'


def test_another_password_later_is_refused(tmp_path: Path) -> None:
    """RabbitMQ would not know it, so it is said, without showing either."""
    make_passwords(tmp_path, RABBITMQ_PASSWORD="first-one")

    done = make_passwords(tmp_path, RABBITMQ_PASSWORD="second-one")

    assert done.returncode == 1
    assert "the password given for rabbitmq is not the one" in done.stderr
    assert "-one" not in done.stderr.replace("not the one", "")
    assert (tmp_path / "rabbitmq" / "password").read_text() == "first-one"


def test_a_user_gets_what_a_bus_needs(tmp_path: Path) -> None:
    """rabbitmq_user.sh grants the rights that errors name, and gives no password as argument."""
    log = tmp_path / "log"
    control = tmp_path / "rabbitmqctl"
    control.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {log}\ncat >> {log}.input\n')
    control.chmod(0o700)
    subprocess.run(
        ["sh", ROOT / "deploy" / "rabbitmq_user.sh", "my-shop.eu", "clerk", "trade"],
        env={"PATH": os.environ["PATH"], "RABBITMQCTL": str(control)},
        input="wheat-field\n",
        text=True,
        check=True,
    )

    words = log.read_text().splitlines()
    assert ["set_permissions", "-p", "trade", "clerk", *patterns("my-shop.eu")] == words[-7:]
    assert "wheat-field" not in words
    assert "wheat-field\n" == Path(f"{log}.input").read_text()


def test_a_user_without_a_system_is_none() -> None:
    """Who calls rabbitmq_user.sh wrongly is told how, and nothing is done."""
    done = subprocess.run(
        ["sh", ROOT / "deploy" / "rabbitmq_user.sh", "shop"],
        env={"PATH": os.environ["PATH"], "RABBITMQCTL": "/bin/false"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )

    assert 2 == done.returncode
    assert "rabbitmq_user.sh SYSTEM USER [VIRTUAL_HOST]" in done.stderr


def test_policies_reach_what_is_durable_only() -> None:
    """The backstop bounds subscriptions and isolation queues of every system, and no others."""
    (policy,) = json.loads((ROOT / "deploy" / "rabbitmq-policies.json").read_text())["policies"]

    names = ["antiphon.sub.orders", "my-shop.eu.retry.a.b", "amq.gen-x", "antiphon.dead", "other"]
    assert names[:2] == [name for name in names if re.search(policy["pattern"], name)]


def test_alarms_are_of_figures_that_exist() -> None:
    """An alarm of a figure that nobody has is never given."""
    rules = (ROOT / "deploy" / "alarms.yml").read_text()
    with open_bus("memory://alarms") as bus:
        families = [*bus_metrics(bus), *cache_metrics([])]
    figures = {each.name + ("_total" if each.type == "counter" else "") for each in families}

    named = set(re.findall(r"\bantiphon_\w+", rules))
    assert {"antiphon_outbox_lag_seconds", "antiphon_outbox_position_lost_total"} < named
    assert set() == named - figures


def test_each_alarm_is_explained() -> None:
    """Whoever is woken finds what to do."""
    rules = (ROOT / "deploy" / "alarms.yml").read_text()
    howto = (ROOT / "docs" / "how-to" / "run-with-compose.md").read_text()

    alarms = re.findall(r"alert: (\w+)", rules)
    assert 6 == len(alarms)
    assert alarms == [alarm for alarm in alarms if f"| `{alarm}` |" in howto]
