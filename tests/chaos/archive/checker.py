"""Judges a play about an archive: which promises were broken.

Pure functions: no process, no file, no clock.  The promises:

* what ``flush`` has returned for is archived, once, and nothing that nobody emitted
  (a second time after it was deleted, if it was acknowledged to nobody before);
* the events of one publisher have places in the order of their emission (of all its
  processes if it has a spool, else of each).  An event may come late if a recorder
  put it aside: one that was in hand when a recorder's connection or process ended
  twice goes to a queue of its own, so that it harms no other, and is tried alone;
* retention deletes what its rules do not keep, and nothing else;
* a tail sees what is in the archive from its beginning on, once, in the order of time
  up to its mark and in the order of places behind it; there is one mark.  What was
  deleted before it came to it may be missing;
* a replay finds what was there when it began, sends it marked as replayed, and
  nothing of it comes to a process twice.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from tests.chaos.archive.records import Entry, Following, Records, Replay, Rule
from tests.chaos.checker import check as check_messages
from tests.chaos.events import matches
from tests.chaos.history import Emission
from tests.chaos.verdict import Key, Verdict, Violation

#: Seconds between what happens and the line that tells of it, on a busy machine; and by which
#: the clocks of sqlite and of processes may differ.
BLUR_S, CLOCK_S = 1.0, 0.005

#: Seconds after which what is too old is gone, everything being well.
GONE_S = 5.0


def check(records: Records) -> Verdict:
    """Return what is wrong in *records*, which must be complete: everything drained."""
    verdict = check_messages(records.history)
    _Judge(records, verdict).check_all()
    return verdict


class _Judge:
    """The rules about one archive."""

    def __init__(self, records: Records, verdict: Verdict) -> None:
        self._records = records
        self._told = records.told
        self._verdict = verdict
        self._came = [one for one in self._told.entries if not one.is_gone]
        self._went = {one.place: one for one in self._told.entries if one.is_gone}
        self._by_id = {one.id: one for one in self._came}
        self._emitted: dict[Key, Emission] = {
            (one.publisher, one.number): one
            for run in records.history.publishers
            for one in run.emissions
        }

    def _accuse(self, kind: str, who: str, text: str, *events: Key) -> None:
        self._verdict.violations.append(Violation(kind, who, text, events))

    def check_all(self) -> None:
        """Find everything."""
        for text in (*self._told.problems, *self._records.failures):
            self._accuse("failed", "archive", text)
        for title in self._told.missing_tails:
            self._accuse("lost", title, "it was never given the last event of all")
        self._check_contents()
        self._check_order()
        self._check_deletions()
        self._check_rest()
        for following in self._records.followings:
            _Tail(following, self._came, self._went, self._told.offset_s, self._accuse).check()
        for replay in self._records.replays:
            self._check_replay(replay)
        self._check_again()

    # -- What is in it -----------------------------------------------------------------

    def _check_contents(self) -> None:
        ids: defaultdict[Key, list[str]] = defaultdict(list)
        for one in self._came:
            if one.publisher:
                ids[one.publisher, one.number].append(one.id)
        for key, names in ids.items():
            emission = self._emitted.get(key)
            if len(set(names)) > 1:
                self._accuse("repeated", "archive", f"{key} is there as {names}", key)
            elif len(names) > 1:  # the file refuses an id that is there
                self._verdict.repeats["archive", "deleted before"] += len(names) - 1
            if emission is None or emission.refused:
                self._accuse("invented", "archive", f"{key} is there, and was not emitted", key)
        for one in self._came:
            emission = self._emitted.get((one.publisher, one.number))
            if emission is not None and emission.cls != one.cls:
                key = one.publisher, one.number
                self._accuse("altered", "archive", f"{key} came as {one.cls}", key)
        for key, emission in self._emitted.items():
            if emission.confirmed is not None and key not in ids:
                at = f"emitted at {emission.began:.3f}, confirmed at {emission.confirmed:.3f}"
                self._accuse("lost", "archive", f"{key}, {at}, is not there", key)
        first = min((one.began for one in self._emitted.values()), default=0.0)
        for one in self._came:
            # When a recorder subscribes first of all, it cannot know whether there was a queue.
            if one.told and one.timestamp - self._told.offset_s > first:
                self._accuse("false alarm", "archive", one.told)
        places = [one.place for one in self._came]
        if places != sorted(set(places)):
            self._accuse("reordered", "archive", "places do not grow with the commits")

    def _check_order(self) -> None:
        spooled = {one.name for one in self._records.history.publishers if one.is_spooled}
        newest: dict[tuple[str, int], int] = {}
        seen: set[Key] = set()
        for one in self._came:
            key = one.publisher, one.number
            if (emission := self._emitted.get(key)) is None or key in seen:
                continue
            seen.add(key)
            series = key[0], 0 if key[0] in spooled else emission.run
            before = newest.get(series, 0)
            if before < one.number:
                newest[series] = one.number
                continue
            moved_at = self._records.moved.get(key)
            if moved_at is not None and moved_at <= one.at - self._told.offset_s + BLUR_S:
                self._verdict.disorders["archive", "isolated"] += 1
            else:
                self._accuse("reordered", "archive", f"{key} came after {before}", key)

    # -- What is deleted ---------------------------------------------------------------

    def _check_deletions(self) -> None:
        """Go through the list: what goes must be too old, or beyond so many newer ones."""
        alive: dict[Rule, list[tuple[float, int]]] = {rule: [] for rule in self._told.rules}
        cls_of = {one.place: one.cls for one in self._came}
        going: list[Entry] = []
        for one in self._told.entries:
            if one.is_gone:
                going.append(one)
            else:
                self._judge_gone(going, alive, cls_of)
                going = []
                for rule in _rules_of(self._told.rules, one.cls):
                    insort(alive[rule], (one.timestamp, one.place))
        self._judge_gone(going, alive, cls_of)
        for rule, left in alive.items():
            self._judge_left(rule, left)

    def _judge_gone(
        self,
        going: list[Entry],
        alive: dict[Rule, list[tuple[float, int]]],
        cls_of: dict[int, str],
    ) -> None:
        # What goes together goes in the order of places: it is judged when all of it is gone.
        rules = {one.place: _rules_of(self._told.rules, cls_of.get(one.place, "")) for one in going}
        for one in going:
            for rule in rules[one.place]:
                left = alive[rule]
                del left[bisect_left(left, (one.timestamp, one.place))]
        for one in going:
            if not any(_is_to_go(rule, one, alive[rule]) for rule in rules[one.place]):
                cls = cls_of.get(one.place, "?")
                self._accuse("deleted", "archive", f"place {one.place}, a {cls}, had to stay")

    def _judge_left(self, rule: Rule, left: list[tuple[float, int]]) -> None:
        if rule.max_events is not None and len(left) > rule.max_events:
            self._accuse("kept", "archive", f"{len(left)} events stay under {rule}")
        if rule.max_age_s is not None and left:
            age_s = self._told.ended - left[0][0]
            if age_s > rule.max_age_s + GONE_S:
                self._accuse("kept", "archive", f"an event of {age_s:.1f} s stays under {rule}")

    def _check_rest(self) -> None:
        """What is found in the end, in whatever way, is what was not deleted."""
        rest = sorted(
            (one for one in self._came if one.place not in self._went),
            key=lambda one: (one.timestamp, one.place),
        )
        if [one.id for one in rest] != self._told.found:
            text = f"a search finds {len(self._told.found)} events, and there are {len(rest)}"
            self._accuse("lost", "archive", text)
        for cls, found in self._told.flagged.items():
            wanted = [one.id for one in rest if _is_wanted(cls, one)]
            if wanted != found:
                text = f"a search finds {len(found)} of class {cls}, and there are {len(wanted)}"
                self._accuse("lost", "archive", text)
        if self._told.counted != len(rest):
            text = f"it says to have {self._told.counted} events, and has {len(rest)}"
            self._accuse("altered", "archive", text)

    # -- Replays -----------------------------------------------------------------------

    def _check_replay(self, replay: Replay) -> None:
        title = f"replay {replay.title}"
        entries = [self._by_id[name] for name in replay.found if name in self._by_id]
        if len(set(replay.found)) < len(replay.found):
            self._accuse("repeated", title, "it found an event twice")
        keys = [(one.publisher, one.number) for one in entries]
        for key, (publisher, number, is_marked) in zip(keys, replay.called, strict=False):
            if key != (publisher, number) or not is_marked:
                text = f"called with {publisher} {number} (marked: {is_marked}) in place of {key}"
                self._accuse("reordered" if is_marked else "unmarked", title, text, key)
        if replay.returned is None:
            return
        if replay.returned != (len(replay.found), 0, 0):
            text = f"{len(replay.found)} found, and {replay.returned} sent, skipped, unreadable"
            self._accuse("lost", title, text)
        if not replay.is_sent and len(replay.called) != len(replay.found):
            self._accuse("lost", title, f"{len(replay.called)} of {len(replay.found)} called")
        there = [
            one
            for one in self._came
            if one.place <= replay.head
            and replay.start <= one.timestamp <= replay.end
            and _is_wanted(replay.wanted, one)
        ]
        alive = {one.id for one in there if one.place not in self._went}
        missing = alive - set(replay.found)
        if missing:
            self._accuse("lost", title, f"{len(missing)} of {len(there)} events were not found")

    def _check_again(self) -> None:
        begun: Counter[Key] = Counter()
        done: Counter[Key] = Counter()
        for replay in self._records.replays:
            if replay.is_sent:
                keys = [self._key(name) for name in replay.found]
                begun.update(keys)
                done.update(keys if replay.returned is not None else ())
        heard: Counter[Key] = Counter()
        for title, keys in self._records.again.items():
            heard.update(keys)
            for key, count in Counter(keys).items():
                if count > begun[key]:
                    text = f"{key} was replayed {begun[key]} times and came {count} times"
                    self._accuse("repeated", f"replays to {title}", text, key)
        for key, count in done.items():
            if heard[key] < count:
                text = f"{key} was replayed {count} times and came {heard[key]} times"
                self._accuse("lost", "replays to audit", text, key)

    def _key(self, name: str) -> Key:
        one = self._by_id[name]
        return one.publisher, one.number


def _rules_of(rules: Iterable[Rule], cls: str) -> list[Rule]:
    return [
        rule for rule in rules if cls and matches(rule.cls, cls) and not matches(rule.spared, cls)
    ]


def _is_to_go(rule: Rule, one: Entry, left: Sequence[tuple[float, int]]) -> bool:
    if rule.max_age_s is not None and one.timestamp < one.at - rule.max_age_s + CLOCK_S:
        return True
    if rule.max_events is None:
        return False
    newer = len(left) - bisect_left(left, (one.timestamp, one.place))
    return newer >= rule.max_events


def _is_wanted(cls: str, one: Entry) -> bool:
    # What is neither a player's nor a recorder's is the last event of all, which has every flag.
    return not one.told and (not one.cls or matches(cls, one.cls))


class _Tail:
    """The rules about one tail."""

    def __init__(
        self,
        following: Following,
        came: Sequence[Entry],
        went: dict[int, Entry],
        offset_s: float,
        accuse: object,
    ) -> None:
        self._following = following
        self._wanted = [one for one in came if _is_wanted(following.wanted, one)]
        self._known: defaultdict[str, list[Entry]] = defaultdict(list)
        for one in self._wanted:
            self._known[one.id].append(one)
        self._seen = {name for _, name in following.seen}
        self._went = went
        self._offset_s = offset_s
        self._accuse_of = accuse

    def _accuse(self, kind: str, text: str) -> None:
        self._accuse_of(kind, f"tail {self._following.title}", text)  # type: ignore[operator]

    def check(self) -> None:
        """Find what is wrong."""
        following = self._following
        if len(following.marks) > 1:
            self._accuse("repeated", f"it has caught up {len(following.marks)} times")
        names = [name for _, name in following.seen]
        if unknown := [name for name in names if name not in self._known]:
            self._accuse("invented", f"{len(unknown)} events that are not there: {unknown[:3]}")
            return
        for name, count in Counter(names).items():
            # An event that came back after it was deleted may be seen as often as that.
            if count > len(self._known[name]):
                self._accuse("repeated", f"place {self._place(name)} came {count} times")
        mark = following.marks[0] if following.marks else len(names)
        self._check_part(
            "history",
            following.seen[:mark],
            sorted(filter(self._is_history, self._wanted), key=_by_time),
            following.marked_at,
        )
        live = [one for one in self._wanted if one.place > following.place]
        self._check_part("what is live", following.seen[mark:], live, None)

    def _place(self, name: str) -> int:
        return self._known[name][0].place

    def _is_history(self, one: Entry) -> bool:
        following = self._following
        return (
            following.since is not None
            and one.place <= following.place
            and one.timestamp >= following.since
        )

    def _check_part(
        self,
        part: str,
        seen: Sequence[tuple[float, str]],
        wanted: Sequence[Entry],
        ended_at: float | None,
    ) -> None:
        """Go along *wanted*: what was seen is in that order, and what was not was deleted."""
        index: defaultdict[str, list[int]] = defaultdict(list)
        for n, one in enumerate(wanted):
            index[one.id].append(n)
        reached = 0
        for at, name in seen:
            found = next((n for n in index[name] if n >= reached), None)
            if found is None:
                how = "came late in" if index[name] else "is not of"
                self._accuse("reordered", f"place {self._place(name)} {how} {part}")
            else:
                self._check_passed_over(part, wanted[reached:found], at)
                reached = found + 1
        if ended_at is not None:
            self._check_passed_over(part, wanted[reached:], ended_at)

    def _check_passed_over(self, part: str, passed: Sequence[Entry], at: float) -> None:
        missing = [one.place for one in passed if self._is_missing(one, at)]
        if missing:
            text = f"{len(missing)} events of {part} are missing, the first at place {missing[0]}"
            self._accuse("lost", text)

    def _is_missing(self, one: Entry, at: float) -> bool:
        gone = self._went.get(one.place)
        if gone is not None and gone.at <= at + self._offset_s + BLUR_S:
            return False
        return one.id not in self._seen or len(self._known[one.id]) == 1


def _by_time(one: Entry) -> tuple[float, int]:
    return one.timestamp, one.place


def summary(records: Records, verdict: Verdict) -> str:
    """Return what happened, for people."""
    emissions = [one for run in records.history.publishers for one in run.emissions]
    confirmed = sum(one.confirmed is not None for one in emissions)
    entries = records.told.entries
    went = sum(one.is_gone for one in entries)
    late = verdict.disorders["archive", "isolated"]
    again = verdict.repeats["archive", "deleted before"]
    seen = sum(len(one.seen) for one in records.followings)
    caught_up = sum(bool(one.marks) for one in records.followings)
    done = [one for one in records.replays if one.returned is not None]
    counts: defaultdict[str, int] = defaultdict(int)
    for trouble in records.history.troubles:
        counts[f"{trouble.fault} of {trouble.target.rstrip('-123')}".removesuffix(" of ")] += 1
    return "\n".join(
        [
            f"{len(emissions)} events emitted, {confirmed} of them confirmed; "
            f"{len(entries) - went} archived, {went} deleted, {again} of them came again, "
            f"{late} late since put aside",
            f"{len(records.followings)} tails, {caught_up} caught up, {seen} events seen",
            f"{len(records.replays)} replays, {len(done)} to the end, "
            f"{sum(len(one.found) for one in done)} events in these; "
            f"{sum(map(len, records.again.values()))} came to the subscription",
            f"{len(records.history.troubles)} faults: "
            + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())),
            f"{len(verdict.violations)} promises broken",
        ]
    )
