"""Which node of a cluster is tried next, and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.errors import BrokerRefused, BrokerUnavailable
from antiphon.messaging.amqp_address import parse_address
from antiphon.messaging.amqp_route import MAX_REFUSAL_S, Route

GONE = BrokerUnavailable("gone")
REFUSED = BrokerRefused("wrong password")


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ports_tried(route: Route, count: int, error: Exception = GONE) -> list[int]:
    """Fail *count* times, and return the ports that were tried."""
    ports = []
    for _ in range(count):
        address = route.choose()
        assert address is not None
        ports.append(address.port)
        route.failed(address, error)  # type: ignore[arg-type]
    return ports


def test_nodes_take_turns(clock: Clock) -> None:
    """The first of the URL is tried first, then the others, round and round."""
    route = Route(parse_address("amqp://a:1,b:2,c:3"), clock)

    assert [1, 2, 3, 1, 2] == ports_tried(route, 5)


def test_pause_after_a_round(clock: Clock) -> None:
    """The next node is tried at once; each round is followed by a longer pause, and told."""
    route = Route(parse_address("amqp://a:1,b:2"), clock)
    outcomes = [route.failed(address, GONE) for _ in range(8) if (address := route.choose())]

    told = [report is not None for _, report in outcomes]
    assert [False, True] * 4 == told
    assert [0.0] * 4 == [delay for delay, _ in outcomes[::2]]
    assert 0 < outcomes[1][0] < outcomes[7][0] <= 2


def test_summary_names_every_node(clock: Clock) -> None:
    """What is reported after a round says what each node said."""
    route = Route(parse_address("amqp://a:1,b:2"), clock)
    route.failed(parse_address("amqp://a:1"), BrokerUnavailable("a is gone"))

    _, report = route.failed(parse_address("amqp://b:2"), BrokerRefused("b refuses"))

    assert isinstance(report, BrokerUnavailable)
    assert "none of the 2 nodes can be used: a is gone; b refuses" == str(report)


def test_lost_connection_goes_to_the_next(clock: Clock) -> None:
    """A node that was lost is the least likely to be there."""
    route = Route(parse_address("amqp://a:1,b:2"), clock)
    address = route.choose()
    assert address is not None
    route.connected()
    clock.now_s += 100

    delay_s, report = route.failed(address, GONE)

    assert delay_s <= 0.1
    assert report is GONE
    assert [2] == ports_tried(route, 1)


def test_connections_that_break_at_once_are_paused(clock: Clock) -> None:
    """Nodes that let us in and throw us out are not hammered."""
    route = Route(parse_address("amqp://a:1,b:2"), clock)
    delays = []
    for _ in range(20):
        address = route.choose()
        assert address is not None
        route.connected()
        delays.append(route.failed(address, GONE)[0])

    assert sum(delays) > 5


def test_refusing_node_is_left_alone(clock: Clock) -> None:
    """A node that refuses is asked again after 1 s, 2 s, and at last once a minute."""
    route = Route(parse_address("amqp://a:1"), clock)
    tried_at = []
    while clock.now_s < 1600:
        if (address := route.choose()) is None:
            clock.now_s += route.pause_s()
            continue
        tried_at.append(clock.now_s - 1000)
        route.failed(address, REFUSED)

    assert 14 <= len(tried_at) <= 17
    assert [0, 1, 3, 7] == pytest.approx(tried_at[:4], abs=0.2)
    assert pytest.approx(MAX_REFUSAL_S, abs=2.1) == tried_at[-1] - tried_at[-2]


def test_others_go_on_while_one_refuses(clock: Clock) -> None:
    """The refusal of one node keeps nobody from the next."""
    route = Route(parse_address("amqp://a:1,b:2"), clock)
    first = route.choose()
    assert first is not None
    route.failed(first, REFUSED)

    assert [2, 2, 2] == ports_tried(route, 3)


def test_replaced_password_is_tried_at_once(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret that was rotated is read before the next attempt, which does not wait."""
    secret = tmp_path / "password"
    secret.write_text("old\n")
    monkeypatch.setenv("ANTIPHON_AMQP_PASSWORD_FILE", str(secret))
    route = Route(parse_address("amqp://me@a:1"), clock)
    old = route.choose()
    assert old is not None
    route.failed(old, REFUSED)
    assert route.choose() is None

    secret.write_text("new\n")
    new = route.choose()

    assert new is not None
    assert ("old", "new") == (old.password, new.password)


def test_vanished_secret_keeps_the_old_one(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While a file is being replaced, what it said before counts, and that is logged."""
    secret = tmp_path / "password"
    secret.write_text("old")
    monkeypatch.setenv("ANTIPHON_AMQP_PASSWORD_FILE", str(secret))
    route = Route(parse_address("amqp://me@a:1"), clock)
    secret.unlink()

    passwords = [address.password for _ in range(3) if (address := route.choose())]

    assert ["old"] * 3 == passwords
    assert 1 == caplog.text.count(str(secret))


def test_chance_is_the_same_for_all_of_a_process() -> None:
    """order=random shuffles the nodes, and both connections of a bus in the same way."""
    hosts = ",".join(f"h:{port}" for port in range(1, 30))
    url = f"amqp://{hosts}?order=random"
    one, other = (ports_tried(Route(parse_address(url)), 29) for _ in range(2))

    assert one == other
    assert one != sorted(one) == list(range(1, 30))
