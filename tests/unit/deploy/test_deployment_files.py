"""What docker compose is given: no secrets, no open ports, and the names that the code uses."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from antiphon import open_bus
from antiphon.archive.recorder import Recorder
from antiphon.messaging.amqp_rights import patterns
from antiphon.testing.servers import containers
from services.invalidator.metrics import cache_metrics
from services.invalidator.settings import InvalidatorSettings
from services.recorder.archive import KeptArchive
from services.recorder.metrics import archive_metrics, recorder_metrics
from services.recorder.settings import RecorderSettings
from services.skeleton.metrics import bus_metrics
from services.skeleton.settings import load
from services.store_server.settings import StoreServerSettings

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"

COMPOSE = (ROOT / "docker-compose.yml").read_text()
LOADED = yaml.safe_load(COMPOSE)
SERVICES: dict[str, dict[str, Any]] = LOADED["services"]


def test_ports_are_published_on_the_loopback_interface() -> None:
    """No port is reachable from other machines."""
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert len(published) == 7
    assert all(port.startswith("127.0.0.1:${ANTIPHON_") for port in published)


def test_private_containers_use_the_same_images() -> None:
    """The images of tests are those of docker-compose.yml: one download serves both."""
    images = set(re.findall(r"^ +image: (\S+)$", COMPOSE, re.MULTILINE))

    assert images == {containers.RABBITMQ_IMAGE, containers.REDIS_IMAGE, "antiphon"}


def test_redis_keeps_everything() -> None:
    """The compose file demands what stores rely on."""
    command = " ".join(SERVICES["redis"]["command"])

    assert "--appendonly yes --appendfsync everysec" in command
    assert "--maxmemory-policy noeviction" in command


def test_no_password_is_in_a_file() -> None:
    """Passwords are references to the environment or to files in volumes."""
    sample = (ROOT / ".env.example").read_text()
    settings = "".join(path.read_text() for path in DEPLOY.glob("*.toml"))

    assert re.findall(r"^[^#\n]", sample, re.MULTILINE) == []
    assert re.findall(r"(?:PASSWORD|TOKEN): (.*)", COMPOSE) == [
        "${RABBITMQ_PASSWORD:-}",
        "${REDIS_PASSWORD:-}",
        "${STORE_TOKEN:-}",
    ]
    assert re.findall(r'^token = "(.*)"', settings, re.MULTILINE) == ["${STORE_TOKEN}"]
    assert set(re.findall(r":([^:@/]+)@", settings)) == {"${REDIS_PASSWORD}"}
    assert "password" not in (DEPLOY / "rabbitmq-accounts.json").read_text()


def test_both_kinds_of_compose_read_the_file() -> None:
    """What only one of docker-compose 1.29 and docker compose v2 knows is not there."""
    keys = {key for key in LOADED if not key.startswith("x-")}
    used = {key for service in SERVICES.values() for key in service}

    assert keys == {"services", "volumes"}
    assert not used & {"develop", "configs", "secrets", "pull_policy", "extends", "deploy"}


OURS = ["passwords", "invalidator", "store-server", "recorder", "antiphon", "doctor"]


@pytest.mark.parametrize("name", OURS)
def test_containers_of_ours_can_change_nothing(name: str) -> None:
    """The root is read only, and there are no capabilities."""
    service = SERVICES[name]

    assert service["image"] == "antiphon"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add"} & set(service)
    assert "user" not in service or name == "passwords"


def test_each_container_has_its_own_secrets() -> None:
    """The volume of an account is mounted by its service, to be read."""
    found = {
        name: [each for each in service["volumes"] if each.startswith("secrets-")]
        for name, service in SERVICES.items()
        if name != "passwords"
    }

    operators = ["secrets-operator:/secrets:ro"]
    assert {"antiphon": operators, "doctor": operators} == {
        name: found.pop(name) for name in ("antiphon", "doctor")
    }
    assert found == {name: [f"secrets-{name}:/secrets:ro"] for name in found}


def test_services_get_time_to_end() -> None:
    """A service gives up by itself before Docker kills it."""
    for name in ("invalidator", "store-server", "recorder"):
        assert SERVICES[name]["stop_grace_period"] == "10s"
        assert SERVICES[name]["restart"] == "unless-stopped"
    assert InvalidatorSettings.model_fields["stop_timeout_s"].default < 10


def test_the_caches_file_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings that are shipped can be loaded once the passwords are there."""
    for name in [name for name in os.environ if name.startswith("ANTIPHON_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ANTIPHON_AMQP_PASSWORD", "rabbit-pw")
    monkeypatch.setenv("REDIS_PASSWORD", "p/w")

    settings, secrets = load(InvalidatorSettings, DEPLOY / "caches.toml")

    assert settings.caches[0].title == "prices"
    assert (
        "redis://invalidator:p%2Fw@redis/1?namespace=prices-cache" == settings.caches[0].cache_url
    )
    assert {"p/w", "rabbit-pw"} <= secrets


def test_the_stores_file_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store server's settings can be loaded, and its user has the token that was made."""
    for name in [name for name in os.environ if name.startswith("ANTIPHON_")]:
        monkeypatch.delenv(name)
    for name in ("REDIS_PASSWORD", "STORE_TOKEN"):
        monkeypatch.setenv(name, "0123456789abcdef")

    settings, secrets = load(StoreServerSettings, DEPLOY / "stores.toml")

    assert ["catalogue"] == list(settings.stores)
    assert "0123456789abcdef" in secrets


def test_the_recorders_file_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder's settings can be loaded; its queue and its archive are those of the stack."""
    for name in [name for name in os.environ if name.startswith("ANTIPHON_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ANTIPHON_AMQP_PASSWORD", "rabbit-pw")

    settings, _ = load(RecorderSettings, DEPLOY / "recorder.toml")

    assert "recorder" == settings.subscription
    assert settings.archive_url == SERVICES["recorder"]["environment"]["ANTIPHON_ARCHIVE_URL"]
    assert "archive:/var/lib/antiphon" in SERVICES["recorder"]["volumes"]


def test_a_user_gets_what_a_bus_needs(tmp_path: Path) -> None:
    """rabbitmq_user.sh grants the rights that errors name, and gives no password as argument."""
    log = tmp_path / "log"
    control = tmp_path / "rabbitmqctl"
    control.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {log}\ncat >> {log}.input\n')
    control.chmod(0o700)
    subprocess.run(
        ["sh", DEPLOY / "rabbitmq_user.sh", "my-shop.eu", "clerk", "trade"],
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
        ["sh", DEPLOY / "rabbitmq_user.sh", "shop"],
        env={"PATH": os.environ["PATH"], "RABBITMQCTL": "/bin/false"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )

    assert 2 == done.returncode
    assert "rabbitmq_user.sh SYSTEM USER [VIRTUAL_HOST]" in done.stderr


def test_policies_reach_what_is_durable_only() -> None:
    """The backstop bounds subscriptions and isolation queues of every system, and no others."""
    (policy,) = json.loads((DEPLOY / "rabbitmq-policies.json").read_text())["policies"]

    names = ["antiphon.sub.orders", "my-shop.eu.retry.a.b", "amq.gen-x", "antiphon.dead", "other"]
    assert names[:2] == [name for name in names if re.search(policy["pattern"], name)]


def test_alarms_are_of_figures_that_exist() -> None:
    """An alarm of a figure that nobody has is never given."""
    rules = (DEPLOY / "alarms.yml").read_text()
    archive = KeptArchive("sqlite:///nowhere/archive.db")
    with open_bus("memory://alarms") as bus:
        families = [*bus_metrics(bus), *cache_metrics([]), *archive_metrics(archive)]
        families += recorder_metrics(Recorder(bus, archive))
    figures = {each.name + ("_total" if each.type == "counter" else "") for each in families}

    named = set(re.findall(r"\bantiphon_\w+", rules))
    assert {"antiphon_outbox_lag_seconds", "antiphon_outbox_position_lost_total"} < named
    assert set() == named - figures


def test_each_alarm_is_explained() -> None:
    """Whoever is woken finds what to do."""
    rules = (DEPLOY / "alarms.yml").read_text()
    howto = (ROOT / "docs" / "how-to" / "run-with-compose.md").read_text()

    alarms = re.findall(r"alert: (\w+)", rules)
    assert 9 == len(alarms)
    assert alarms == [alarm for alarm in alarms if f"| `{alarm}` |" in howto]
