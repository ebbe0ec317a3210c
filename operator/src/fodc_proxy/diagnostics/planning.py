# SPDX-License-Identifier: Apache-2.0
"""Which captures may start now.

The one idea: the plan is a pure function of the requests and of what is taken; requests are served
in the order of their arrival, and whoever waits is told for what.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from fodc_protocol.profiles import Profile
from fodc_proxy.diagnostics.model import Phase, Request, Result, Target


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
    # (pod name, profile) of exclusive captures that may be running in the node.
    profilers: set[tuple[str, str]] = field(default_factory=set)
    linked: AbstractSet[str] = frozenset()

    def take(self, address: str, profile: str) -> None:
        """Count a capture as running."""
        self.running += 1
        if is_exclusive(profile):
            self.profilers.add((address, profile))


def is_exclusive(profile: str) -> bool:
    """Say whether a Go process runs at most one profile of this kind."""
    return Profile(profile).facts.exclusive


@dataclass(frozen=True, slots=True)
class Plan:
    """What one request may start now, and why the rest of it has to wait for others, if it has."""

    starts: tuple[Place, ...] = ()
    busy: str = ""


def plan(request: Request, taken: Occupancy, now_ms: int) -> Plan:
    """Choose the captures of a request that start now and take their places in `taken`."""
    starts: list[Place] = []
    obstacles: list[str] = []
    free = request.spec.execution.parallelism - _running_targets(request)
    for at, target in _in_order(request):
        if free <= 0:
            break
        chosen = _next_of(target, taken, now_ms, obstacles)
        if chosen is None:
            continue
        if taken.running >= taken.max_running:
            obstacles.append(f"{taken.running} captures run already, as many as are allowed")
            break
        taken.take(target.address, target.results[chosen].profile)
        starts.append(Place(request.id, at, chosen))
        free -= 1
    busy = obstacles[0] if obstacles else ""
    return Plan(tuple(starts), busy)


def _running_targets(request: Request) -> int:
    return sum(_is_running(target) for target in request.targets)


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


def _next_of(target: Target, taken: Occupancy, now_ms: int, obstacles: list[str]) -> int | None:
    """The first capture of an idle target that may start; notes why earlier ones may not."""
    if target.awaits_agent and target.address not in taken.linked:
        obstacles.append(f"waits for the agent of {target.node_id} to connect")
        return None
    for at, result in enumerate(target.results):
        if result.phase is not Phase.PENDING or result.not_before_ms > now_ms:
            continue
        if (target.address, result.profile) in taken.profilers:
            obstacles.append(_profiler_busy(target, result))
            continue
        return at
    return None


def _profiler_busy(target: Target, result: Result) -> str:
    return f"ProfilerBusy: another {result.profile} capture runs on {target.node_id}"
