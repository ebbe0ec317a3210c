# SPDX-License-Identifier: Apache-2.0
"""The views of a cluster as they are asked for: topology now, lifecycle and schema on a timer too.

The one idea: what an answer lacks is said beside it: who was asked, whose part is missing, and how
old a part is that stands in for it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, cast

from fodc_api import lifecycle as lifecycle_api
from fodc_api.topology import Topology
from fodc_protocol.errors import Reason
from fodc_protocol.metrics.samples import Sample
from fodc_protocol.times import format_rfc3339_ms
from fodc_proxy.evidence import lifecycle as rules
from fodc_proxy.evidence import parts
from fodc_proxy.evidence.consistency import Checker
from fodc_proxy.evidence.figures import schema_samples
from fodc_proxy.evidence.remembered import Aged, Remembered, S
from fodc_proxy.evidence.topology import Seen, merged
from fodc_proxy.fleet.membership import Contract, Member
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.queries.collect import Rounds
from fodc_proxy.queries.plan import Kind
from fodc_proxy.queries.results import RoundResult, Selection
from fodc_proxy.wire.pauses import let_others_run

# An agent asks its node for up to 40 s, and a proxy gives it ten more (upstream-proxy §9).
LIFECYCLE_PATIENCE_S: Final = 50.0
# How long an agent of the existing contract answers from its cache by default.
CACHED_BY_AGENTS_MS: Final = 600_000
_LIAISON: Final = "ROLE_LIAISON"
_GROUPS_AT_A_TIME: Final = 16
_UNASKED: Final = frozenset({Reason.UNSUPPORTED, Reason.OFFLINE})
T = TypeVar("T")
_log = logging.getLogger(__name__)


def steady_ms() -> int:
    """Return milliseconds of the steady clock."""
    return time.monotonic_ns() // 1_000_000


async def _nobody(_verdicts: Sequence[rules.Judged]) -> None:
    return


@dataclass(frozen=True, slots=True)
class Shown(Generic[T]):
    """An answer, and how whole it is; `stale` are pods shown as they were, with the age in ms."""

    value: T
    asked: int
    answered: int
    missing: tuple[str, ...]
    stale: tuple[tuple[str, int], ...] = ()
    age_ms: int = 0


class Views:
    """What the cluster looks like; belongs to the event loop's thread."""

    def __init__(
        self,
        registry: Registry,
        rounds: Rounds,
        *,
        check_interval_s: float,
    ) -> None:
        """Look after the schema every `check_interval_s`, 0 for when somebody asks only."""
        self._registry = registry
        self._rounds = rounds
        self._check_interval_s = check_interval_s
        self._topologies: Remembered[parts.Topology] = Remembered()
        self._lifecycles: Remembered[parts.Lifecycle] = Remembered()
        self._roster = rules.Roster()
        self._checker = Checker()
        self._collecting: asyncio.Task[Shown[lifecycle_api.Lifecycle]] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._last: tuple[int, Shown[lifecycle_api.Lifecycle]] | None = None
        self._verdicts: tuple[rules.Judged, ...] = ()
        self._on_judged: Callable[[Sequence[rules.Judged]], Awaitable[None]] = _nobody
        self._checked_ms: int | None = None

    def on_judged(self, callback: Callable[[Sequence[rules.Judged]], Awaitable[None]]) -> None:
        """Tell `callback` of the verdicts of each comparison; it raises nothing."""
        self._on_judged = callback

    # ---- topology -------------------------------------------------------------------------------

    async def topology(self) -> Shown[Topology]:
        """Ask every agent for the cluster as it sees it."""
        told = await self._rounds.evidence(Selection(), Kind.TOPOLOGY)
        result = cast("RoundResult[parts.Topology]", told)
        aged = self._topologies.note(result, steady_ms())
        self._topologies.keep_only(self._addresses())
        return _shown(merged((one.value for one in aged), self._seen), result, aged)

    def _seen(self, pod_name: str) -> Seen | None:
        member = self._registry.find(pod_name)
        if member is None:
            return None
        return Seen(member.status, format_rfc3339_ms(member.last_heartbeat_ms))

    def _addresses(self) -> list[str]:
        return [member.address for member in self._registry.members()]

    # ---- lifecycle ------------------------------------------------------------------------------

    async def lifecycle(self) -> Shown[lifecycle_api.Lifecycle]:
        """Collect groups, reports and schema; callers at the same time share one collection.

        Where agents take longer than a page may, the last collection is shown with its age.
        """
        collecting = asyncio.shield(self._collection())
        if self._last is None:
            return await collecting
        try:
            async with asyncio.timeout(self._rounds.collection_timeout_s):
                return await collecting
        except TimeoutError:
            ended_ms, shown = self._last
            age_ms = steady_ms() - ended_ms
            return Shown(shown.value, shown.asked, shown.answered, shown.missing, (), age_ms)

    def _collection(self) -> "asyncio.Task[Shown[lifecycle_api.Lifecycle]]":
        if self._collecting is None:
            self._collecting = asyncio.create_task(self._collect(), name="lifecycle")
            self._collecting.add_done_callback(self._collected)
        return self._collecting

    def _collected(self, _task: object) -> None:
        self._collecting = None

    async def _collect(self) -> Shown[lifecycle_api.Lifecycle]:
        told = await self._rounds.evidence(Selection(), Kind.LIFECYCLE, LIFECYCLE_PATIENCE_S)
        result = cast("RoundResult[parts.Lifecycle]", told)
        now_ms = steady_ms()
        aged = self._lifecycles.note(result, now_ms)
        self._lifecycles.keep_only(self._addresses())
        summary, error = self._summary(result)
        groups: tuple[lifecycle_api.Group, ...] = ()
        judged = [_told(one, now_ms) for one in aged]
        if not error:
            groups = await self._judge(judged, summary)
        shown = lifecycle_api.Lifecycle(
            agent_summary=summary,
            groups=groups,
            lifecycle_statuses=rules.statuses(judged),
            **({"error": error} if error else {}),
        )
        kept = _shown(shown, result, aged)
        self._last = (steady_ms(), kept) if not error else None
        return kept

    def _summary(
        self, result: RoundResult[parts.Lifecycle]
    ) -> tuple[lifecycle_api.AgentSummary, str]:
        """Return the counts, and what is told when there is nothing to show (§6.7)."""
        total, responded = result.asked, len(result.answers)
        asked = [lost for lost in result.missing if lost.reason not in _UNASKED]
        requested = responded + len(asked)
        summary = lifecycle_api.AgentSummary(total, requested, responded, requested - responded)
        if not total:
            return summary, "FODC unavailable: no agents registered"
        if not requested:
            words = f"0/{total} registered agents support the lifecycle stream"
            return summary, f"FODC unavailable: {words}"
        if not responded:
            return summary, f"FODC unavailable: 0/{requested} requested agents responded"
        return summary, ""

    # ---- schema ---------------------------------------------------------------------------------

    async def _judge(
        self, told: Sequence[rules.Told], summary: lifecycle_api.AgentSummary
    ) -> tuple[lifecycle_api.Group, ...]:
        """Compare what nodes have with the registry; every collection is one round."""
        self._roster.note(told, self._addresses())
        groups = rules.merged(told)
        schemas = rules.schemas_of(told, self._roster)
        truth = parts.Registry({})
        if schemas.complete or len(self._roster):
            truth = await self._read_registry()
        # Who did not answer and never told its schema might have had some.
        expected = max(len(self._roster), len(schemas.complete) + bool(summary.not_responded))
        found: list[rules.Judged] = []
        now_ms = steady_ms()
        for one in rules.judged(
            groups, truth, schemas, expected=expected, checker=self._checker, now_ms=now_ms
        ):
            found.append(one)
            if len(found) % _GROUPS_AT_A_TIME == 0:
                await let_others_run(1)
        self._verdicts, self._checked_ms = tuple(found), now_ms
        await self._on_judged(self._verdicts)
        return tuple(one.group for one in found)

    async def _read_registry(self) -> parts.Registry:
        """Read the registry through one liaison after the other until one can (§10.2)."""
        members = self._registry.members()
        liaisons = [m for m in members if m.role == _LIAISON and m.is_living]
        if not liaisons:
            words = "no schema-serving (liaison) agent available to read the registry"
            return parts.Registry({}, words)
        last = ""
        for liaison in sorted(liaisons, key=lambda m: m.agent_id):
            read, last = await self._read_through(liaison)
            if read is not None:
                return read
        words = f"schema registry read failed on all {len(liaisons)} liaison agent(s): {last}"
        return parts.Registry({}, words)

    async def _read_through(self, liaison: Member) -> tuple[parts.Registry | None, str]:
        selection = Selection(pod_name=liaison.address)
        told = await self._rounds.evidence(selection, Kind.REGISTRY, LIFECYCLE_PATIENCE_S)
        result = cast("RoundResult[parts.Registry]", told)
        for answer in result.answers:
            if answer.member.agent_id == liaison.agent_id and not answer.value.fatal:
                return answer.value, ""
            agent_id = answer.member.agent_id
            return None, f"agent {agent_id} registry read failed: {answer.value.fatal}"
        return None, "; ".join(lost.message for lost in result.missing)

    def samples(self) -> Iterable[Sample]:
        """Return the verdicts of the last collection for the page of Prometheus."""
        age_ms = None if self._checked_ms is None else steady_ms() - self._checked_ms
        return schema_samples(self._verdicts, age_ms)

    # ---- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look after the schema."""
        if self._check_interval_s > 0:
            self._watching = asyncio.create_task(self._watch(), name="schema watch")

    async def stop(self) -> None:
        """End all work and wait for it."""
        tasks = [task for task in (self._watching, self._collecting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._check_interval_s)
            try:
                await asyncio.shield(self._collection())
            except Exception:  # noqa: BLE001 - logged; the next turn may do better
                _log.exception("the schema could not be looked after")


def _shown(value: T, result: RoundResult[S], aged: Sequence[Aged[S]]) -> Shown[T]:
    return Shown(
        value,
        result.asked,
        len(result.answers),
        tuple(lost.member.pod_name for lost in result.missing),
        tuple((one.member.pod_name, one.age_ms) for one in aged if not one.is_fresh),
    )


def _told(one: Aged[parts.Lifecycle], now_ms: int) -> rules.Told:
    """Say from when on the evidence surely is: the existing contract does not tell."""
    cached_ms = CACHED_BY_AGENTS_MS if one.member.contract is Contract.FODC else 0
    member, taken_ms = one.member, now_ms - one.age_ms - cached_ms
    return rules.Told(member.address, member.pod_name, one.value, taken_ms, one.is_fresh)
