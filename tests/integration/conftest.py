"""Brokers that are not like the others: one that speaks TLS, and one that is impatient."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from broker_users import add_user
from bus_helpers import PATIENCE_S

from antiphon.testing.broker_control import set_patience
from antiphon.testing.servers import RabbitMQ, TLSFiles, rabbitmq

#: A user whom the broker knows by password, and by the common name of a certificate.
TLS_USER, TLS_PASSWORD = "billing", "wheat-field"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with PEM files: of an authority, of its broker, of clients good and bad."""
    folder = tmp_path_factory.mktemp("tls")
    ours, other = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other-ca.pem")
    broker = ours.issue_cert("localhost")
    broker.private_key_pem.write_to_path(folder / "broker-key.pem")
    broker.cert_chain_pems[0].write_to_path(folder / "broker.pem")
    long_ago = datetime(2021, 1, 1, tzinfo=UTC)
    for name, leaf in {
        "client": ours.issue_cert("billing@example.org", common_name=TLS_USER),
        "unknown": ours.issue_cert("nobody@example.org", common_name="nobody"),
        "stranger": other.issue_cert("billing@example.org", common_name=TLS_USER),
        "expired": ours.issue_cert("billing@example.org", common_name=TLS_USER, not_after=long_ago),
    }.items():
        leaf.private_key_pem.write_to_path(folder / f"{name}-key.pem")
        leaf.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    return folder


@pytest.fixture(scope="session")
def tls_broker(certificates: Path) -> Iterator[RabbitMQ]:
    """A RabbitMQ of the tests' own with a TLS listener, too; it is shared and not to be killed."""
    files = TLSFiles(
        certificates / "ca.pem", certificates / "broker.pem", certificates / "broker-key.pem"
    )
    with rabbitmq(given=False, tls=files) as broker:
        add_user(broker, TLS_USER, TLS_PASSWORD)
        yield broker


@pytest.fixture
def impatient_url(broker: RabbitMQ, broker_url: str) -> Iterator[str]:
    """URL of a broker that waits for ``PATIENCE_S`` only."""
    set_patience(broker, PATIENCE_S)
    yield broker_url
    set_patience(broker, None)
