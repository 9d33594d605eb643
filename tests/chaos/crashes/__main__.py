"""Kill writers at the system calls of commits: ``python -m tests.chaos.crashes --kills 2000``.

A writer with a bus commits to a store, and is killed with SIGKILL at one system
call of one of its threads.  Then a fresh process opens the store, and looks whether
data, journal and index agree and are as before or after the commit that was under
way.  Others sweep up what was not published, of which some are killed, too; at last
each event must have come out, with the same id, and none of what was not committed.
Exit status 1 if a promise was broken: what replays it is printed.

``--short`` does one kill at each distinct call of a large commit, and of small
ones; else the commits are drawn from the seed.  Linux only.
"""

# ruff: noqa: T201 - a program that talks

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from antiphon.testing.servers import redis
from tests.chaos.crashes.media import MEDIA, Medium, medium_of
from tests.chaos.crashes.play import Outcome, Play, Relay, Seen, distinct
from tests.chaos.crashes.sabotage import SABOTAGE
from tests.chaos.crashes.work import BULK, EVERYDAY, SEVERAL, Step, random_steps
from tests.chaos.crashes.writing import Target

#: Kills between two judgements, which take about a second.
_BATCH = 60

#: Kills in the middle of a bulk, in the short form; its calls are those of other commits.
_BULK_KILLS = 6

#: Commits of a writer.
_STEPS = 6


class _Broken(Exception):
    """A promise was broken; the text says how."""


class _Season:
    """Plays on some media, until something is wrong.

    Args:
        folder: for all files.
        seed: of what is drawn.
        most: kills of writers that commit the same.
        sweepers: kills of those who sweep up, each time something is judged.
        sabotage: see ``Play``.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        most: int,
        sweepers: int,
        sabotage: Callable[[], None] | None,
    ) -> None:
        self.killed: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._folder = folder
        self._dice = random.Random(seed)
        self._most = most
        self._sweepers = sweepers
        self._sabotage = sabotage

    def short(self, kind: str, medium: Medium) -> None:
        """Kill at each distinct call of a commit of everything, and of small ones."""
        if medium.has_transactions:
            several = self._play(kind, medium, [SEVERAL])
            calls = distinct([each for each in several.rehearse() if each.step == 0])
            torn = [each.target._replace(torn=True) for each in calls if each.is_write]
            self._kill(kind, several, [*(each.target for each in calls), *torn], "SEVERAL")
        if kind.startswith("redis"):
            bulk = self._play(kind, medium, [BULK])
            calls = self._dice.sample(bulk.rehearse(), _BULK_KILLS)
            self._kill(kind, bulk, [each.target for each in calls], "BULK")
        everyday = self._play(kind, medium, EVERYDAY)
        self._kill(kind, everyday, _one_of_each(everyday.rehearse(), self._dice), "EVERYDAY")

    def long(self, kind: str, medium: Medium) -> None:
        """Kill at some calls of commits that are drawn."""
        seed = self._dice.randrange(10**6)
        steps = random_steps(seed, _STEPS, transactions=medium.has_transactions)
        play = self._play(kind, medium, steps)
        calls = [each.target for each in play.rehearse()]
        torn = [call._replace(torn=self._dice.random() < 0.3) for call in calls]
        self._kill(kind, play, torn, f"random_steps({seed}, {_STEPS})")

    @property
    def kills(self) -> int:
        """How many writers were killed."""
        return self.killed.total()

    def summary(self) -> str:
        """Return where they were killed, in one line."""
        return f"{dict(self.killed)} at {dict(self.calls.most_common())}"

    def _play(self, kind: str, medium: Medium, steps: Sequence[Step]) -> Play:
        return Play(medium, steps, self._folder / kind, self._sabotage)

    def _kill(self, kind: str, play: Play, targets: Sequence[Target], steps: str) -> None:
        if len(targets) > self._most:
            targets = self._dice.sample(targets, self._most)
        for start in range(0, len(targets), _BATCH):
            for target in targets[start : start + _BATCH]:
                outcome = play.kill_at(target)
                if outcome.call is not None:
                    self.killed[kind] += 1
                    self.calls[outcome.call] += 1
            self._judge(kind, steps, play.judge(self._relays()))

    def _relays(self) -> list[Relay]:
        # Half of them in the very moment in which they publish something.
        dice = self._dice
        return [
            Relay(dice.randint(1, 20), dice.choice((0, dice.randint(1, 40))))
            for _ in range(self._sweepers)
        ]

    def _judge(self, kind: str, steps: str, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.complaints:
                raise _Broken(
                    f"{kind}, {steps}, killed at {outcome.target} ({outcome.call}):\n"
                    + "\n".join(outcome.complaints)
                )


def main() -> int:
    """Kill writers, and say what came of it."""
    options = _options()
    seed = options.seed if options.seed is not None else secrets.randbelow(10**6)
    print(f"replay with --seed {seed}", flush=True)
    sabotage = SABOTAGE[options.sabotage] if options.sabotage else None
    most = options.most or (10**6 if options.short else 40)
    began = time.monotonic()
    with _folder() as folder, contextlib.ExitStack() as servers:
        media = {}
        for kind in options.media.split(","):
            url = options.redis_url
            if kind == "redis" and url is None:
                url = servers.enter_context(redis(given=False, report=lambda line: None)).redis_url
            (folder / kind).mkdir()
            media[kind] = medium_of(kind, folder / kind, url)
        # Children would copy what the collector touches.
        gc.freeze()
        sweepers = 1 if options.short else 3
        season = _Season(folder, seed, most=most, sweepers=sweepers, sabotage=sabotage)
        try:
            while True:
                for kind, medium in media.items():
                    (season.short if options.short else season.long)(kind, medium)
                if options.short or season.kills >= options.kills:
                    break
        except _Broken as exc:
            print(f"BROKEN after {season.kills} kills: {exc}")
            return 1
    print(f"{season.kills} kills in {time.monotonic() - began:.0f} s: {season.summary()}")
    return 0


def _one_of_each(seen: Sequence[Seen], dice: random.Random) -> list[Target]:
    """Return one of all calls of a kind, whatever step they are of."""
    alike: dict[tuple[bool, str, str], list[Target]] = {}
    for each in seen:
        alike.setdefault((each.target.is_main, each.name, each.file), []).append(each.target)
    return [dice.choice(targets) for targets in alike.values()]


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder in memory if there is one: thousands of stores are made and synced here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as made:
        yield Path(made)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.crashes", description=__doc__)
    here = [kind for kind in MEDIA if kind != "redis-server" or shutil.which(kind)]
    parser.add_argument("--media", default=",".join(here), help=f"some of {','.join(MEDIA)}")
    parser.add_argument("--kills", type=int, default=1000, help="how many writers are killed")
    parser.add_argument("--short", action="store_true", help="each distinct call once")
    parser.add_argument(
        "--most", type=int, help="kills of writers that commit the same; 40 unless --short"
    )
    parser.add_argument("--seed", type=int, help="of what is drawn")
    parser.add_argument("--redis-url", help="a Redis to use, with a database of its own")
    parser.add_argument("--sabotage", choices=SABOTAGE, help="break the promise, to see it found")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
