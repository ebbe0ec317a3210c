# SPDX-License-Identifier: Apache-2.0
"""Rounds in the event loop: callers wait, answers arrive, the plan decides.

The one idea: callers with the same filter await one future; the round belongs to nobody, so a
caller that goes away ends nothing.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

from fodc_protocol.errors import Reason
from fodc_protocol.link import frames
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.soundness import Admitted, Gate
from fodc_proxy.evidence.parts import Part
from fodc_proxy.fleet.membership import Contract, Member
from fodc_proxy.queries import plan
from fodc_proxy.queries.lanes import cannot, contract_of, kind_of, lane_of, name_of, wanted
from fodc_proxy.queries.pages.windows import (
    DOUBLE_BYTES,
    Column,
    ColumnsOfParts,
    WindowError,
)
from fodc_proxy.queries.places import Place, Places
from fodc_proxy.queries.results import Answer, AskPort, Missing, RoundResult, Selection
from fodc_proxy.telemetry import Telemetry

Blocks: TypeAlias = tuple[FamilyBlock, ...]
Columns: TypeAlias = tuple[Column, ...]
Payload: TypeAlias = Blocks | Columns | frames.Configuration | Part
QueryFrame: TypeAlias = (
    frames.MetricsPage | frames.WindowPart | frames.Configuration | frames.QueryFailed
)

# What one round may hold. Pages are bounded by agent too: a page of 30,000 series is 4 MiB.
WINDOW_BYTES: Final = 128 * 1024 * 1024
PAGES_BYTES: Final = 512 * 1024 * 1024
PAGE_BYTES: Final = 32 * 1024 * 1024
SERIES_BYTES: Final = 1024  # what a series of a window costs besides its points
_WINDOW_PARALLEL: Final = 8
_WINDOW_LONGEST_S: Final = 300.0


# ---- running rounds -----------------------------------------------------------------------------

_Key: TypeAlias = tuple[Selection, plan.Want]


@dataclass(slots=True)
class _Running:
    key: _Key
    members: dict[str, Member]
    done: asyncio.Future[RoundResult[Payload]]
    began_s: float
    bytes: int = 0
    values: dict[str, Payload] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    refused: list[tuple[Member, str]] = field(default_factory=list)
    place: Place | None = None

    def result(self, message: str = "") -> RoundResult[Payload]:
        """Return what is there; who is still waited for is missing for this reason."""
        answers, missing = [], list(self.missing)
        lost = {one.member.agent_id for one in missing}
        for agent_id, member in self.members.items():
            if agent_id in self.values:
                answers.append(Answer(member, self.values[agent_id]))
            elif agent_id not in lost:
                missing.append(Missing(member, Reason.DEADLINE_EXCEEDED, message))
        return RoundResult(tuple(answers), tuple(missing), tuple(self.refused))


@dataclass(slots=True)
class _Partial:
    """Parts of one answer that has not ended."""

    blocks: list[FamilyBlock] = field(default_factory=list)
    window: ColumnsOfParts = field(default_factory=ColumnsOfParts)
    bytes: int = 0


class Rounds:
    """Collects from the fleet on demand; belongs to the event loop's thread."""

    def __init__(
        self,
        members: Callable[[], Iterable[Member]],
        *,
        collection_timeout_s: float = 10.0,
        telemetry: Telemetry | None = None,
        places: Places | None = None,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self.collection_timeout_s = collection_timeout_s
        self._members = members
        self._plan = plan.RoundPlan()
        self._ports: dict[Contract, AskPort] = {}
        self._running: dict[int, _Running] = {}
        self._by_key: dict[_Key, _Running] = {}
        self._partials: dict[str, dict[int, _Partial]] = {}
        self._telemetry = telemetry or Telemetry()
        self._places = places or Places()
        self._window_budget = window_bytes
        self._gates: dict[str, Gate] = {}
        self._asking: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wake_ms = 0  # when the timer ends

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

    @property
    def window_bytes(self) -> int:
        """Bytes of windows that rounds in flight hold."""
        rounds = self._running.values()
        return sum(one.bytes for one in rounds if isinstance(one.key[1], plan.Window))

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
        """Return the columns of a window; few agents at a time, so that answers fit in memory.

        Raises TooManyWindowsError when no place is free in time.
        """
        key = (selection, window)
        running = self._by_key.get(key)
        if running is None:
            place = await self._places.take()
            running = self._by_key.get(key)  # begun by another caller while this one waited?
            if running is None:
                running = self._begin(key, self.collection_timeout_s, place)
            else:
                place.give_back()
        return cast("RoundResult[Columns]", await self._result(running, timeout_s))

    async def configuration(
        self, selection: Selection, timeout_s: float | None = None
    ) -> RoundResult[frames.Configuration]:
        """Return the configuration of the selected agents."""
        result = await self._collect(selection, plan.Settings(), timeout_s)
        return cast("RoundResult[frames.Configuration]", result)

    async def evidence(
        self, selection: Selection, kind: plan.Kind, patience_s: float | None = None
    ) -> RoundResult[Part]:
        """Return one kind of evidence; each agent is waited for `patience_s`, else as for a page.

        An agent that does not give this kind is missing as Unsupported.
        """
        result = await self._collect(selection, plan.Evidence(kind), None, patience_s)
        return cast("RoundResult[Part]", result)

    async def _collect(
        self,
        selection: Selection,
        want: plan.Want,
        timeout_s: float | None,
        patience_s: float | None = None,
    ) -> RoundResult[Payload]:
        key = (selection, want)
        patience_s = patience_s or self.collection_timeout_s
        running = self._by_key.get(key) or self._begin(key, patience_s)
        return await self._result(running, timeout_s)

    @staticmethod
    async def _result(running: _Running, timeout_s: float | None) -> RoundResult[Payload]:
        """Wait for the round's end, or until a caller has no more time: then what is there."""
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(running.done)
        except TimeoutError:
            return running.result(f"no answer within the {timeout_s:g} s that the caller waits")

    def _begin(self, key: _Key, timeout_s: float, place: Place | None = None) -> _Running:
        selection, want = key
        chosen = wanted(self._members(), selection)
        done: asyncio.Future[RoundResult[Payload]] = asyncio.get_running_loop().create_future()
        began_s = asyncio.get_running_loop().time()
        members = {m.agent_id: m for m in chosen}
        running = _Running(key, members, done, began_s, place=place)
        targets: list[plan.Target] = []
        for member in chosen:
            lost = cannot(member, want)
            if lost is None:
                targets.append(plan.Target(member.agent_id, lane_of(member.contract, want)))
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

    def arrived(self, agent_id: str, lane: str) -> None:
        """Note that bytes of an answer are here and wait for their turn to be read."""
        self._plan.arrived(plan.Target(agent_id, lane), self._now_ms())

    def answered(self, agent_id: str, lane: str, ask_id: int, value: Payload) -> None:
        """An agent has answered in full."""
        self._partials.get(agent_id, {}).pop(ask_id, None)
        target = plan.Target(agent_id, lane)
        took_s = self._plan.age_ms(target, self._now_ms()) / 1000
        member = self._member(agent_id)
        if member is not None:
            self._telemetry.rpc_took(member.contract, kind_of(value), took_s)
        self._carry_out(self._plan.answered(target, ask_id, self._now_ms()), value)

    def page(
        self, agent_id: str, lane: str, ask_id: int, blocks: Iterable[FamilyBlock]
    ) -> Iterator[None]:
        """An agent has given its whole page: what is sound of it is its answer.

        Yields where others may run; nothing more of this agent may be told before the end.
        """
        member = self._member(agent_id)
        if member is None:  # nobody waits for it any more
            self.answered(agent_id, lane, ask_id, ())
            return
        admitted = yield from self._gate(member).steps(blocks)
        self._left_out(agent_id, lane, member, admitted)
        self.answered(agent_id, lane, ask_id, admitted.blocks)

    def rendered(self, agent_id: str, lane: str, ask_id: int, page: Admitted) -> None:
        """An agent of the existing contract has given its page, which was rendered here."""
        member = self._member(agent_id)
        if member is not None:
            self._left_out(agent_id, lane, member, page)
        self.answered(agent_id, lane, ask_id, page.blocks)

    def _gate(self, member: Member) -> Gate:
        gate = self._gates.get(member.agent_id)
        if gate is None or gate.identity != member.identity_labels:
            gate = self._gates[member.agent_id] = Gate(member.identity_labels)
        return gate

    def _left_out(self, agent_id: str, lane: str, member: Member, admitted: Admitted) -> None:
        if admitted.duplicates:
            self._telemetry.samples_dropped(admitted.duplicates)
        for family, reason in admitted.refused:
            self._telemetry.family_refused(reason)
            for running in self._waiting(agent_id, lane):
                running.refused.append((member, family))

    def failed(self, agent_id: str, lane: str, ask_id: int, reason: str, message: str) -> None:
        """An agent has answered that there is no answer, or with nonsense."""
        self._drop_partial(agent_id, lane, ask_id)
        target = plan.Target(agent_id, lane)
        effects = self._plan.failed(target, ask_id, reason, message, self._now_ms())
        self._carry_out(effects)

    def gone(self, agent_id: str) -> None:
        """The agent's stream ended."""
        self._partials.pop(agent_id, None)
        self._gates.pop(agent_id, None)
        message = "the agent's connection ended before it answered"
        effects = self._plan.gone(agent_id, Reason.AGENT_GONE, message, self._now_ms())
        self._carry_out(effects)

    def heard(self, agent_id: str, frame: QueryFrame, size_bytes: int) -> Iterator[None]:
        """Take one frame of an answer of our own contract and its size on the wire, as `page`."""
        ask_id = frame.query_id
        match frame:
            case frames.MetricsPage():
                yield from self._page(agent_id, frame, size_bytes)
            case frames.WindowPart():
                self._window_part(agent_id, frame, size_bytes)
            case frames.Configuration():
                self.answered(agent_id, plan.Settings.__name__, ask_id, frame)
            case frames.QueryFailed():
                kinds = (plan.Latest, plan.Window, plan.Settings)
                for lane in (*(kind.__name__ for kind in kinds), *plan.Kind):
                    self.failed(agent_id, lane, ask_id, frame.reason, frame.message)

    def _page(self, agent_id: str, page: frames.MetricsPage, size_bytes: int) -> Iterator[None]:
        lane = plan.Latest.__name__
        partial = self._partial(agent_id, lane, page.query_id, page.last)
        if partial is None:
            return
        if not self._fits(agent_id, lane, page.query_id, size_bytes, partial):
            return
        partial.blocks += page.families
        if page.last:
            yield from self.page(agent_id, lane, page.query_id, partial.blocks)

    def _window_part(self, agent_id: str, part: frames.WindowPart, size_bytes: int) -> None:
        lane = plan.Window.__name__
        partial = self._partial(agent_id, lane, part.query_id, part.last)
        if partial is None:
            return
        cost_bytes = size_bytes + SERIES_BYTES * len(part.series)
        if not self._fits(agent_id, lane, part.query_id, cost_bytes, partial):
            return
        try:
            partial.window.add(part)
        except WindowError as error:
            self.failed(agent_id, lane, part.query_id, error.reason, error.message)
            return
        if part.last:
            self.answered(agent_id, lane, part.query_id, partial.window.columns())

    def columns(self, agent_id: str, lane: str, ask_id: int, columns: Columns) -> None:
        """An agent of the existing contract has given a window, all at once."""
        partial = self._partial(agent_id, lane, ask_id, last=True)
        if partial is None:
            return
        points = sum(len(column.values) for column in columns)
        cost_bytes = 2 * DOUBLE_BYTES * points + SERIES_BYTES * len(columns)
        if self._fits(agent_id, lane, ask_id, cost_bytes, partial):
            self.answered(agent_id, lane, ask_id, columns)

    def _fits(
        self, agent_id: str, lane: str, ask_id: int, size_bytes: int, partial: _Partial
    ) -> bool:
        """Charge bytes to the rounds that wait for them; an answer too large for one is lost."""
        partial.bytes += size_bytes
        is_window = lane != plan.Latest.__name__
        most_bytes = self._window_budget if is_window else PAGES_BYTES
        over = not is_window and partial.bytes > PAGE_BYTES
        for running in self._waiting(agent_id, lane):
            running.bytes += size_bytes
            over = over or running.bytes > most_bytes
        if over:
            message = "the answer is larger than the proxy keeps at a time: ask for less"
            self.failed(agent_id, lane, ask_id, Reason.TOO_LARGE, message)
        return not over

    def _drop_partial(self, agent_id: str, lane: str, ask_id: int) -> None:
        partial = self._partials.get(agent_id, {}).pop(ask_id, None)
        out = self._plan.outstanding(plan.Target(agent_id, lane))
        if partial is not None and out is not None and out[0] == ask_id:
            for running in self._waiting(agent_id, lane):
                running.bytes -= partial.bytes

    def _waiting(self, agent_id: str, lane: str) -> list[_Running]:
        waiting = self._plan.waiting(plan.Target(agent_id, lane))
        return [self._running[round_id] for round_id in waiting]

    def _partial(self, agent_id: str, lane: str, ask_id: int, last: bool) -> _Partial | None:  # noqa: FBT001 - as in the frame
        """Return where a part belongs, None for one that nobody asked for or waits for."""
        target = plan.Target(agent_id, lane)
        out = self._plan.outstanding(target)
        if out is None or out[0] != ask_id:
            self._plan.unasked()
            return None
        partials = self._partials.setdefault(agent_id, {})
        if not self._plan.waiting(target):  # too late: nothing of it is kept
            partials.pop(ask_id, None)
            if last:
                self._carry_out(self._plan.answered(target, ask_id, self._now_ms()))
            return None
        partial = partials.get(ask_id)
        if partial is None:
            partial = partials[ask_id] = _Partial()
            self._tell_labels(agent_id, partial)
        return partial

    def _tell_labels(self, agent_id: str, partial: _Partial) -> None:
        member = self._member(agent_id)
        if member is not None:
            partial.window.node_labels = tuple(member.labels.items())
            partial.window.identity = member.identity_labels

    def _member(self, agent_id: str) -> Member | None:
        for running in self._running.values():
            if agent_id in running.members:
                return running.members[agent_id]
        return None

    def stop(self) -> None:
        """End all rounds: whoever still waits is cancelled."""
        for handle in (self._timer, self._asking):
            if handle is not None:
                handle.cancel()
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
        if self._plan.is_asking and self._asking is None:
            self._asking = asyncio.get_running_loop().call_soon(self._ask_on)
        self._set_timer()

    def _ask_on(self) -> None:
        """Ask some more, now that all streams have had a turn."""
        self._asking = None
        self._carry_out(self._plan.ask_on(self._now_ms()))

    def _ask(self, ask: plan.Ask) -> plan.Effects:
        agent_id = ask.target.agent_id
        port = self._ports.get(contract_of(ask.target.lane))
        problem = (
            "no stream of its contract"
            if port is None
            else port.ask(agent_id, ask.ask_id, ask.want)
        )
        if not problem:
            return []
        # An agent without the stream of a kind of evidence does not give it.
        is_evidence = isinstance(ask.want, plan.Evidence)
        reason = Reason.UNSUPPORTED if is_evidence else Reason.AGENT_GONE
        return self._plan.failed(ask.target, ask.ask_id, reason, problem, self._now_ms())

    def _finish(self, round_id: int) -> None:
        running = self._running.pop(round_id)
        del self._by_key[running.key]
        kind = name_of(running.key[1])
        took_s = asyncio.get_running_loop().time() - running.began_s
        self._telemetry.round_took(kind, took_s)
        result = running.result()
        if running.place is not None:
            running.place.until_gone(result)
        if not running.done.done():
            running.done.set_result(result)

    # ---- time -----------------------------------------------------------------------------------

    @staticmethod
    def _now_ms() -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    def _set_timer(self) -> None:
        """Wake in time; a timer that ends too early is left, for it sets the next one."""
        wake_ms = self._plan.next_wake_ms()
        if self._timer is not None:
            if wake_ms is not None and wake_ms >= self._wake_ms:
                return
            self._timer.cancel()
            self._timer = None
        if wake_ms is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(wake_ms / 1000 + 0.001, self._expire)
            self._wake_ms = wake_ms

    def _expire(self) -> None:
        self._timer = None
        self._carry_out(self._plan.expire(self._now_ms()))
