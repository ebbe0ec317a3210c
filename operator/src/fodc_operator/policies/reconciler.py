# SPDX-License-Identifier: Apache-2.0
"""Keeps the status of FodcInjections true, and releases pods whose agent does not start.

The one idea: whatever happens, a change of a pod, of a policy or of a namespace, ends in "look at
this namespace again"; a look works everything out from what is in memory and sends only what
differs. So a new leader goes on where the old one was killed.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fodc_kube import kinds
from fodc_kube.client import Cluster, Object
from fodc_kube.conditions import Condition, Happened, stamped
from fodc_kube.errors import ClusterError, ConflictError, NotFoundError
from fodc_kube.events import Events
from fodc_kube.informer import Informer, Selection
from fodc_kube.pods import Pod
from fodc_kube.store import Change, Store, version_of
from fodc_kube.texts import time_ms
from fodc_kube.work_queue import WorkQueue
from fodc_operator import telemetry
from fodc_operator.policies import policy_status, suspension
from fodc_operator.policies.certificate_state import NO_TLS
from fodc_operator.policies.policy_status import Facts, Status
from fodc_operator.policies.releases import Release, next_release
from fodc_operator.policies.remote_agents import RemoteAgents
from fodc_operator.policies.secret_looks import PullSecrets
from fodc_operator.policies.standing import (
    NOT_ASKED,
    Entry,
    Judging,
    PodState,
    PolicyView,
    Remote,
    Scene,
    Standing,
    blocked_since,
    left_out_ms,
    sightings,
)
from fodc_protocol.metrics.samples import Sample
from fodc_webhook.inject.attempt import Book, attempt, book_of
from fodc_webhook.inject.outcome import Injection
from fodc_webhook.inject.revision import revision_of
from fodc_webhook.kinds import FODC_INJECTION
from fodc_webhook.resources.fodc_injection import Defaults, Policy

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
    rest_per_pod_s: float = 0.003
    """A namespace is left alone so long for each of its pods: judging one takes a few hundredths of
    that, and while hundreds are made there the loop has agents to answer."""
    longest_rest_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the reconciler asks others, each time anew."""

    defaults: Defaults
    server_version: Callable[[], tuple[int, int]]
    registered: Callable[[str, str], bool | None] = lambda _namespace, _pod: None
    """Whether the agent of a pod is registered with the proxy; None where it cannot be known."""
    home: str = ""
    """The operator's own namespace."""
    excluded: frozenset[str] = frozenset()
    """Namespaces in which the webhook is never asked."""
    certificate: Callable[[int], Condition] = lambda _now_ms: NO_TLS
    """Until when agents can know the proxy; told Unix time in ms."""


@dataclass(slots=True)
class _Place:
    """One namespace with policies: its pods, and what was seen of them."""

    pods: Informer
    watching: asyncio.Task[None]
    rest_s: float = 0.0
    """How long after a change it is left alone, for what a look costs."""
    blocked: dict[str, int] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)
    agents_start: dict[str, "_AgentsStart"] = field(default_factory=dict)
    """By policy: what is known of its agents."""
    missed: set[tuple[str, str]] = field(default_factory=set)
    """Policy and pod UID of pods without a working agent that an Event has told of."""


@dataclass(slots=True)
class Figures:
    """What the reconciler did."""

    writes: Counter[str] = field(default_factory=Counter)
    releases: Counter[str] = field(default_factory=Counter)


class Reconciler:
    """Belongs to the main loop; `run` ends only by being cancelled.

    `policies` and `namespaces` are stores that somebody else keeps; run it when both are whole.
    """

    def __init__(
        self,
        cluster: Cluster,
        policies: Store,
        namespaces: Store,
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
        self.remote = RemoteAgents(cluster, around.home, around.registered)
        self._pull_secrets = PullSecrets(cluster)
        self._places: dict[str, _Place] = {}
        self._written: dict[str, Object] = {}
        self._queue = WorkQueue(self._look_at, workers=1, clock_s=time.monotonic)
        policies.on_change(lambda change: self._soon(change.namespace))
        namespaces.on_change(lambda change: self._soon(change.name))

    # ---- life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look at namespaces as they change, until cancelled."""
        for body in self._policies.items():
            self._queue.put(str(body["metadata"]["namespace"]))
        try:
            await self._queue.run()
        finally:
            watching = [place.watching for place in self._places.values()]
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            self._places.clear()

    def _soon(self, namespace: str) -> None:
        place = self._places.get(namespace)
        rest_s = max(self._pace.debounce_s, place.rest_s if place else 0.0)
        self._later(namespace, rest_s)

    def _later(self, namespace: str, wait_s: float) -> None:
        self._queue.put(namespace, time.monotonic() + wait_s)

    async def _look_at(self, namespace: str) -> None:
        bodies = {_name(one): self._newest(one) for one in self._policies.of_namespace(namespace)}
        if not bodies:
            await self._leave(namespace)
            return
        place = self._places.get(namespace) or self._enter(namespace)
        if not place.pods.synced:
            self._later(namespace, self._pace.debounce_s)
            return
        self._later(namespace, await self._look(namespace, place, bodies))

    def _enter(self, namespace: str) -> _Place:
        """Watch the pods of a namespace that has policies now."""
        unended = "status.phase!=Succeeded,status.phase!=Failed"
        pods = Informer(self._cluster, kinds.POD, Selection((namespace,), fields=unended))
        pods.on_change(self._pod_changed)
        task = asyncio.create_task(pods.run(), name=f"policies-pods-{namespace}")
        place = self._places[namespace] = _Place(pods, task)
        return place

    def _pod_changed(self, change: Change) -> None:
        self._soon(change.namespace)

    async def _leave(self, namespace: str) -> None:
        place = self._places.pop(namespace, None)
        if place is not None:
            place.watching.cancel()
            await self.remote.forget(namespace, self._known(), self._clock_ms())
        known = {_uid(one) for one in self._policies.items()}
        for gone in self._written.keys() - known:
            del self._written[gone]

    def _known(self) -> set[str]:
        """Return the namespaces that have policies."""
        return {str(one["metadata"]["namespace"]) for one in self._policies.items()}

    # ---- one look -----------------------------------------------------------------------------

    async def _look(self, namespace: str, place: _Place, bodies: Mapping[str, Object]) -> float:
        """Bring everything of one namespace about; return after how long to look again."""
        now_ms = self._clock_ms()
        book = book_of(bodies.values(), self._around.defaults)
        pods = place.pods.of_namespace(namespace)
        found = await self._judged(pods, self._scene(namespace, book, bodies, now_ms))
        place.rest_s = min(len(pods) * self._pace.rest_per_pod_s, self._pace.longest_rest_s)
        place.blocked = blocked_since(found.values(), place.blocked, now_ms)
        remote = await self.remote.bring(namespace, found.values(), self._known(), now_ms)
        place.standings = {name: one.with_remote(remote.names) for name, one in found.items()}
        place.agents_start = {
            name: one for name, one in place.agents_start.items() if name in place.standings
        }
        again_s = self._pace.settled_s
        for name, standing in place.standings.items():
            await asyncio.sleep(0)
            look = _Look(bodies[name], standing, _remote_of(standing, remote), now_ms)
            again_s = min(again_s, await self._bring(look, place))
        for wrong in book.unreadable:
            await self._say_unreadable(bodies[wrong.name], wrong.message, now_ms)
        return again_s

    @staticmethod
    async def _judged(pods: Sequence[Pod], scene: Scene) -> dict[str, Standing]:
        """Judge all pods; agents, who have the same loop, are answered in between."""
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

        def registered(policy: Policy, pod: str) -> bool | None:
            is_ours = policy.agent.proxy_address == self._around.defaults.proxy_address
            return self._around.registered(namespace, pod) if is_ours else None

        views = tuple(_view(one, bodies[one.name]) for one in book.policies)
        is_excluded = namespace in self._around.excluded
        return Scene(views, labels, ask, now_ms, is_excluded, registered)

    async def _bring(self, look: "_Look", place: _Place) -> float:
        """Write the status of one policy and release a pod of it where that is due."""
        before, policy = _status(look.body), look.standing.view.policy
        pull_secrets = await self._pull_secrets.condition(policy, look.now_ms)
        facts = Facts(
            _generation(look.body),
            look.now_ms,
            self._agents_start(look, place),
            look.remote,
            pull_secrets,
            self._around.certificate(look.now_ms),
        )
        due = self._next_release(look, place)
        status = policy_status.status_of(look.standing, facts, before)
        is_told = await self._send(
            look.body, before, status, self._newly_missed(look.standing, place)
        )
        if is_told:
            place.agents_start[policy.name].told(look.now_ms)
        if due is not None:
            await self._release(look.body, due)
        is_unsettled = (
            due is not None
            or bool(place.blocked)
            or facts.agents_start.status == "False"
            or look.standing.is_undecided
            or "False" in {pull_secrets.status, facts.certificate.status}
            or (look.remote.status != "True" and look.remote.reason != NOT_ASKED)
        )
        return self._pace.unsettled_s if is_unsettled else self._pace.settled_s

    def _agents_start(self, look: "_Look", place: _Place) -> Condition:
        """Decide by what this leader has seen; a status is never read back."""
        name, now_ms, generation = _name(look.body), look.now_ms, _generation(look.body)
        seen, revision = sightings(look.standing, place.blocked), look.standing.view.revision
        known = place.agents_start.get(name) or _AgentsStart(
            suspension.shown_by_pods(
                seen,
                left_out_ms=left_out_ms(look.standing),
                now_ms=now_ms,
                generation=generation,
            ),
            revision,
        )
        is_changed = bool(known.said) and (
            known.said["observedGeneration"] != generation or known.revision != revision
        )
        found = suspension.agents_start(
            known.said, seen, is_changed=is_changed, now_ms=now_ms, rules=self._rules
        )
        (said,) = stamped(
            [found], {"conditions": [known.said]}, generation=generation, now_ms=now_ms
        )
        told_since_ms = None if is_changed else known.told_since_ms
        place.agents_start[name] = _AgentsStart(said, revision, told_since_ms)
        return found

    # ---- pods that are made anew --------------------------------------------------------------

    def _next_release(self, look: "_Look", place: _Place) -> Release | None:
        """Decide by what has been told, since the webhook knows no more than that."""
        return next_release(
            look.standing,
            place.blocked,
            suspended_since_ms=place.agents_start[_name(look.body)].told_since_ms,
            now_ms=look.now_ms,
            patience_ms=self._rules.patience_ms,
        )

    async def _release(self, body: Object, due: Release) -> None:
        """Delete the pod as it was seen: one whose database has started since is another."""
        pod = due.entry.pod
        key = (str(pod["metadata"]["namespace"]), due.entry.name)
        version = str(pod["metadata"]["resourceVersion"])
        try:
            await self._cluster.delete(kinds.POD, *key, resource_version=version)
        except ConflictError:
            self.figures.releases["changed"] += 1
            return
        except ClusterError as error:
            _log.warning("pod %s/%s is not released: %s", *key, error.message)
            self.figures.releases["failed"] += 1
            return
        self.figures.releases["released"] += 1
        _log.info("pod %s/%s is made anew: %s", *key, due.why)
        told = Happened("Released", f"FODC has the pod made anew: {due.why}", is_warning=True)
        self._events.tell({"apiVersion": "v1", "kind": "Pod", **pod}, told)
        text = f"pod {due.entry.name} is made anew: {due.why}"
        self._events.tell(body, Happened("Released", text, is_warning=True))

    # ---- writing ------------------------------------------------------------------------------

    def _newest(self, body: Object) -> Object:
        """Return the policy as it is known best: what we wrote may not have come back yet."""
        written = self._written.get(_uid(body))
        if written is None or version_of(written) <= version_of(body):
            return body
        return written

    async def _say_unreadable(self, body: Object, message: str, now_ms: int) -> None:
        before, generation = _status(body), _generation(body)
        status = policy_status.unreadable_status(message, generation, now_ms, before)
        await self._send(body, before, status)

    @staticmethod
    def _newly_missed(standing: Standing, place: _Place) -> Sequence[Entry]:
        """Return the pods without a working agent that this leader has not told of yet."""
        policy = standing.view.policy.name
        now = {(policy, one.uid): one for one in standing.missing}
        new = [one for key, one in now.items() if key not in place.missed]
        place.missed = {key for key in place.missed if key[0] != policy} | now.keys()
        return new

    async def _send(
        self,
        body: Object,
        before: Mapping[str, Any],
        status: Status,
        missed: Sequence[Entry] = (),
    ) -> bool:
        """Write a status that differs, and the Events that the change is worth; never raises.

        Returns whether the server has it now.
        """
        if policy_status.known(before) == status:
            return True
        key = (str(body["metadata"]["namespace"]), _name(body))
        patch = policy_status.patch_of(status)
        try:
            self._written[_uid(body)] = await self._cluster.patch_status(
                FODC_INJECTION, *key, patch, str(body["metadata"]["resourceVersion"])
            )
        except (ConflictError, NotFoundError):
            # It has changed meanwhile: its handler tells, and it is looked at again.
            self.figures.writes["changed"] += 1
            self._soon(key[0])
            return False
        except ClusterError as error:
            _log.warning("status of FodcInjection %s/%s not written: %s", *key, error.message)
            self.figures.writes["failed"] += 1
            self._soon(key[0])
            return False
        self.figures.writes["written"] += 1
        for happened in policy_status.between(before, status, missed):
            self._events.tell(body, happened)
        return True

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
                    name in place.agents_start and place.agents_start[name].is_suspended,
                    **labels,
                )
        for outcome, number in sorted(self.figures.releases.items()):
            text = "Pods that were made anew because their agent did not start."
            yield telemetry.counter("injection_releases", text, number, outcome=outcome)
        for outcome, number in sorted(self.figures.writes.items()):
            told = {"kind": "FodcInjection", "outcome": outcome}
            yield telemetry.counter("status_writes", "Writes of a status.", number, **told)


@dataclass(slots=True)
class _AgentsStart:
    """What is known of the agents of a policy."""

    said: Mapping[str, Any]
    """The condition as it was decided last, empty for none."""
    revision: str
    told_since_ms: int | None = None
    """Since when the API server has it that the policy gives no agents; None while it has not."""

    @property
    def is_suspended(self) -> bool:
        """Whether the policy gives no agents."""
        return self.said.get("status") == "False"

    def told(self, now_ms: int) -> None:
        """The API server has it now."""
        if not self.is_suspended:
            self.told_since_ms = None
        elif self.told_since_ms is None:
            self.told_since_ms = now_ms


@dataclass(frozen=True, slots=True)
class _Look:
    """One policy in one look."""

    body: Object
    standing: Standing
    remote: Remote
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
    return remote if policy.attach_remotely and not policy.paused else Remote()


def _status(body: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = body.get("status") or {}
    return found


def _name(body: Object) -> str:
    return str(body["metadata"]["name"])


def _uid(body: Object) -> str:
    return str(body["metadata"].get("uid", ""))


def _generation(body: Object) -> int:
    return int(body["metadata"].get("generation") or 0)
