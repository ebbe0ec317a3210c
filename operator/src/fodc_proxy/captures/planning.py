# SPDX-License-Identifier: Apache-2.0
"""Which captures may start now.

The one idea: the plan is a pure function of the requests and of what is taken.  Places go in turn
to the caller who has the fewest, and among the requests of a caller to the oldest; whoever waits is
told for what.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from fodc_api.words import Phase
from fodc_protocol.link.frames import MAX_CAPTURES_PER_AGENT
from fodc_protocol.profiles import Profile
from fodc_proxy.captures.model import Request, Result, Target


@dataclass(frozen=True, slots=True)
class Place:
    """One capture of one target of one request."""

    request_id: str
    target: int
    result: int


@dataclass(slots=True)
class Occupancy:
    """What is taken; grows while a plan is made."""

    max_running: int
    running: int = 0
    # Captures by caller; recording ones by address, of which an agent takes so many at a time.
    of_caller: Counter[str] = field(default_factory=Counter)
    on_node: Counter[str] = field(default_factory=Counter)
    # (address, profile) of exclusive captures that may be running in the node.
    profilers: set[tuple[str, str]] = field(default_factory=set)
    linked: AbstractSet[str] = frozenset()

    def take(self, caller: str, address: str, profile: str, *, is_recorded: bool = False) -> None:
        """Count a capture as running."""
        self.running += 1
        self.of_caller[caller] += 1
        self.on_node[address] += not is_recorded
        if is_exclusive(profile):
            self.profilers.add((address, profile))


def is_exclusive(profile: str) -> bool:
    """Say whether a Go process runs at most one profile of this kind."""
    return Profile(profile).facts.exclusive


@dataclass(frozen=True, slots=True)
class Plan:
    """What starts now, and by request why something of it has to wait, if it has."""

    starts: tuple[Place, ...]
    busy: Mapping[str, str]


def plan(requests: Sequence[Request], taken: Occupancy, now_ms: int) -> Plan:
    """Choose the captures that start now and take their places in `taken`."""
    obstacles: dict[str, str] = {}
    starts: list[Place] = []
    by_id = {one.id: one for one in requests}
    # What has no place now has none later in this plan: places are only taken.
    waiting: dict[str, Iterator[Place]] = {
        caller: _startable_of(
            [one for one in requests if one.caller == caller], taken, now_ms, obstacles
        )
        for caller in dict.fromkeys(one.caller for one in requests)
    }
    while waiting:
        caller = min(waiting, key=lambda one: taken.of_caller[one])
        place = next(waiting[caller], None)
        if place is None:
            del waiting[caller]
        elif taken.running >= taken.max_running:
            message = f"{taken.running} captures run already, as many as are allowed"
            obstacles.setdefault(place.request_id, message)
        else:
            starts.append(place)
            target = by_id[place.request_id].targets[place.target]
            taken.take(caller, target.address, target.results[place.result].profile)
    return Plan(tuple(starts), obstacles)


def _startable_of(
    requests: Sequence[Request], taken: Occupancy, now_ms: int, obstacles: dict[str, str]
) -> Iterator[Place]:
    for request in requests:
        yield from _startable(request, taken, now_ms, obstacles)


def _startable(
    request: Request, taken: Occupancy, now_ms: int, obstacles: dict[str, str]
) -> Iterator[Place]:
    """Yield what may start if there is a place, as far as the request's parallelism goes."""
    free = request.spec.execution.parallelism - sum(map(_is_running, request.targets))
    for at, target in _in_order(request):
        if free <= 0:
            return
        chosen = _next_of(request.id, target, taken, now_ms, obstacles)
        if chosen is not None:
            yield Place(request.id, at, chosen)
            free -= 1


def _is_running(target: Target) -> bool:
    return any(result.phase is Phase.RUNNING for result in target.results)


def _in_order(request: Request) -> Iterator[tuple[int, Target]]:
    """Targets that have nothing running and something left; those already begun come first."""
    idle = [
        (at, target)
        for at, target in enumerate(request.targets)
        if not target.phase.ended and not _is_running(target)
    ]
    return iter(sorted(idle, key=lambda pair: not pair[1].attempts))


def _next_of(
    request_id: str, target: Target, taken: Occupancy, now_ms: int, obstacles: dict[str, str]
) -> int | None:
    """The first capture of an idle target that may start; notes why earlier ones may not."""
    if target.awaits_agent and target.address not in taken.linked:
        obstacles.setdefault(request_id, f"waits for the agent of {target.node_id} to connect")
        return None
    due = [
        (at, result)
        for at, result in enumerate(target.results)
        if result.phase is Phase.PENDING and result.not_before_ms <= now_ms
    ]
    if due and taken.on_node[target.address] >= MAX_CAPTURES_PER_AGENT:
        told = f"{MAX_CAPTURES_PER_AGENT} captures run on {target.node_id}, as many as its agent"
        obstacles.setdefault(request_id, f"{told} takes at a time")
        return None
    for at, result in due:
        if (target.address, result.profile) not in taken.profilers:
            return at
        obstacles.setdefault(request_id, _profiler_busy(target, result))
    return None


def _profiler_busy(target: Target, result: Result) -> str:
    return f"ProfilerBusy: another {result.profile} capture runs on {target.node_id}"
