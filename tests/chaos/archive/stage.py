"""Everything that a play about an archive needs: the archive's disk, its witness, players."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from antiphon.archive import Event, open_archive
from tests.chaos.archive.cast import Actor, Listener, RecorderActor
from tests.chaos.archive.checker import check, summary
from tests.chaos.archive.companies import RETENTION_INTERVAL_S, Company
from tests.chaos.archive.faults import carry_out
from tests.chaos.archive.player import LAST
from tests.chaos.archive.records import (
    Entry,
    Records,
    Told,
    entries_of,
    flag_of,
    keep_told,
    place_witness,
    read,
)
from tests.chaos.events import CLASSES
from tests.chaos.faults import Step
from tests.chaos.history import History
from tests.chaos.keeping import keep
from tests.chaos.stage import DRAIN_TIMEOUT_S, Stage
from tests.chaos.verdict import Verdict
from tests.integration.small_disk import small_disk

#: Settings of the recorders.
_TOML = """
amqp_url = "AMQP_URL"
system = "{system}"
archive_url = "{url}?timeout_s=0.5"
http_port = 0
canary_interval_s = 1.0
batch_events = 40
batch_wait_s = 0.02
disk_warn_bytes = 0
stop_timeout_s = 8.0
retention_interval_s = {interval_s}
"""


class ArchiveStage(Stage):
    """A play.

    Args:
        company: who plays, and what is kept.
        seed: of the players' own dice.
        broker: one that may be tormented, on the loopback interface; None starts one.
        system: of all buses.
        without: a mechanism that is taken out; see ``sabotage``.
        report: takes lines about what goes on.

    Attributes:
        disk: where the archive is.
    """

    def __init__(
        self,
        company: Company,
        seed: int,
        *,
        broker: Any = None,
        system: str = "chaos",
        without: str = "",
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        super().__init__(company.publishers, seed, broker=broker, system=system, report=report)
        self._told = Told(rules=list(company.rules))
        self._stack = contextlib.ExitStack()
        folder = self.folder / "archive"
        folder.mkdir()
        self.disk = self._stack.enter_context(small_disk(folder, company.disk_bytes))
        self._path = folder / "archive.db"
        url = f"sqlite://{self._path}"
        common = {
            "system": system,
            "seed": seed,
            "without": without,
            "archive_url": url,
            "toml_text": _settings(url, system, company),
        }
        for part in company.others:
            network = self.networks[part.network]
            own = {**common, "url": network.url(self._port)}
            self.players.append(_CAST[part.role](part, self.folder, network, own))  # type: ignore[arg-type]
        self._archive = self._stack.enter_context(open_archive(url, timeout_s=20.0))
        place_witness(self._path)

    def _clean_up(self, *, keep: bool = False) -> None:
        if hasattr(self, "_stack"):
            self._stack.close()
        super()._clean_up(keep=keep)

    def of_role(self, role: str) -> list[Any]:
        """Return the players of *role*."""
        return [one for one in self.players if one.part.role == role]

    @contextlib.contextmanager
    def sql(self, timeout_s: float = 10.0) -> Iterator[sqlite3.Connection]:
        """Yield a connection to the archive's file."""
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=timeout_s)
        try:
            yield connection
        finally:
            connection.close()

    # -- The play ----------------------------------------------------------------------

    def raise_curtain(self) -> None:
        """Start recorders and the subscription, then who reads, then publishers."""
        for roles in (("recorder", "subscriber"), ("tail", "replayer"), ("publisher",)):
            players = [one for role in roles for one in self.of_role(role)]
            for player in players:
                player.start()
            for player in players:
                player.wait_begun()
            if "recorder" in roles:
                self._wait_until(lambda: self._are_ready(), "recorders and audit are ready", 40)
        self.note_declared()

    def _are_ready(self) -> bool:
        recorders = all(one.has("ready") for one in self.of_role("recorder"))
        return recorders and all(
            one.subscriber_runs()[-1].ready is not None for one in self.of_role("subscriber")
        )

    def _wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                self.report(f"not within {timeout_s:.0f} s: {what}")
                return False
            self.wait(0.05)
        return True

    def play(self, schedule: Sequence[Step]) -> None:
        """Carry *schedule* out."""
        for number, step in enumerate(schedule, 1):
            self.report(f"{number}/{len(schedule)} {step}")
            carry_out(self, step)
            self._look_for_dead()

    def _look_for_dead(self) -> None:
        for one in self.of_role("recorder"):
            if (status := one.status()) is not None:
                self._told.problems.append(f"{one.part.name}/{one.run} ended with {status}")
                one.start()

    def drain(self) -> None:
        """Have everything sent, archived, deleted, replayed and seen; then end everybody."""
        publishers = self.of_role("publisher")
        for player in publishers:
            player.tell("stop")
        for player in publishers:
            answer = player.answer("stop", DRAIN_TIMEOUT_S)
            assert answer.endswith("True"), f"{player.part.name} could not flush"
        wanted = {
            (one.publisher, one.number)
            for player in publishers
            for run in player.publisher_runs()
            for one in run.emissions
            if one.confirmed is not None
        }
        self._wait_until(lambda: self._has_archived(wanted), "everything is archived", 40)
        for player in self.of_role("replayer"):
            player.close()
        self._wait_heard()
        for player in self.of_role("subscriber"):
            player.close()
        self._wait_cleared()
        self._end_tails()
        self._look_for_dead()
        for player in (*self.of_role("recorder"), *publishers):
            player.close()
        self._look_at_archive()

    def _entries(self) -> list[Entry]:
        told = self._told
        with self.sql() as archive:
            told.entries += entries_of(archive, len(told.entries))
        return told.entries

    def _has_archived(self, wanted: set[tuple[str, int]]) -> bool:
        return wanted <= {(one.publisher, one.number) for one in self._entries()}

    def _wait_heard(self) -> None:
        before: list[str] = []
        quiet_since = time.monotonic()
        deadline = quiet_since + 40
        while time.monotonic() < deadline:
            counts = [player.ask("count", 30) for player in self.of_role("subscriber")]
            now = time.monotonic()
            if counts != before:
                before, quiet_since = counts, now
            elif now - quiet_since > 1.0:
                return
            self.wait(0.1)

    def _wait_cleared(self) -> None:
        """Wait until the rules of retention leave what they are to leave."""

        def is_cleared() -> bool:
            return all(self._is_kept(rule) for rule in self._told.rules)

        self._wait_until(is_cleared, "what is not kept is deleted", 20)

    def _is_kept(self, rule: Any) -> bool:
        flags = [flag_of(rule.cls)]
        found = [
            one
            for one in self._archive.search(0, None, flags)
            if flag_of(rule.spared) not in one.tags
        ]
        if rule.max_events is not None and len(found) > rule.max_events:
            return False
        oldest = found[0].timestamp if found else time.time()
        return rule.max_age_s is None or time.time() - oldest <= rule.max_age_s + 1.0

    def _end_tails(self) -> None:
        tails = self.of_role("tail")
        for one in tails:
            one.ask("last", 30)
        tags = [flag_of(cls) for cls in CLASSES]
        self._archive.save(Event(f"{LAST}-{time.time()}", "conductor", None, [LAST, *tags]))
        for one in tails:
            one.tell("all")
        for one in tails:
            if one.answer("all", 60) != "True":
                self._told.missing_tails.append(f"{one.part.name}/{one.run}")
        for one in tails:
            one.close()

    def _look_at_archive(self) -> None:
        told = self._told
        told.offset_s = time.time() - time.monotonic()
        told.ended = time.time()
        self._entries()
        told.found = [one.id for one in self._archive.search(0)]
        told.flagged = {
            cls: [one.id for one in self._archive.search(0, None, [flag_of(cls)])]
            for cls in CLASSES
        }
        told.counted = self._archive.stats().events
        with self.sql() as archive:
            (found,) = archive.execute("PRAGMA integrity_check").fetchone()
        if found != "ok":
            told.problems.append(f"sqlite says of the file: {found}")

    # -- The judgement -----------------------------------------------------------------

    def records(self) -> Records:
        """Return everything that was written down, and keep it with the logs."""
        players = [(player.part, player.run, player.killed) for player in self.players]
        keep(self.folder, players, self.troubles, self._dead, time.monotonic())
        keep_told(self.folder, self._told)
        return read(self.folder)

    def history(self) -> History:
        """Return what publishers and the subscription have written."""
        return self.records().history

    def judge(self) -> tuple[Verdict, str]:
        """Return the verdict, and a summary for people."""
        records = self.records()
        verdict = check(records)
        return verdict, summary(records, verdict)


_CAST: dict[str, type[Actor] | type[Listener]] = {
    "recorder": RecorderActor,
    "tail": Actor,
    "replayer": Actor,
    "subscriber": Listener,
}


def _settings(url: str, system: str, company: Company) -> str:
    text = _TOML.format(url=url, system=system, interval_s=RETENTION_INTERVAL_S)
    for rule in company.rules:
        text += "\n[[retention]]\n"
        text += "".join(f"{name} = {value!r}\n" for name, value in rule.asdict().items())
    return text
