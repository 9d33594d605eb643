"""The world of one cache, cut into steps: the model of docs/explanation/freshness.md.

The cache is the real one: ``MountedStore``, ``Freshness``, ``Applier`` and
``MemoryLedger``.  Around it a store, its journal and its events, whose every call
is a step between which anything else may happen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cache_state import canonical, patched
from stepped_ledger import MountStore, SteppedLedger
from stepped_source import STORE_ID, Source, Ticking, key_of
from stepping import Scene, Stage

from antiphon.caching.applier import Applier
from antiphon.errors import StoreUnavailable
from antiphon.storage.freshness import Freshness
from antiphon.storage.journal import Journal, JournalEntry, Position, Version
from antiphon.storage.ledger import CacheLedger
from antiphon.storage.memory_ledger import MemoryLedger
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.string_value import StringValue

#: Seconds of the bound in all scenes; a tick of the clock is more than the third of it.
BOUND_S = 3.0

#: Acts that are one step; all others are made of steps.
_WITHOUT_STEPS = frozenset(("commit", "tick", "restore"))


@dataclass(slots=True)
class Rules:
    """What a scene takes out, to show that it is missed.

    Attributes:
        ledger: makes the ledger.
        applier: makes the applier.
        journal: what readers and applier take the store for.
    """

    ledger: Callable[[World], CacheLedger] = lambda world: MemoryLedger(world.time.monotonic)
    applier: Callable[[CacheLedger, Journal | None], Applier] = lambda ledger, journal: Applier(
        ledger, journal, "p/"
    )
    freshness: Callable[[Freshness], None] = lambda freshness: None


@dataclass(slots=True)
class Shadow:
    """What the judge knows of the ledger."""

    suspects: dict[str, Version | None] = field(default_factory=dict)
    reserved: dict[bytes, bool] = field(default_factory=dict)
    positions: dict[UUID, Position] = field(default_factory=dict)


class World(Scene):
    """One cache, at the head of a store that has some keys.

    Args:
        letters: keys that are there in the beginning.
        mode: how the cache serves; see ``MountedStore``.
        lag, has_versions: of the source.
        rules: what is taken out.
    """

    def __init__(
        self,
        letters: str = "ab",
        *,
        lag: int = 0,
        has_versions: bool = True,
        rules: Rules | None = None,
        **mounting: Any,
    ) -> None:
        self.stage = Stage()
        self.time = Ticking(self.stage)
        self.shadow = Shadow()
        self.source = Source(self, lag=lag, has_versions=has_versions)
        self.written: list[JournalEntry] = []
        self.own: dict[str, bytes] = {}
        for letter in letters:
            self.source.change(letter)
        self._patches = contextlib.ExitStack()
        self._patches.enter_context(patched(self.stage, self.time))
        try:
            self._set(rules or Rules(), mounting)
        except BaseException:
            self.close()
            raise

    def _set(self, rules: Rules, mounting: dict[str, Any]) -> None:
        self.ledger = rules.ledger(self)
        self.stepped = SteppedLedger(self.ledger, self)
        mount = MountStore(self.stepped)
        mounting = mounting or {"max_staleness_s": BOUND_S}
        self.mounted = MountedStore("p/", mount, self.source, fill=True, **mounting)
        self.mounted.connect()
        self.freshness: Freshness = self.mounted.filling.freshness
        rules.freshness(self.freshness)
        self.applier = rules.applier(self.stepped, self.source)
        self.appliers = [self.applier]
        self._readers: set[str] = set()
        self.look(after_doubt=True)
        self.vouch()

    def close(self) -> None:
        self.stage.end()
        self._patches.close()

    # -- Steps ---------------------------------------------------------------

    def step(self, label: str) -> None:
        self.stage.step(label)

    def tell(self, what: object) -> None:
        self.stage.tell(what)

    def act(self, name: str, *acts: Callable[[], object]) -> None:
        """Let an actor called *name* do *acts*, one after the other."""

        def play() -> None:
            for number, act in enumerate(acts):
                if act.__name__ in _WITHOUT_STEPS:
                    self.step(f"{act.__name__} {number}")
                self.stage.forget()
                act()

        if any(act.__name__ == "read" for act in acts):
            self._readers.add(name)
        self.stage.add(name, play)

    # -- Actions -------------------------------------------------------------

    def write(self, *letters: str) -> Callable[[], None]:
        def commit() -> None:
            self.written += self.source.change(*letters)

        return commit

    def hear(self, number: int) -> Callable[[], None]:
        """Have the event of the change written as *number* delivered, once it is."""

        def event() -> None:
            if len(self.written) <= number:
                self.stage.wait_until(lambda: len(self.written) > number)
            entry = self.written[number]
            position, link = self.source.position_of(entry), self.source.link_of(entry)
            self.applier.apply(str(entry.key), position, _nobody, link=link)
            self.freshness.advanced()

        return event

    def hear_if_there(self, number: int) -> Callable[[], None]:
        """Have an event delivered if its change is committed by then."""

        def event() -> None:
            self.step(f"event {number}")
            if len(self.written) > number:
                self.hear(number)()

        return event

    def look(self, *, after_doubt: bool = False, applier: Applier | None = None) -> None:
        """Read the journal and repair."""
        try:
            (applier or self.applier).catch_up(_nobody, after_doubt=after_doubt)
        except StoreUnavailable:
            return  # it looks again later, as an invalidator does
        self.freshness.advanced()

    def repaired_elsewhere(self, *, back: int = 0) -> None:
        """Have another process find the position lost, and begin anew at a head of before."""
        head = self.source.position_of(self.source.history[-1 - back])
        self.ledger.suspect()
        self.before("suspect", ())
        self.ledger.advance(None)
        self.ledger.advance(head)
        self.ledger.verify(head)

    def vouch(self) -> None:
        self.stepped.beat()
        self.freshness.vouch()

    def fall_into_doubt(self) -> None:
        self.freshness.doubt("the broker is away")
        self.stepped.doubt()

    def tick(self, seconds: float = 1.1) -> Callable[[], None]:
        def tick() -> None:
            self.time.now += seconds

        return tick

    def restore(self, count: int = 1) -> Callable[[], None]:
        def restore() -> None:
            self.source.restore(count)

        return restore

    def truncate(self) -> None:
        self.source.truncate()

    def read(self, letter: str, **asked: Any) -> Callable[[], None]:
        """Read a key through the cache and judge what comes."""

        def read() -> None:
            key = key_of(letter)
            began, first = self.time.monotonic(), len(self.source.moments) - 1
            self.tell(first)
            try:
                value = self.mounted.get(key, **asked)
            except KeyError:
                return
            report = getattr(value, "freshness", None)
            data = value.data.read()
            if key in self.own:
                assert data == self.own[key], f"the user's own {key} became {data!r} (I6)"
                return
            version = Version.parse(data.decode())
            if report is None or report.state == "fresh":
                self.judge(key, version, began, first, asked)

        return read

    def write_own(self, letter: str, data: bytes) -> None:
        """Write into the mount store, and do not push."""
        self.mounted.set(key_of(letter), StringValue(data))
        self.own[key_of(letter)] = data

    # -- The judge -----------------------------------------------------------

    #: Seconds of age that reads may have; None: none before the read began (strict).
    bound_s: float | None = BOUND_S

    def judge(
        self, key: str, version: Version, began: float, first: int, asked: dict[str, Any]
    ) -> None:
        """Assert that *version* was the value at some moment within the bound (I2, I8)."""
        if self.source.lag:
            return  # what the source itself says late is not the cache's
        moments = self.source.moments
        ends = [*(moment[0] for moment in moments[1:]), float("inf")]
        for index, ((_, state), end) in enumerate(zip(moments, ends, strict=True)):
            in_time = index >= first if self.bound_s is None else end >= began - self.bound_s
            if in_time and state.get(key) == version:
                break
        else:
            raise AssertionError(f"{key} was served with {version}: too old (I2)")
        least = asked.get("at_least")
        if least is not None:
            due = self.source.state(least.sequence).get(key)
            assert due is None or version.sequence >= due.sequence, f"{version} before {due} (I8)"

    def before(self, name: str, args: tuple[Any, ...]) -> None:
        """Note what a transaction of the ledger is about to do."""
        if name == "suspect":
            entries = {key: self.ledger.lookup(key).entry for key in list(self.ledger.keys())}
            self.shadow.suspects = {
                key: entry.version for key, entry in entries.items() if entry is not None
            }
            self.shadow.reserved = {}
        elif name in ("void", "void_many", "void_prefix"):
            self._voided(name, args)

    def _voided(self, name: str, args: tuple[Any, ...]) -> None:
        keys = [change[0] for change in args[0]] if name == "void_many" else [args[0]]
        ended = [
            token
            for token, key in self.shadow.reserved.items()
            if any(
                str(key).startswith(one) if name == "void_prefix" else key == one for one in keys
            )
        ]
        for token in ended:
            del self.shadow.reserved[token]

    def after(self, name: str, args: tuple[Any, ...], answer: Any) -> None:
        """Compare what it did with what it may do (I3, I5)."""
        if name == "reserve":
            self.shadow.reserved[answer.token] = answer.key
        elif name in ("fill", "confirm"):
            stood = self.shadow.reserved.pop(args[0].token, None)
            assert stood is not None or answer is None, f"a voided {name} was kept (I3)"
            if answer is not None:
                self.shadow.suspects.pop(args[0].key, None)
        elif name == "lookup" and answer.entry is not None and answer.entry.checked:
            assert args[0] not in self.shadow.suspects, f"{args[0]} is not confirmed (I5)"

    def check(self) -> None:
        positions = self.ledger.positions()
        for store_id, position in positions.items():
            before = self.shadow.positions.get(store_id)
            same = before is not None and before.epoch == position.epoch
            if same and not self.source.first and self.source.lives == 1:
                assert position.sequence >= before.sequence, "the position went back (I7)"
        self.shadow.positions = positions
        position = positions.get(STORE_ID)
        if position is None:
            return
        self._check_position(position)

    def _check_position(self, position: Position) -> None:
        history = self.source.history
        at = position.sequence
        known = self.source.now_head() if at == len(history) else None
        if known is None and 0 < at < len(history):
            known = self.source.position_of(history[at - 1])
        if at and (known is None or known.entry_id != position.entry_id):
            return  # of a history that is no more: no question is answered by it
        due = self.source.state(at)
        for key in list(self.ledger.keys()):
            entry = self.ledger.lookup(key).entry
            if entry is None or not entry.checked:
                continue
            version = Version.parse(entry.data.read().decode())
            of_now = [one.version for one in history if one.key == key]
            assert version in of_now, f"{key} is of a history that is no more (I1)"
            assert key not in due or version.sequence >= due[key].sequence, (
                f"{key} is kept with {version} although the position is {at} (I1)"
            )

    def finish(self) -> None:
        """Assert that the cache comes right by itself (I11), and own keys are there (I6)."""
        for _ in range(2):
            self.look(after_doubt=True)
            self.time.now += BOUND_S
        self.vouch()
        self.check()
        assert self.ledger.positions().get(STORE_ID) == self.source.now_head(), "behind (I11)"
        self.source.lag = 0
        for key, version in self.source.state().items():
            data = self.mounted.get(key).data.read()
            wanted = self.own.get(key, str(version).encode())
            assert data == wanted, f"{key} is {data!r} in the end, not {wanted!r}"

    # -- State ---------------------------------------------------------------

    def shared(self, name: str) -> str:
        # Readers look at nothing of the applier's, and it at nothing of theirs.
        if name in self._readers:
            return repr(canonical([self.freshness, self.mounted.filling]))
        return repr(canonical(self.appliers))

    def digest(self) -> str:
        source = self.source
        return repr(
            (
                self.time.now,
                canonical([self.freshness, self.mounted.filling, self.appliers]),
                canonical(self.ledger),
                source.history,
                source.first,
                source.moments,
                source.lives,
                self.written,
                self.shadow.suspects,
                self.own,
            )
        )


def _nobody(*_: object) -> None:
    """Nobody is told of what was applied."""
