"""Where a play is given: a broker, networks, players, and the judgement afterwards."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.chaos.broker import ChaosBroker, start_broker
from tests.chaos.cast import Player
from tests.chaos.checker import check, summary
from tests.chaos.faults import Step, Victims, carry_out
from tests.chaos.history import History, Trouble
from tests.chaos.keeping import Part, keep, read
from tests.chaos.network import Network, ProxyNetwork, make_networks
from tests.chaos.verdict import Verdict

#: Seconds without a new event after which a subscription is taken to have everything.
QUIET_S = 2.0

#: Seconds between the declaration of a quorum queue and a kill of the broker: RabbitMQ 3.10,
#: killed within 0.5 s of it, never finds a leader for that queue again (tried with pika alone).
SETTLE_S = 2.0

#: Seconds that draining may take.
DRAIN_TIMEOUT_S = 90.0


class Stage:
    """Everything that a play needs, and its end.

    Args:
        parts: who plays.
        seed: of the players' own dice.
        networks: how many there are; parts name theirs by index.
        broker: one that may be tormented, on the loopback interface; None starts one.
        system: of all buses.
        report: takes lines about what goes on.

    Attributes:
        broker: the broker.
        networks: the ways to it.
        folder: where histories are.
        troubles: what was done so far.
        is_kept: whether histories stay although nothing was wrong.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        seed: int,
        *,
        networks: int = 2,
        broker: Any = None,
        system: str = "chaos",
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.system = system
        self.troubles: list[Trouble] = []
        self.is_kept = False
        self._dead = 0
        self._report = report
        self._never = threading.Event()
        self._began = self._declared_at = time.monotonic()
        self.folder = Path(tempfile.mkdtemp(prefix="antiphon-chaos-"))
        self._is_broker_given = broker is not None
        self.networks: list[Network] = (
            [ProxyNetwork() for _ in range(networks)] if broker else make_networks(networks)
        )
        self.players: list[Player] = []
        try:
            self.broker = broker or self._start_broker()
            self._port = int(self.broker.url.rpartition(":")[2].partition("/")[0])
        except BaseException:
            self._clean_up()
            raise
        for part in parts:
            network = self.networks[part.network]
            common: dict[str, Any] = {
                "url": network.url(self._port),
                "system": self.system,
                "seed": seed,
            }
            self.players.append(Player(part, self.folder, network, common))

    def _start_broker(self) -> ChaosBroker:
        addresses = [one.address for one in self.networks if one.address is not None]
        broker = start_broker(addresses)
        for network in self.networks:
            if network.removal:
                broker.at_end(network.removal)
        return broker

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for player in self.players:
            player.end()
        if not self._is_broker_given:
            self.broker.stop()
        self._clean_up(keep=self.is_kept or error is not None)

    def _clean_up(self, *, keep: bool = False) -> None:
        for network in self.networks:
            network.close()
        if keep:
            self.report(f"kept: python -m tests.chaos.judge {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def report(self, line: str) -> None:
        """Say what goes on."""
        self._report(f"{time.monotonic() - self._began:7.1f} s  {line}")

    def player(self, name: str) -> Player:
        """Return the player called *name*."""
        return next(one for one in self.players if one.part.name == name)

    @property
    def victims(self) -> Victims:
        """Whom faults may hit."""
        parts = [player.part for player in self.players]
        return Victims(
            [part.name for part in parts if part.role == "publisher"],
            [part.name for part in parts if part.role == "subscriber"],
            sorted({part.subscription for part in parts if part.subscription}),
            len(self.networks),
        )

    def wait(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self._never.wait(seconds)

    def note_declared(self) -> None:
        """Write down that quorum queues are being declared."""
        self._declared_at = time.monotonic()

    def wait_declared(self) -> None:
        """Wait until the broker may be killed without losing a new queue for ever."""
        self.wait(max(0.0, self._declared_at + SETTLE_S - time.monotonic()))

    def note_trouble(self, fault: str, target: str, began: float) -> None:
        """Write down that *fault* has ended now."""
        self.troubles.append(Trouble(fault, target, began, time.monotonic()))

    # -- The play ----------------------------------------------------------------------

    def raise_curtain(self) -> None:
        """Start subscribers, then publishers."""
        for role in ("subscriber", "publisher"):
            wanted = [player for player in self.players if player.part.role == role]
            for player in wanted:
                player.start()
            for player in wanted:
                player.wait_begun()
            deadline = time.monotonic() + 30
            while not all(self._is_ready(player) for player in wanted):
                if time.monotonic() > deadline:
                    raise AssertionError("subscribers did not get ready")
                self.wait(0.05)
        self.note_declared()

    def _is_ready(self, player: Player) -> bool:
        if player.part.role == "publisher":
            return True
        return player.subscriber_runs()[-1].ready is not None

    def play(self, schedule: Sequence[Step]) -> None:
        """Carry *schedule* out."""
        for number, step in enumerate(schedule, 1):
            self.report(f"{number}/{len(schedule)} {step}")
            carry_out(self, step)

    def drain(self) -> None:
        """Have everything sent, confirmed and heard, then close the buses."""
        publishers = [player for player in self.players if player.part.role == "publisher"]
        for player in publishers:
            player.tell("stop")
        for player in publishers:
            answer = player.answer("stop", DRAIN_TIMEOUT_S)
            if not answer.endswith("True"):
                raise AssertionError(
                    f"{player.part.name} could not flush: {player.ask('stats', 10)}\n"
                    f"{player.errors()[-3000:]}"
                )
        self._wait_quiet()
        self._dead = self.broker.queues().get(f"{self.system}.dead", 0)
        for player in self.players:
            player.close()

    def _wait_quiet(self) -> None:
        subscribers = [player for player in self.players if player.part.role == "subscriber"]
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        before: list[str] = []
        quiet_since = time.monotonic()
        while time.monotonic() < deadline:
            counts = [player.ask("count", 30) for player in subscribers]
            now = time.monotonic()
            if counts != before:
                before, quiet_since = counts, now
            elif now - quiet_since > QUIET_S and not self._is_waiting():
                return
            self.wait(0.2)
        self.report(f"not drained after {DRAIN_TIMEOUT_S:.0f} s: {self.broker.queues()}")

    def _is_waiting(self) -> bool:
        """Whether the broker has something left for a subscription."""
        return any(
            messages
            for name, messages in self.broker.queues().items()
            if name.startswith((f"{self.system}.sub.", f"{self.system}.retry."))
        )

    # -- The judgement -----------------------------------------------------------------

    def history(self) -> History:
        """Return everything that was written down, and keep it with the logs."""
        players = [(player.part, player.run, player.killed) for player in self.players]
        keep(self.folder, players, self.troubles, self._dead, time.monotonic())
        return read(self.folder)

    def judge(self) -> tuple[Verdict, str]:
        """Return the verdict, and a summary for people."""
        history = self.history()
        verdict = check(history)
        return verdict, summary(history, verdict)
