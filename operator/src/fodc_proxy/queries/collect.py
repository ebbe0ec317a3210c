# SPDX-License-Identifier: Apache-2.0
"""Rounds in the event loop: callers wait, answers arrive, the plan decides.

The one idea: callers with the same filter await one future; the round belongs to nobody, so a
caller that goes away ends nothing.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeAlias, TypeVar, cast

from fodc_protocol.errors import Reason
from fodc_protocol.link import frames
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.samples import MetricType
from fodc_proxy.fleet.membership import Contract, Member
from fodc_proxy.queries import plan
from fodc_proxy.queries.pages.windows import Column, ColumnsOfParts, WindowError

T = TypeVar("T")
Blocks: TypeAlias = tuple[FamilyBlock, ...]
Columns: TypeAlias = tuple[Column, ...]
Payload: TypeAlias = Blocks | Columns | frames.Configuration
QueryFrame: TypeAlias = (
    frames.MetricsPage | frames.WindowPart | frames.Configuration | frames.QueryFailed
)

FODC_METRICS_LANE: Final = "metrics"
WINDOW_BUDGET_BYTES: Final = 256 * 1024 * 1024
_WINDOW_PARALLEL: Final = 8
_WINDOW_LONGEST_S: Final = 300.0
_TYPES: Final = {kind.value: kind for kind in MetricType}
_log = logging.getLogger(__name__)


# ---- what callers see ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selection:
    """Which agents a caller wants; empty means all. Role exact, pod name in any case (§6.3).

    The pod name may have its namespace before it: `namespace/pod`.
    """

    role: str = ""
    pod_name: str = ""

    def covers(self, member: Member) -> bool:
        """Say whether this member is wanted."""
        if self.role and member.role != self.role:
            return False
        wanted = self.pod_name.casefold()
        return not wanted or wanted in {member.pod_name.casefold(), member.address.casefold()}

    def pod_label(self, member: Member) -> str:
        """Return the value that label pod_name must have in the answer of this member."""
        by_address = self.pod_name.casefold() == member.address.casefold()
        return member.pod_name if member.namespace and by_address else self.pod_name

    @property
    def is_all(self) -> bool:
        """Whether there is no filter."""
        return not self.role and not self.pod_name


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """One agent's part."""

    member: Member
    value: T


@dataclass(frozen=True, slots=True)
class Missing:
    """One agent whose part is missing, and why."""

    member: Member
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class RoundResult(Generic[T]):
    """What a round gave: parts in order of registration, and who is missing."""

    answers: tuple[Answer[T], ...]
    missing: tuple[Missing, ...]

    @property
    def asked(self) -> int:
        """Count of the agents that were wanted."""
        return len(self.answers) + len(self.missing)


class AskPort(Protocol):
    """Sends what a round wants to one agent; one implementation per contract."""

    def ask(self, agent_id: str, ask_id: int, want: plan.Want) -> str:
        """Queue the command without waiting; return "" or why it cannot be sent."""


# ---- running rounds -----------------------------------------------------------------------------

_Key: TypeAlias = tuple[Selection, plan.Want]


@dataclass(slots=True)
class _Running:
    key: _Key
    members: dict[str, Member]
    done: asyncio.Future[RoundResult[Payload]]
    values: dict[str, Payload] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)


@dataclass(slots=True)
class _Partial:
    """Parts of one answer that has not ended."""

    blocks: list[FamilyBlock] = field(default_factory=list)
    window: ColumnsOfParts = field(default_factory=ColumnsOfParts)


class Rounds:
    """Collects from the fleet on demand; belongs to the event loop's thread."""

    def __init__(
        self, members: Callable[[], Iterable[Member]], *, collection_timeout_s: float = 10.0
    ) -> None:
        self.collection_timeout_s = collection_timeout_s
        self._members = members
        self._plan = plan.RoundPlan()
        self._ports: dict[Contract, AskPort] = {}
        self._running: dict[int, _Running] = {}
        self._by_key: dict[_Key, _Running] = {}
        self._partials: dict[str, dict[int, _Partial]] = {}
        self._window_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._at_hand: Payload | None = None

    def connect(self, contract: Contract, port: AskPort) -> None:
        """Say who asks the agents of this contract."""
        self._ports[contract] = port

    @property
    def active(self) -> int:
        """Count of rounds in flight."""
        return len(self._running)

    @property
    def late_answers(self) -> int:
        """Answers that came after nobody waited any more."""
        return self._plan.late_answers

    @property
    def unasked_answers(self) -> int:
        """Answers for which no query was out."""
        return self._plan.unasked_answers

    # ---- asked by callers ---------------------------------------------------------------------

    async def metrics(
        self, selection: Selection, timeout_s: float | None = None
    ) -> RoundResult[Blocks]:
        """Return the latest values of the selected agents, rendered per family."""
        result = await self._collect(selection, plan.Latest(), timeout_s)
        return cast("RoundResult[Blocks]", result)

    async def windows(
        self, selection: Selection, window: plan.Window, timeout_s: float | None = None
    ) -> RoundResult[Columns]:
        """Return the columns of a window; few agents at a time, so that answers fit in memory."""
        result = await self._collect(selection, window, timeout_s)
        return cast("RoundResult[Columns]", result)

    async def configuration(
        self, selection: Selection, timeout_s: float | None = None
    ) -> RoundResult[frames.Configuration]:
        """Return the configuration of the selected agents."""
        result = await self._collect(selection, plan.Settings(), timeout_s)
        return cast("RoundResult[frames.Configuration]", result)

    async def _collect(
        self, selection: Selection, want: plan.Want, timeout_s: float | None
    ) -> RoundResult[Payload]:
        key = (selection, want)
        running = self._by_key.get(key)
        if running is None:
            running = self._begin(key, timeout_s or self.collection_timeout_s)
        return await asyncio.shield(running.done)

    def _begin(self, key: _Key, timeout_s: float) -> _Running:
        selection, want = key
        wanted = _wanted(self._members(), selection)
        done: asyncio.Future[RoundResult[Payload]] = asyncio.get_running_loop().create_future()
        running = _Running(key, {m.agent_id: m for m in wanted}, done)
        targets: list[plan.Target] = []
        for member in wanted:
            lost = _cannot(member, want)
            if lost is None:
                targets.append(plan.Target(member.agent_id, _lane(member, want)))
            else:
                running.missing.append(lost)
        is_window = isinstance(want, plan.Window)
        now_ms = self._now_ms()
        longest_s = max(timeout_s, _WINDOW_LONGEST_S) if is_window else timeout_s
        round_id, effects = self._plan.begin(
            want,
            targets,
            now_ms,
            patience_ms=round(timeout_s * 1000),
            deadline_ms=now_ms + round(longest_s * 1000),
            parallel=_WINDOW_PARALLEL if is_window else 0,
        )
        self._running[round_id] = self._by_key[key] = running
        self._carry_out(effects)
        return running

    # ---- told by the edges --------------------------------------------------------------------

    def outstanding(self, agent_id: str, lane: str) -> tuple[int, plan.Want] | None:
        """Return what this agent has still to answer on an uncorrelated stream."""
        return self._plan.outstanding(plan.Target(agent_id, lane))

    def unasked(self) -> None:
        """Count an answer for which nothing was out."""
        self._plan.unasked()

    def answered(self, agent_id: str, lane: str, ask_id: int, value: Payload) -> None:
        """An agent has answered in full."""
        self._partials.get(agent_id, {}).pop(ask_id, None)
        target = plan.Target(agent_id, lane)
        self._carry_out(self._plan.answered(target, ask_id, self._now_ms()), value)

    def failed(self, agent_id: str, lane: str, ask_id: int, reason: str, message: str) -> None:
        """An agent has answered that there is no answer, or with nonsense."""
        self._partials.get(agent_id, {}).pop(ask_id, None)
        target = plan.Target(agent_id, lane)
        effects = self._plan.failed(target, ask_id, reason, message, self._now_ms())
        self._carry_out(effects)

    def gone(self, agent_id: str) -> None:
        """The agent's stream ended."""
        self._partials.pop(agent_id, None)
        message = "the agent's connection ended before it answered"
        effects = self._plan.gone(agent_id, Reason.AGENT_GONE, message, self._now_ms())
        self._carry_out(effects)

    def heard(self, agent_id: str, frame: QueryFrame) -> None:
        """Take one frame of an answer of our own contract."""
        ask_id = frame.query_id
        match frame:
            case frames.MetricsPage():
                self._page(agent_id, frame)
            case frames.WindowPart():
                self._window_part(agent_id, frame)
            case frames.Configuration():
                self.answered(agent_id, plan.Settings.__name__, ask_id, frame)
            case frames.QueryFailed():
                for want in (plan.Latest, plan.Window, plan.Settings):
                    self.failed(agent_id, want.__name__, ask_id, frame.reason, frame.message)

    def _page(self, agent_id: str, page: frames.MetricsPage) -> None:
        lane = plan.Latest.__name__
        partial = self._partial(agent_id, lane, page.query_id)
        if partial is None:
            return
        partial.blocks += _blocks(page.families)
        if page.last:
            self.answered(agent_id, lane, page.query_id, tuple(partial.blocks))

    def _window_part(self, agent_id: str, part: frames.WindowPart) -> None:
        lane = plan.Window.__name__
        partial = self._partial(agent_id, lane, part.query_id)
        if partial is None:
            return
        try:
            partial.window.add(part)
        except WindowError as error:
            self.failed(agent_id, lane, part.query_id, error.reason, error.message)
            return
        self._window_bytes += len(part.values)
        if self._window_bytes > WINDOW_BUDGET_BYTES:
            message = "the windows asked for are larger than the proxy keeps at a time"
            self.failed(agent_id, lane, part.query_id, Reason.TOO_LARGE, message)
        elif part.last:
            self.answered(agent_id, lane, part.query_id, partial.window.columns())

    def _partial(self, agent_id: str, lane: str, ask_id: int) -> _Partial | None:
        out = self._plan.outstanding(plan.Target(agent_id, lane))
        if out is None or out[0] != ask_id:
            self._plan.unasked()
            return None
        partials = self._partials.setdefault(agent_id, {})
        partial = partials.get(ask_id)
        if partial is None:
            partials.clear()  # what is left of an ask that was given up
            partial = partials[ask_id] = _Partial()
            partial.window.node_labels = self._node_labels(agent_id)
        return partial

    def _node_labels(self, agent_id: str) -> tuple[tuple[str, str], ...]:
        for running in self._running.values():
            if agent_id in running.members:
                return tuple(running.members[agent_id].labels.items())
        return ()

    def stop(self) -> None:
        """End all rounds: whoever still waits is cancelled."""
        if self._timer is not None:
            self._timer.cancel()
        for running in self._running.values():
            running.done.cancel()

    # ---- carrying out ---------------------------------------------------------------------------

    def _carry_out(self, effects: plan.Effects, value: Payload | None = None) -> None:
        todo = deque(effects)
        while todo:
            match todo.popleft():
                case plan.Ask() as ask:
                    todo.extend(self._ask(ask))
                case plan.Deliver() as deliver:
                    if value is not None:
                        self._running[deliver.round_id].values[deliver.agent_id] = value
                case plan.Lost() as lost:
                    running = self._running[lost.round_id]
                    member = running.members[lost.agent_id]
                    running.missing.append(Missing(member, lost.reason, lost.message))
                case plan.Finished() as finished:
                    self._finish(finished.round_id)
        self._set_timer()

    def _ask(self, ask: plan.Ask) -> plan.Effects:
        agent_id = ask.target.agent_id
        contract = Contract.FODC if ask.target.lane == FODC_METRICS_LANE else Contract.LINK
        port = self._ports.get(contract)
        problem = (
            "no stream of its contract"
            if port is None
            else port.ask(agent_id, ask.ask_id, ask.want)
        )
        if not problem:
            return []
        return self._plan.failed(ask.target, ask.ask_id, Reason.AGENT_GONE, problem, self._now_ms())

    def _finish(self, round_id: int) -> None:
        running = self._running.pop(round_id)
        del self._by_key[running.key]
        if not any(isinstance(want, plan.Window) for _, want in self._by_key):
            self._window_bytes = 0
        answers = tuple(
            Answer(member, running.values[agent_id])
            for agent_id, member in running.members.items()
            if agent_id in running.values
        )
        if not running.done.done():
            running.done.set_result(RoundResult(answers, tuple(running.missing)))

    # ---- time -----------------------------------------------------------------------------------

    @staticmethod
    def _now_ms() -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_ms = self._plan.next_wake_ms()
        if wake_ms is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(wake_ms / 1000 + 0.001, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._carry_out(self._plan.expire(self._now_ms()))


def _wanted(members: Iterable[Member], selection: Selection) -> list[Member]:
    """Return whom the selection covers; a dead entry beside a living one of its pod is no part."""
    covered = [member for member in members if selection.covers(member)]
    living = {m.address for m in covered if m.is_living}
    return [m for m in covered if m.is_living or m.address not in living]


def _cannot(member: Member, want: plan.Want) -> Missing | None:
    if not member.is_living:
        return Missing(member, Reason.OFFLINE, "the agent is not connected")
    if isinstance(want, plan.Settings) and member.contract is Contract.FODC:
        message = "an agent of the existing contract cannot tell its configuration"
        return Missing(member, Reason.UNSUPPORTED, message)
    return None


def _lane(member: Member, want: plan.Want) -> str:
    """Return the lane: our contract numbers its queries, the existing one has a single file."""
    return FODC_METRICS_LANE if member.contract is Contract.FODC else type(want).__name__


def _blocks(families: Iterable[frames.Family]) -> list[FamilyBlock]:
    """Turn families of the wire into blocks; text that does not end its last line is ended."""
    blocks: list[FamilyBlock] = []
    for family in families:
        text = family.text if family.text.endswith(b"\n") else family.text + b"\n"
        kind = _TYPES.get(family.type, MetricType.UNTYPED)
        blocks.append(FamilyBlock(family.name, kind, family.help, text, family.samples))
    return blocks
