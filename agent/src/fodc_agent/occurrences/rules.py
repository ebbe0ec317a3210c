# SPDX-License-Identifier: Apache-2.0
"""What happened to the node, from what was seen of it. Pure: no clock, no file.

The one idea: an occurrence is a change, so each kind remembers what was before, and what is seen
for the first time is the beginning and no change. What cannot be seen is never taken for an end.
"""

from collections.abc import Iterable
from dataclasses import field, replace
from typing import Final

from fodc_protocol.lean import dataclass
from fodc_protocol.occurrences import Field, OccurrenceKind, captures_text

FAILURES: Final = 2
"""How many questions for the node's page have to fail before it counts as unreachable."""
GRACE_S: Final = 60.0
"""How long a node that has begun may take until it answers for the first time."""
RECENT_S: Final = 600.0
"""Of the crashes that lie there at the first look, how old one may be to be told."""
_MOST_TOLD: Final = 5


@dataclass(frozen=True, slots=True)
class Life:
    """One life of the node's process; `started_at_ms` is 0 where that is not known."""

    pid: int
    start_ticks: int
    started_at_ms: int = 0

    def fields(self) -> dict[str, str]:
        """Return how it is told."""
        told = {Field.PID: self.pid, Field.STARTED_AT_MS: self.started_at_ms}
        return {str(name): str(value) for name, value in told.items() if value}


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that happened to the node."""

    kind: OccurrenceKind
    message: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Memory:
    """How much memory the node has of how much it may have."""

    rss_bytes: int
    limit_bytes: int

    @property
    def percent(self) -> float:
        """Share of the limit."""
        return 100 * self.rss_bytes / self.limit_bytes

    def fields(self) -> dict[str, str]:
        """Return how it is told."""
        return {
            str(Field.RSS_BYTES): str(self.rss_bytes),
            str(Field.LIMIT_BYTES): str(self.limit_bytes),
            str(Field.PERCENT): f"{self.percent:.1f}",
        }


@dataclass(frozen=True, slots=True)
class Crash:
    """A crash that the node wrote down: its name begins with its time."""

    name: str
    written_at_s: float


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a later life of the agent needs to tell a change from a beginning."""

    life: Life | None = None
    last_crash: str | None = None
    is_gone: bool = False
    """That this process is no more has been told."""
    is_away: bool = False
    """That the node answers nobody has been told, and it has not come back."""


class NodeRules:
    """What is known of one node; `now_s` is of a clock that never steps back."""

    def __init__(self, remembered: Remembered, now_s: float) -> None:
        self._last = remembered.life
        self._is_there = remembered.life is not None and not remembered.is_gone
        self._last_crash = remembered.last_crash
        self._began_s = now_s
        self._has_answered = False
        self._failures = 0
        self._away_since_s = now_s if remembered.is_away else None
        self._is_told_away = remembered.is_away
        self._start_time_s: float | None = None
        self._oom_kills: int | None = None

    @property
    def remembered(self) -> Remembered:
        """What has to be kept over a restart of the agent."""
        is_gone = self._last is not None and not self._is_there
        return Remembered(self._last, self._last_crash, is_gone, self._is_told_away)

    # ---- process --------------------------------------------------------------------------------

    def process_seen(self, life: Life | None, now_s: float) -> list[Happened]:
        """Take in the node's process as it is now; None when there is surely none."""
        before, was_there = self._last, self._is_there
        self._is_there = life is not None
        if life is None:
            return [_gone(before)] if was_there and before is not None else []
        self._last = life
        if before is None or (before.pid, before.start_ticks) == (life.pid, life.start_ticks):
            return []
        self._begins(now_s)
        text = f"process {life.pid} of the node stands in place of process {before.pid}"
        return [Happened(OccurrenceKind.NODE_RESTARTED, text, life.fields())]

    def _begins(self, now_s: float) -> None:
        """Give a node that has begun anew time to answer."""
        self._began_s = now_s
        self._has_answered = False
        self._failures = 0

    # ---- page -----------------------------------------------------------------------------------

    def page_answered(self, start_time_s: float | None, now_s: float) -> list[Happened]:
        """Take in that the node's page came, with the start time that it names, if it does."""
        told: list[Happened] = []
        known, self._start_time_s = self._start_time_s, start_time_s or self._start_time_s
        if not self._is_there and start_time_s and known and start_time_s != known:
            fields = {str(Field.STARTED_AT_MS): str(round(start_time_s * 1000))}
            text = "the node's page names another start time: it was restarted"
            told.append(Happened(OccurrenceKind.NODE_RESTARTED, text, fields))
        if self._is_told_away and self._away_since_s is not None:
            text = f"the node answers again after {now_s - self._away_since_s:.0f} s"
            told.append(Happened(OccurrenceKind.NODE_BACK, text, self._life_fields()))
        self._failures, self._away_since_s, self._is_told_away = 0, None, False
        self._has_answered = True
        return told

    def page_failed(self, why: str, now_s: float, questions: int = 1) -> list[Happened]:
        """Take in that the node's page did not come, to so many questions in a row."""
        self._failures += questions
        if self._away_since_s is None:
            self._away_since_s = now_s
        is_starting = not self._has_answered and now_s - self._began_s < GRACE_S
        is_gone = self._last is not None and not self._is_there
        if is_gone:
            self._is_told_away = True  # by its process; that it is back is told by its page
        if self._is_told_away or is_starting or self._failures < FAILURES:
            return []
        self._is_told_away = True
        return [Happened(OccurrenceKind.NODE_UNREACHABLE, why, self._life_fields())]

    @property
    def is_away(self) -> bool:
        """Whether it was told that the node does not answer, and it has not come back."""
        return self._is_told_away or (self._last is not None and not self._is_there)

    def _life_fields(self) -> dict[str, str]:
        return self._last.fields() if self._last is not None and self._is_there else {}

    # ---- memory ---------------------------------------------------------------------------------

    def oom_counter_is(self, count: int | None) -> None:
        """Begin to count from here, because the process or its cgroup is another."""
        self._oom_kills = count

    def oom_kills_seen(self, count: int, memory: Memory | None) -> list[Happened]:
        """Take in how often the kernel has killed in the node's cgroup; a new one counts anew."""
        known, self._oom_kills = self._oom_kills, count
        if known is None or count <= known:
            return []
        text = "the kernel has killed in the node's cgroup, because its memory limit was reached"
        fields = memory.fields() if memory is not None else {}
        pid = {} if self._last is None else {str(Field.PID): str(self._last.pid)}
        return [Happened(OccurrenceKind.OOM_KILL, text, {**fields, **pid})]

    # ---- crashes --------------------------------------------------------------------------------

    def crashes_seen(self, crashes: Iterable[Crash], now_s: float) -> list[Happened]:
        """Take in what lies in the folder of crashes; `now_s` and theirs are of the wall clock."""
        known = self._last_crash
        fresh = [
            one
            for one in sorted(crashes, key=lambda crash: crash.name)
            if (one.name > known if known is not None else now_s - one.written_at_s < RECENT_S)
        ]
        newest = max((one.name for one in fresh), default="")
        self._last_crash = max(known or "", newest)
        return [
            Happened(
                OccurrenceKind.CRASH,
                f"the node has written down a crash: {one.name}",
                {str(Field.CRASH): one.name},
            )
            for one in fresh[-_MOST_TOLD:]
        ]


def _gone(life: Life | None) -> Happened:
    fields = {} if life is None else life.fields()
    text = "the node's process is gone" if life is None else f"process {life.pid} is gone"
    return Happened(OccurrenceKind.NODE_GONE, text, fields)


def with_captures(happened: Happened, captures: Iterable[tuple[str, str]]) -> Happened:
    """Return what happened with the captures that were begun for it, as profile and command id."""
    told = captures_text(captures)
    if not told:
        return happened
    return replace(happened, fields={**happened.fields, str(Field.CAPTURES): told})


def triggered_at(happened: Happened, percent: int) -> Happened:
    """Return what happened with the part of the limit at which profiles are taken."""
    return replace(happened, fields={**happened.fields, str(Field.TRIGGER_PERCENT): str(percent)})
