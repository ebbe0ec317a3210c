# SPDX-License-Identifier: Apache-2.0
"""Keeps the status of FodcInjections true and does what they ask about pods without an agent.

The one idea: whatever happens, a change of a pod, of a policy, of a namespace or of the webhook,
ends in "look at this namespace again"; a look works everything out from what is in memory and
sends only what differs. So a new leader goes on where the old one was killed.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from fodc_kube import kinds
from fodc_kube.client import Cluster, Object
from fodc_kube.conditions import Condition, condition_of
from fodc_kube.errors import ClusterError, ConflictError, NotFoundError
from fodc_kube.events import Events
from fodc_kube.informer import Change, Informer, Selection
from fodc_operator import telemetry
from fodc_operator.injection import evictions, policy_status, suspension
from fodc_operator.injection.agent_state import time_ms
from fodc_operator.injection.attempt import Book, attempt, book_of
from fodc_operator.injection.evicting import Evictor
from fodc_operator.injection.evictions import Hold, Memory
from fodc_operator.injection.outcome import Injection, Pod
from fodc_operator.injection.policy_status import Facts, Status
from fodc_operator.injection.remote_agents import CONDITION as REMOTE
from fodc_operator.injection.remote_agents import RemoteAgents
from fodc_operator.injection.revision import revision_of
from fodc_operator.injection.standing import (
    Judging,
    PodState,
    PolicyView,
    Remote,
    Scene,
    Standing,
    WebhookHealth,
    blocked_since,
    sightings,
)
from fodc_operator.resources.fodc_injection import Defaults, MissedAction, Policy
from fodc_operator.resources.kinds import FODC_INJECTION
from fodc_protocol.metrics.samples import Sample

_AT_ONCE: Final = 25
"""So many pods are judged without a break, about a millisecond's worth."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often what is done; seconds."""

    debounce_s: float = 0.2
    """Changes that come together are looked at together."""
    unsettled_s: float = 5.0
    """When something may change by time alone."""
    settled_s: float = 60.0
    poll_s: float = 2.0
    """How often the webhook's health is asked."""
    rest_per_pod_s: float = 0.003
    """A namespace is left alone so long for each of its pods: judging one takes a few hundredths of
    that, and while hundreds are made there the loop has the webhook to answer."""
    longest_rest_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the reconciler asks others, each time anew."""

    defaults: Defaults
    server_version: Callable[[], tuple[int, int]]
    webhook: Callable[[], WebhookHealth] = WebhookHealth
    captures: Callable[[str], bool] = lambda _address: False
    """Whether a capture runs on the pod of this address."""
    excluded: frozenset[str] = frozenset()
    """Namespaces in which the webhook is never asked."""


@dataclass(slots=True)
class _Place:
    """One namespace with policies: its pods, and when to look at it again."""

    pods: Informer
    watching: asyncio.Task[None]
    due_s: float
    rest_s: float = 0.0
    """How long after a change it is left alone, for what a look costs."""
    blocked: dict[str, int] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)
    suspended: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Figures:
    """What the reconciler did."""

    writes: Counter[str] = field(default_factory=Counter)
    evictions: Counter[tuple[str, str]] = field(default_factory=Counter)


class Reconciler:
    """Belongs to the main loop; `run` ends only by being cancelled.

    `policies` and `namespaces` are informers that somebody else runs.
    """

    def __init__(
        self,
        cluster: Cluster,
        policies: Informer,
        namespaces: Informer,
        events: Events,
        around: Surroundings,
        *,
        pace: Pace | None = None,
        rules: suspension.Rules | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.figures = Figures()
        self._cluster = cluster
        self._policies = policies
        self._namespaces = namespaces
        self._events = events
        self._around = around
        self._pace = pace or Pace()
        self._rules = rules or suspension.Rules()
        self._clock_ms = clock_ms
        self._remote = RemoteAgents(cluster)
        self._evictor = Evictor(cluster, self.figures.evictions)
        self._places: dict[str, _Place] = {}
        self._written: dict[str, Object] = {}
        self._memories: dict[str, Memory] = {}
        self._changed = asyncio.Event()
        self._health = WebhookHealth()
        policies.on_change(self._noted)
        namespaces.on_change(self._namespace_noted)

    # ---- life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look at namespaces as they change, until cancelled."""
        try:
            await self._policies.wait_synced()
            await self._namespaces.wait_synced()
            while True:
                self._follow()
                self._ask_webhook()
                await self._look_at_due()
                await self._wait()
        finally:
            watching = [place.watching for place in self._places.values()]
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            self._places.clear()

    async def _wait(self) -> None:
        """Sleep until something is due; a change makes it due a moment later."""
        self._changed.clear()
        due_s = min((one.due_s for one in self._places.values()), default=self._now_s() + 60)
        left_s = min(max(due_s - self._now_s(), 0.01), self._pace.poll_s)
        try:
            async with asyncio.timeout(left_s):
                await self._changed.wait()
        except TimeoutError:
            return

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()

    # ---- what is looked at --------------------------------------------------------------------

    def _follow(self) -> None:
        """Watch the pods of exactly those namespaces that have policies."""
        wanted = {str(one["metadata"]["namespace"]) for one in self._policies.items()}
        for namespace in wanted - self._places.keys():
            self._places[namespace] = self._new_place(namespace)
        for namespace in self._places.keys() - wanted:
            self._places.pop(namespace).watching.cancel()
            self._remote.forget(namespace)
        known = {_uid(one) for one in self._policies.items()}
        for gone in (self._written.keys() | self._memories.keys()) - known:
            self._written.pop(gone, None)
            self._memories.pop(gone, None)

    def _new_place(self, namespace: str) -> _Place:
        unended = "status.phase!=Succeeded,status.phase!=Failed"
        pods = Informer(self._cluster, kinds.POD, Selection((namespace,), fields=unended))
        pods.on_change(self._noted)
        task = asyncio.create_task(pods.run(), name=f"injection-pods-{namespace}")
        return _Place(pods, task, self._now_s())

    def _noted(self, change: Change) -> None:
        self._soon(change.namespace)
        self._changed.set()

    def _namespace_noted(self, change: Change) -> None:
        self._soon(change.name)

    def _soon(self, namespace: str) -> None:
        place = self._places.get(namespace)
        if place is not None:
            wait_s = max(self._pace.debounce_s, place.rest_s)
            place.due_s = min(place.due_s, self._now_s() + wait_s)
            self._changed.set()

    def _ask_webhook(self) -> None:
        health = self._around.webhook()
        if health != self._health:
            self._health = health
            for namespace in self._places:
                self._soon(namespace)

    async def _look_at_due(self) -> None:
        now_s = self._now_s()
        for namespace, place in list(self._places.items()):
            if place.due_s > now_s or not place.pods.synced:
                continue
            place.due_s = float("inf")
            try:
                again_s = await self._look(namespace, place)
            except Exception:  # noqa: BLE001 - one namespace must not cost the others
                _log.exception("FodcInjections of %s not looked at", namespace)
                again_s = self._pace.unsettled_s
            place.due_s = min(place.due_s, self._now_s() + again_s)

    # ---- one look -----------------------------------------------------------------------------

    async def _look(self, namespace: str, place: _Place) -> float:
        """Bring everything of one namespace about; return after how long to look again."""
        bodies = {_name(one): self._newest(one) for one in self._policies.of_namespace(namespace)}
        now_ms = self._clock_ms()
        book = book_of(bodies.values(), self._around.defaults)
        pods = place.pods.of_namespace(namespace)
        found = await self._judged(pods, self._scene(namespace, book, bodies, now_ms))
        place.rest_s = min(len(pods) * self._pace.rest_per_pod_s, self._pace.longest_rest_s)
        place.blocked = blocked_since(found.values(), place.blocked, now_ms)
        was_there = any(condition_of(_status(one), REMOTE) for one in bodies.values())
        remote = await self._remote.bring(
            namespace, found.values(), was_there=was_there, now_ms=now_ms
        )
        place.standings = {name: one.with_remote(remote.names) for name, one in found.items()}
        place.suspended.clear()
        again_s = self._pace.settled_s
        for name, standing in place.standings.items():
            await asyncio.sleep(0)
            look = _Look(bodies[name], standing, _remote_of(standing, remote), pods, now_ms)
            again_s = min(again_s, await self._bring(look, place))
        for wrong in book.unreadable:
            await self._say_unreadable(bodies[wrong.name], wrong.message, now_ms)
        return again_s

    @staticmethod
    async def _judged(pods: Sequence[Pod], scene: Scene) -> dict[str, Standing]:
        """Judge all pods; the webhook, which has the same loop, answers in between."""
        judging = Judging(scene)
        for start in range(0, len(pods), _AT_ONCE):
            judging.judge(pods[start : start + _AT_ONCE])
            await asyncio.sleep(0)
        return judging.standings()

    def _scene(
        self, namespace: str, book: Book, bodies: Mapping[str, Object], now_ms: int
    ) -> Scene:
        namespace_body = self._namespaces.get("", namespace) or {"metadata": {}}
        labels = namespace_body["metadata"].get("labels") or {}
        # A suspended policy still wants its agents: pods that wait for the end of it miss theirs.
        wishes, version = replace(book, suspended=None), self._around.server_version()

        def ask(pod: Pod) -> Injection:
            return attempt(pod, wishes, labels, version)

        views = tuple(_view(one, bodies[one.name]) for one in book.policies)
        return Scene(views, labels, ask, now_ms, namespace in self._around.excluded)

    async def _bring(self, look: "_Look", place: _Place) -> float:
        """Write the status of one policy and evict a pod of it where that is due."""
        before, policy = _status(look.body), look.standing.view.policy
        memory = self._memory(look, before)
        facts = self._facts(look, place, memory)
        if facts.agents_start.status == "False":
            place.suspended.add(policy.name)
        todo = self._next_eviction(look, memory)
        if isinstance(todo, Hold):
            facts = replace(facts, hold=todo)
        await self._write(look, policy_status.status_of(look.standing, facts, before))
        if isinstance(todo, evictions.Eviction):
            at_ms = await self._evictor.evict(todo, look.pods, memory, self._clock_ms)
            if at_ms:
                facts = replace(facts, last_eviction_ms=at_ms)
                look = replace(look, body=self._newest(look.body))
                status = policy_status.status_of(look.standing, facts, _status(look.body))
                await self._write(look, status)
        return self._again_s(look, place, todo)

    def _memory(self, look: "_Look", before: Mapping[str, Any]) -> Memory:
        uid, generation = _uid(look.body), _generation(look.body)
        memory = self._memories.get(uid)
        if memory is None:
            memory = self._memories[uid] = Memory(generation=generation)
            if before.get("observedGeneration") == generation:
                memory.recall(look.standing, evictions.names_in_vain(before))
        memory.note_generation(generation)
        memory.observe(look.standing, look.now_ms)
        return memory

    def _facts(self, look: "_Look", place: _Place, memory: Memory) -> Facts:
        before, generation = _status(look.body), _generation(look.body)
        said = condition_of(before, suspension.CONDITION)
        revision = look.standing.view.revision
        is_changed = said.get("observedGeneration") != generation or (
            before.get("revision") != revision
        )
        start = suspension.agents_start(
            said,
            sightings(look.standing, place.blocked),
            is_changed=is_changed,
            now_ms=look.now_ms,
            rules=self._rules,
        )
        in_vain = frozenset(one.name for one in look.standing.missing if memory.is_in_vain(one))
        last_ms = max(time_ms(before.get("lastEvictionTime")), memory.last_ms)
        return Facts(
            generation, look.now_ms, start, self._health, look.remote, last_ms, in_vain=in_vain
        )

    def _next_eviction(
        self, look: "_Look", memory: Memory
    ) -> evictions.Eviction | evictions.Hold | None:
        """Decide by what has been written, since the webhook knows no more than that."""
        if look.standing.view.policy.missed.action is not MissedAction.EVICT:
            return None
        before = _status(look.body)
        said = condition_of(before, suspension.CONDITION)
        if said.get("observedGeneration") != _generation(look.body):
            # The next look decides; that is no news for people.
            return Hold("", look.now_ms + 1_000)
        written = Condition(
            suspension.CONDITION, str(said["status"]), str(said["reason"]), str(said["message"])
        )
        is_suspended = written.status == "False"
        situation = evictions.Situation(
            look.now_ms,
            written,
            self._health,
            max(time_ms(before.get("lastEvictionTime")), memory.last_ms),
            time_ms(said.get("lastTransitionTime")) if is_suspended else 0,
            look.pods,
            partial(self._is_captured, str(look.body["metadata"]["namespace"])),
        )
        return evictions.next_eviction(look.standing, situation, memory)

    def _is_captured(self, namespace: str, name: str) -> bool:
        """Say whether a capture runs on a pod, also of an agent that does not tell a namespace."""
        captures = self._around.captures
        return captures(f"{namespace}/{name}") or captures(name)

    def _again_s(self, look: "_Look", place: _Place, todo: object) -> float:
        if isinstance(todo, Hold) and todo.until_ms:
            wait_s = max(0.2, (todo.until_ms - look.now_ms) / 1000)
            return min(wait_s, self._pace.unsettled_s)
        is_unsettled = (
            todo is not None
            or place.blocked
            or look.standing.view.policy.name in place.suspended
            or look.remote.status in {"Unknown", "False"}
        )
        return self._pace.unsettled_s if is_unsettled else self._pace.settled_s

    # ---- writing ------------------------------------------------------------------------------

    def _newest(self, body: Object) -> Object:
        """Return the policy as it is known best: what we wrote may not have come back yet."""
        written = self._written.get(_uid(body))
        if written is None or _version(written) <= _version(body):
            return body
        return written

    async def _say_unreadable(self, body: Object, message: str, now_ms: int) -> None:
        before, generation = _status(body), _generation(body)
        status = policy_status.unreadable_status(message, generation, now_ms, before)
        await self._send(body, before, status)

    async def _write(self, look: "_Look", status: Status) -> None:
        await self._send(look.body, _status(look.body), status)

    async def _send(self, body: Object, before: Mapping[str, Any], status: Status) -> None:
        """Write a status that differs, and the Events that the change is worth; never raises."""
        if policy_status.known(before) == status:
            return
        key = (str(body["metadata"]["namespace"]), _name(body))
        patch = policy_status.patch_of(status)
        try:
            self._written[_uid(body)] = await self._cluster.patch_status(
                FODC_INJECTION, *key, patch, str(body["metadata"]["resourceVersion"])
            )
        except (ConflictError, NotFoundError):
            # It has changed meanwhile: the watch tells, and it is looked at again.
            self.figures.writes["changed"] += 1
            return
        except ClusterError as error:
            _log.warning("status of FodcInjection %s/%s not written: %s", *key, error.message)
            self.figures.writes["failed"] += 1
            self._soon(key[0])
            return
        self.figures.writes["written"] += 1
        for happened in policy_status.between(before, status):
            self._events.tell(body, happened)

    # ---- figures ------------------------------------------------------------------------------

    def samples(self) -> Iterable[Sample]:
        """Return what the operator tells of injected and missed pods at its metrics page."""
        for namespace, place in sorted(self._places.items()):
            for name, standing in sorted(place.standings.items()):
                labels = {"namespace": namespace, "policy": name}
                yield from _pod_samples(standing, labels)
                yield telemetry.gauge(
                    "injection_suspended",
                    "Whether a policy gives no agents because they do not start.",
                    name in place.suspended,
                    **labels,
                )
        for (why, outcome), number in sorted(self.figures.evictions.items()):
            yield telemetry.counter(
                "injection_evictions", "Evictions of pods.", number, why=why, outcome=outcome
            )
        for outcome, number in sorted(self.figures.writes.items()):
            yield telemetry.counter(
                "status_writes",
                "Writes of a status.",
                number,
                kind="FodcInjection",
                outcome=outcome,
            )


@dataclass(frozen=True, slots=True)
class _Look:
    """One policy in one look."""

    body: Object
    standing: Standing
    remote: Remote
    pods: Any
    now_ms: int


def _pod_samples(standing: Standing, labels: Mapping[str, str]) -> Iterable[Sample]:
    for state in PodState:
        yield telemetry.gauge(
            "injection_pods",
            "Pods of a policy by how they stand.",
            len(standing.in_state(state)),
            **labels,
            state=str(state),
        )


def _view(policy: Policy, body: Object) -> PolicyView:
    created_ms = time_ms(body["metadata"].get("creationTimestamp"))
    return PolicyView(policy, revision_of(policy), created_ms)


def _remote_of(standing: Standing, remote: Remote) -> Remote:
    policy = standing.view.policy
    return remote if policy.missed.attach_remotely and not policy.paused else Remote()


def _status(body: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = body.get("status") or {}
    return found


def _name(body: Object) -> str:
    return str(body["metadata"]["name"])


def _uid(body: Object) -> str:
    return str(body["metadata"].get("uid", ""))


def _generation(body: Object) -> int:
    return int(body["metadata"].get("generation") or 0)


def _version(body: Object) -> int:
    text = str(body["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0
