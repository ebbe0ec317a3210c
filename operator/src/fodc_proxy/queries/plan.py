# SPDX-License-Identifier: Apache-2.0
"""The rules of a collection round, without time, streams or answers.

The one idea: a round waits for agents, an agent's *lane* carries asks one at a time, and an ask is
shared by every round that wants the same. What follows from that:

* callers never disturb each other: another filter is another round, and two rounds that want the
  same of one agent share the ask in flight, so no stream has two outstanding commands;
* an agent that lets a deadline pass costs it once: its lane is slow until it answers again, and
  rounds report it missing at once instead of waiting. The ask stays out (it is repeated after a
  while), and the late answer clears the lane without being given to anybody;
* an answer that nobody asked for is dropped and counted.

Times are milliseconds of any steady clock.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from fodc_protocol.errors import Reason

REPEAT_AFTER_MS: Final = 60_000
ASKED_AT_ONCE: Final = 8
"""Agents of a round that are asked in one turn of the loop: a whole fleet would fill the turn that
asks it, and the one in which it answers."""
ARRIVED_MS: Final = 30_000
"""How much longer an agent is waited for whose answer is here and not read yet."""
LATEST_MS: Final = 253_402_300_799_999  # the end of the year 9999


# ---- what can be wanted -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest values, rendered."""


@dataclass(frozen=True, slots=True)
class Window:
    """Values between two Unix times in milliseconds, both included."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The node's configuration."""


class Kind(StrEnum):
    """Kinds of evidence; the values name lanes and label `kind` of our own metrics."""

    TOPOLOGY = "Topology"
    LIFECYCLE = "Lifecycle"
    REGISTRY = "Registry"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a node knows of its cluster and of itself."""

    kind: Kind


Want: TypeAlias = Latest | Window | Settings | Evidence


@dataclass(frozen=True, slots=True)
class Target:
    """One agent to ask, and the lane on which it is asked."""

    agent_id: str
    lane: str


# ---- what a plan asks its shell to do -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """Send this want; report `answered` or `failed` with the same id."""

    target: Target
    ask_id: int
    want: Want


@dataclass(frozen=True, slots=True)
class Deliver:
    """The answer at hand belongs to this round too."""

    round_id: int
    agent_id: str


@dataclass(frozen=True, slots=True)
class Lost:
    """This agent's part of the round is missing."""

    round_id: int
    agent_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Nobody is waited for any more."""

    round_id: int


Effect: TypeAlias = Ask | Deliver | Lost | Finished
Effects: TypeAlias = list[Effect]


# ---- state --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Asked:
    ask_id: int
    want: Want
    sent_ms: int
    rounds: set[int] = field(default_factory=set)
    arrived: bool = False


@dataclass(slots=True)
class _Lane:
    outstanding: _Asked | None = None
    waiting: list[_Asked] = field(default_factory=list)
    slow: bool = False

    def find(self, want: Want) -> _Asked | None:
        """Return the ask for the same that is out or waits."""
        asks = [self.outstanding, *self.waiting] if self.outstanding else self.waiting
        return next((asked for asked in asks if asked.want == want), None)


@dataclass(slots=True)
class _Round:
    want: Want
    patience_ms: int
    deadline_ms: int
    parallel: int
    unsent: deque[Target]
    # Agents waited for and until when; in order of time, because patience is the same for all.
    pending: dict[str, tuple[Target, int]] = field(default_factory=dict)

    def takes_one(self, most: int) -> bool:
        """Say whether one more may be asked."""
        return len(self.pending) < self.parallel if self.parallel else most > 0


class RoundPlan:
    """All rounds in flight and all lanes."""

    def __init__(self) -> None:
        self.late_answers = 0
        self.unasked_answers = 0
        self._rounds: dict[int, _Round] = {}
        self._lanes: dict[str, dict[str, _Lane]] = {}
        self._next_round = 0
        self._next_ask = 0

    def __len__(self) -> int:
        return len(self._rounds)

    def begin(
        self,
        want: Want,
        targets: Iterable[Target],
        now_ms: int,
        *,
        patience_ms: int,
        deadline_ms: int,
        parallel: int = 0,
    ) -> tuple[int, Effects]:
        """Open a round; each agent is waited for `patience_ms`, the round until `deadline_ms`.

        `parallel` limits how many agents are asked at a time; with 0 all are, some by each
        `ask_on`, whoever has answered or not.
        """
        self._next_round += 1
        round_id = self._next_round
        once = {target.agent_id: target for target in targets}
        opened = _Round(want, patience_ms, deadline_ms, parallel, deque(once.values()))
        self._rounds[round_id] = opened
        return round_id, self._go_on(round_id, now_ms, ASKED_AT_ONCE)

    @property
    def is_asking(self) -> bool:
        """Whether there are agents to be asked before anybody has to answer."""
        return any(one.unsent and not one.parallel for one in self._rounds.values())

    def ask_on(self, now_ms: int) -> Effects:
        """Ask some more of those who need not wait for others."""
        effects: Effects = []
        for round_id in tuple(self._rounds):
            effects += self._go_on(round_id, now_ms, ASKED_AT_ONCE)
        return effects

    def outstanding(self, target: Target) -> tuple[int, Want] | None:
        """Return id and want of the ask that this lane still has to answer."""
        lane = self._lanes.get(target.agent_id, {}).get(target.lane)
        if lane is None or lane.outstanding is None:
            return None
        return lane.outstanding.ask_id, lane.outstanding.want

    def waiting(self, target: Target) -> tuple[int, ...]:
        """Return the rounds that still wait for what this lane has to answer."""
        lane = self._lanes.get(target.agent_id, {}).get(target.lane)
        return () if lane is None or lane.outstanding is None else tuple(lane.outstanding.rounds)

    def age_ms(self, target: Target, now_ms: int) -> int:
        """Return how long this lane has had its ask, 0 without one."""
        lane = self._lanes.get(target.agent_id, {}).get(target.lane)
        return 0 if lane is None or lane.outstanding is None else now_ms - lane.outstanding.sent_ms

    def unasked(self) -> None:
        """Count an answer for which no ask was out."""
        self.unasked_answers += 1

    # ---- inputs -------------------------------------------------------------------------------

    def arrived(self, target: Target, now_ms: int) -> None:
        """Bytes of the answer are here: a busy proxy must not hold that against the agent.

        Once per ask, so that an answer without end gains nothing by it.
        """
        lane = self._lanes.get(target.agent_id, {}).get(target.lane)
        if lane is None or lane.outstanding is None or lane.outstanding.arrived:
            return
        lane.outstanding.arrived = True
        for round_id in lane.outstanding.rounds:
            running = self._rounds[round_id]
            until = now_ms + max(ARRIVED_MS, running.patience_ms)
            running.pending.pop(target.agent_id, None)
            running.pending[target.agent_id] = (target, until)  # behind the others: it is later

    def answered(self, target: Target, ask_id: int, now_ms: int) -> Effects:
        """The ask has its whole answer."""
        lane = self._lane_of(target, ask_id)
        if lane is None or lane.outstanding is None:
            self.unasked()
            return []
        asked = lane.outstanding
        if not asked.rounds:
            self.late_answers += 1
        effects: Effects = [Deliver(r, target.agent_id) for r in sorted(asked.rounds)]
        return effects + self._settle(lane, target, asked.rounds, now_ms)

    def failed(
        self, target: Target, ask_id: int, reason: str, message: str, now_ms: int
    ) -> Effects:
        """The ask could not be sent, or its answer is that there is none."""
        lane = self._lane_of(target, ask_id)
        if lane is None or lane.outstanding is None:
            return []
        rounds = lane.outstanding.rounds
        effects: Effects = [Lost(r, target.agent_id, reason, message) for r in sorted(rounds)]
        return effects + self._settle(lane, target, rounds, now_ms)

    def gone(self, agent_id: str, reason: str, message: str, now_ms: int) -> Effects:
        """The agent's stream ended: nothing more is to be expected of its lanes."""
        effects: Effects = []
        for lane in self._lanes.pop(agent_id, {}).values():
            asks = [lane.outstanding, *lane.waiting] if lane.outstanding else lane.waiting
            for round_id in sorted({r for asked in asks for r in asked.rounds}):
                effects.append(Lost(round_id, agent_id, reason, message))
                effects += self._left(round_id, agent_id, now_ms)
        return effects

    def expire(self, now_ms: int) -> Effects:
        """Give up on whom the deadline has passed."""
        effects: Effects = []
        for round_id, running in tuple(self._rounds.items()):
            late = [t for t, until in running.pending.values() if until <= now_ms]
            if now_ms >= running.deadline_ms:
                unsent = [t.agent_id for t in running.unsent]
                running.unsent.clear()
                effects += [_too_late(round_id, agent_id) for agent_id in unsent]
            for target in late:
                self._forsake(target, round_id)
                effects.append(_no_answer(round_id, target.agent_id, running.patience_ms))
                running.pending.pop(target.agent_id, None)
            effects += self._go_on(round_id, now_ms)
        return effects

    def next_wake_ms(self) -> int | None:
        """When `expire` has something to do; None while no round is open."""
        times = [running.deadline_ms for running in self._rounds.values() if running.unsent]
        for running in self._rounds.values():
            first = next(iter(running.pending.values()), None)
            if first is not None:
                times.append(first[1])
        return min(times, default=None)

    # ---- inside -------------------------------------------------------------------------------

    def _lane_of(self, target: Target, ask_id: int) -> _Lane | None:
        lane = self._lanes.get(target.agent_id, {}).get(target.lane)
        if lane is None or lane.outstanding is None or lane.outstanding.ask_id != ask_id:
            return None
        return lane

    def _go_on(self, round_id: int, now_ms: int, most: int = 0) -> Effects:
        """Ask as many as may be asked now; finish when nobody is left.

        That is up to the limit of the round, or `most` where it has none.
        """
        running = self._rounds.get(round_id)
        if running is None:
            return []
        effects: Effects = []
        while running.unsent and running.takes_one(most):
            most -= 1
            effects += self._ask_one(round_id, running, running.unsent.popleft(), now_ms)
        if not running.unsent and not running.pending:
            del self._rounds[round_id]
            effects.append(Finished(round_id))
        return effects

    def _ask_one(self, round_id: int, running: _Round, target: Target, now_ms: int) -> Effects:
        lane = self._lanes.setdefault(target.agent_id, {}).setdefault(target.lane, _Lane())
        if lane.slow:
            repeated = self._repeat(lane, target, running.want, now_ms)
            return [*repeated, _still_silent(round_id, target.agent_id)]
        until = min(now_ms + running.patience_ms, running.deadline_ms)
        running.pending[target.agent_id] = (target, until)
        asked = lane.find(running.want)
        if asked is not None:
            asked.rounds.add(round_id)
            return []
        asked = self._new_ask(running.want, now_ms)
        asked.rounds.add(round_id)
        if lane.outstanding is not None:
            lane.waiting.append(asked)
            return []
        lane.outstanding = asked
        return [Ask(target, asked.ask_id, asked.want)]

    def _new_ask(self, want: Want, now_ms: int) -> _Asked:
        self._next_ask += 1
        return _Asked(self._next_ask, want, now_ms)

    def _repeat(self, lane: _Lane, target: Target, want: Want, now_ms: int) -> Effects:
        """Ask a slow agent again now and then, without waiting for it."""
        if lane.outstanding is not None and now_ms - lane.outstanding.sent_ms < REPEAT_AFTER_MS:
            return []
        lane.outstanding = self._new_ask(want, now_ms)
        return [Ask(target, lane.outstanding.ask_id, want)]

    def _settle(self, lane: _Lane, target: Target, rounds: set[int], now_ms: int) -> Effects:
        """The lane is free: send what waits, and let the rounds go on without this agent."""
        lane.outstanding, lane.slow = None, False
        effects: Effects = []
        if lane.waiting:
            asked = lane.waiting.pop(0)
            asked.sent_ms = now_ms
            lane.outstanding = asked
            effects.append(Ask(target, asked.ask_id, asked.want))
        for round_id in sorted(rounds):
            effects += self._left(round_id, target.agent_id, now_ms)
        return effects

    def _left(self, round_id: int, agent_id: str, now_ms: int) -> Effects:
        running = self._rounds.get(round_id)
        if running is not None:
            running.pending.pop(agent_id, None)
        return self._go_on(round_id, now_ms)

    def _forsake(self, target: Target, round_id: int) -> None:
        """A round no longer waits for this agent; who is waited for by nobody is slow."""
        lane = self._lanes.get(target.agent_id, {}).get(target.lane)
        if lane is None:
            return
        for asked in lane.waiting:
            asked.rounds.discard(round_id)
        lane.waiting = [asked for asked in lane.waiting if asked.rounds]
        if lane.outstanding is not None:
            lane.outstanding.rounds.discard(round_id)
            lane.slow = not lane.outstanding.rounds


def _no_answer(round_id: int, agent_id: str, patience_ms: int) -> Lost:
    message = f"no answer within {patience_ms / 1000:g} s"
    return Lost(round_id, agent_id, Reason.DEADLINE_EXCEEDED, message)


def _still_silent(round_id: int, agent_id: str) -> Lost:
    message = "has not answered an earlier query yet; it is not waited for until it does"
    return Lost(round_id, agent_id, Reason.DEADLINE_EXCEEDED, message)


def _too_late(round_id: int, agent_id: str) -> Lost:
    message = "the round's time was over before this agent was asked"
    return Lost(round_id, agent_id, Reason.DEADLINE_EXCEEDED, message)
