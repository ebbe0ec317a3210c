# SPDX-License-Identifier: Apache-2.0
"""The reconciler's shell against an API server that refuses, forgets and comes back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from fodc_kube import kinds, work_queue
from fodc_kube.client import Cluster, EventType, Listed, Watched
from fodc_kube.errors import ClusterError, ConflictError
from fodc_kube.events import Events
from fodc_kube.informer import Informer
from fodc_kube.kinds import Kind
from fodc_operator.policies.reconciler import Pace, Reconciler, Surroundings
from fodc_operator.policies.suspension import Rules
from fodc_webhook.inject import marks
from fodc_webhook.inject.revision import revision_of
from fodc_webhook.kinds import FODC_INJECTION
from fodc_webhook.resources.fodc_injection import Defaults, policy_of
from tests.operator.policies.standing_pods import NOON_MS, at, pod, stuck

QUICK = Pace(debounce_s=0.01, unsettled_s=0.05, settled_s=0.1)
SELECTOR = {"matchLabels": {"app": "banyandb"}}


@dataclass
class FakeCluster:
    """One namespace with one policy; `refusals` are raised by the next calls of a verb."""

    pods: list[dict[str, Any]] = field(default_factory=list)
    spec: dict[str, Any] = field(default_factory=dict)
    refusals: dict[str, list[Exception]] = field(default_factory=dict)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[tuple[str, str]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    changed: dict[Kind, asyncio.Queue[Watched]] = field(default_factory=dict)
    version: int = 10
    status: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.policy: dict[str, Any] = {
            "metadata": {
                "namespace": "ns",
                "name": "banyandb",
                "uid": "uid-of-banyandb",
                "generation": 1,
                "resourceVersion": "5",
                "creationTimestamp": at(-3600),
            },
            "spec": {"podSelector": SELECTOR, **self.spec},
            "status": self.status,
        }

    def _refuse(self, verb: str) -> None:
        if waiting := self.refusals.get(verb):
            raise waiting.pop(0)

    async def list(self, kind: Kind, _scope: str | None = None, **_more: object) -> Listed:
        self._refuse("list")
        labels = {marks.OPT_IN_LABEL: marks.ENABLED}
        namespace = {"metadata": {"name": "ns", "labels": labels, "resourceVersion": "1"}}
        found = {FODC_INJECTION: [self.policy], kinds.NAMESPACE: [namespace]}
        return Listed(found.get(kind, self.pods), "9")

    @contextlib.asynccontextmanager
    async def watch(
        self, kind: Kind, *_more: object, **_also: object
    ) -> AsyncIterator[AsyncIterator[Watched]]:
        queue = self.changed.setdefault(kind, asyncio.Queue())

        async def events() -> AsyncIterator[Watched]:
            while True:
                yield await queue.get()

        yield events()

    async def patch_status(
        self, _kind: Kind, _namespace: str, _name: str, body: Mapping[str, Any], _version: str
    ) -> dict[str, Any]:
        self._refuse("patch_status")
        self.version += 1
        status = {key: value for key, value in body["status"].items() if value is not None}
        self.statuses.append(status)
        metadata = {**self.policy["metadata"], "resourceVersion": str(self.version)}
        self.policy = {**self.policy, "metadata": metadata, "status": status}
        return self.policy

    async def delete(
        self, _kind: Kind, _namespace: str, name: str, *, resource_version: str
    ) -> None:
        self._refuse("delete")
        self.deleted.append((name, resource_version))
        self.pods = [one for one in self.pods if one["metadata"]["name"] != name]
        gone = {"metadata": {"namespace": "ns", "name": name, "resourceVersion": "999"}}
        self.changed[kinds.POD].put_nowait(Watched("DELETED", gone))

    async def event(self, _regarding: object, _type: EventType, reason: str, _message: str) -> None:
        self._refuse("event")
        self.events.append(reason)

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        self._refuse("get")
        self.asked.append(f"{kind.kind} {namespace}/{name}")
        return None


def run(
    cluster: FakeCluster,
    until: Callable[[], object],
    *,
    rules: Rules | None = None,
    now_ms: Callable[[], int] = lambda: NOON_MS,
) -> Reconciler:
    """Run the reconciler until something holds; it must leave no task behind."""

    async def main() -> Reconciler:
        api = cast("Cluster", cluster)
        policies, namespaces = Informer(api, FODC_INJECTION), Informer(api, kinds.NAMESPACE)
        defaults = Defaults("agent:1", "proxy:17912")
        around = Surroundings(defaults, lambda: (1, 34))
        events = Events(api)
        reconciler = Reconciler(
            api, policies, namespaces, events, around, pace=QUICK, rules=rules, clock_ms=now_ms
        )
        tasks = [asyncio.create_task(one.run()) for one in (policies, namespaces, events)]
        await policies.wait_synced()
        tasks.append(asyncio.create_task(reconciler.run()))
        async with asyncio.timeout(10):
            while not until():
                await asyncio.sleep(0.005)
        assert list(reconciler.samples())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return reconciler

    return asyncio.run(main())


def test_a_status_is_written_once_while_nothing_changes() -> None:
    cluster = FakeCluster([pod()])
    looks = 0

    def until() -> bool:
        nonlocal looks
        looks += bool(cluster.statuses)
        return looks > 60

    reconciler = run(cluster, until)

    assert [one["missing"] for one in cluster.statuses] == [1]
    assert cluster.events == ["Missed"]
    assert reconciler.figures.writes == {"written": 1}


def test_a_status_that_is_not_taken_is_written_again() -> None:
    lost: list[Exception] = [
        ConflictError("changed", status=409),
        ClusterError("down", status=500),
        ClusterError("later", status=429),
    ]
    cluster = FakeCluster([pod()], refusals={"patch_status": lost})
    reconciler = run(cluster, lambda: cluster.statuses)

    assert cluster.statuses[0]["missing"] == 1
    assert reconciler.figures.writes == {"changed": 1, "failed": 2, "written": 1}


def test_a_fault_of_our_own_costs_one_look_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_queue, "FAILED_S", 0.05)
    cluster = FakeCluster([pod()], refusals={"patch_status": [RuntimeError("a fault of ours")]})
    run(cluster, lambda: cluster.statuses)

    assert cluster.statuses[0]["missing"] == 1


def test_a_lost_event_loses_no_status() -> None:
    cluster = FakeCluster([pod()], refusals={"event": [ClusterError("down", status=500)]})
    run(cluster, lambda: cluster.statuses)

    assert len(cluster.statuses) == 1


def test_a_pod_that_comes_is_seen() -> None:
    cluster = FakeCluster()

    def until() -> bool:
        if len(cluster.statuses) == 1 and kinds.POD in cluster.changed:
            queue, one = cluster.changed[kinds.POD], pod()
            one["metadata"]["resourceVersion"] = "77"
            queue.put_nowait(Watched("ADDED", one))
        return len(cluster.statuses) > 1

    run(cluster, until)

    assert [one["matched"] for one in cluster.statuses[:2]] == [0, 1]


def test_a_policy_that_cannot_be_read_says_so_and_releases_nothing() -> None:
    cluster = FakeCluster([pod()], spec={"mode": "Sometimes"})
    run(cluster, lambda: cluster.statuses)

    (ready, *_) = cluster.statuses[0]["conditions"]
    assert (ready["status"], ready["reason"], cluster.deleted) == ("False", "BadPolicy", [])
    assert "mode" in ready["message"]


# ---- released -----------------------------------------------------------------------------------

AT_ONCE = Rules(patience_ms=0)


class Later:
    """A clock that goes on ten seconds with each look."""

    def __init__(self) -> None:
        self.now_ms = NOON_MS

    def __call__(self) -> int:
        self.now_ms += 10_000
        return self.now_ms


def stuck_now() -> dict[str, Any]:
    """A stuck pod with the agent that the policy of the fake cluster gives now."""
    body = FakeCluster().policy
    one = policy_of(body, Defaults("agent:1", "proxy:17912"))
    found = stuck(revision=revision_of(one))
    found["metadata"]["resourceVersion"] = "77"
    return found


def test_a_pod_whose_agent_does_not_start_is_made_anew_once_by_default() -> None:
    """K1: with the defaults the database stayed in Init for ever."""
    cluster = FakeCluster([stuck_now()])
    run(cluster, lambda: "Released" in cluster.events, rules=AT_ONCE, now_ms=Later())

    assert cluster.deleted == [("data-0", "77")]
    agents = [
        next(one for one in status["conditions"] if one["type"] == "AgentsStart")
        for status in cluster.statuses
    ]
    # The webhook knows of the suspension before the pod comes back.
    assert agents[0]["status"] == "False"
    assert cluster.events.count("Released") <= 2


def test_a_policy_that_waits_releases_nothing() -> None:
    cluster = FakeCluster([stuck_now()], spec={"onAgentFailure": "Wait"})
    clock = Later()
    run(cluster, lambda: clock.now_ms > NOON_MS + 300_000, rules=AT_ONCE, now_ms=clock)

    assert cluster.deleted == []


def test_a_pod_that_has_changed_since_is_not_released() -> None:
    changed: list[Exception] = [ConflictError("changed", status=409)]
    cluster = FakeCluster([stuck_now()], refusals={"delete": changed})
    reconciler = run(cluster, lambda: cluster.deleted, rules=AT_ONCE, now_ms=Later())

    assert reconciler.figures.releases["changed"] == 1


# ---- a status is output only --------------------------------------------------------------------


def said(kind: str, status: str, reason: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "somebody wrote this",
        "lastTransitionTime": at(-7200),
        "observedGeneration": 1,
    }


def conditions(cluster: FakeCluster) -> dict[str, tuple[str, str]]:
    found = cluster.statuses[-1]["conditions"] if cluster.statuses else []
    return {one["type"]: (one["status"], one["reason"]) for one in found}


def test_what_stands_in_a_status_decides_nothing() -> None:
    """K7: AgentsStart and RemoteAttached were read back as what is known."""
    written = {
        "revision": revision_of(
            policy_of(FakeCluster().policy, Defaults("agent:1", "proxy:17912"))
        ),
        "conditions": [
            said("AgentsStart", "False", "Image"),
            said("RemoteAttached", "True", "Attached"),
        ],
    }
    held_up = stuck_now()
    cluster = FakeCluster([held_up], status=written)
    clock = Later()
    run(cluster, lambda: clock.now_ms > NOON_MS + 60_000, rules=Rules(10**9), now_ms=clock)

    assert conditions(cluster)["AgentsStart"] == ("Unknown", "NoAgentYet")
    assert conditions(cluster)["RemoteAttached"] == ("False", "NotAsked")
    # Its pod is not made anew by what was written, and no file of targets is looked for.
    assert (cluster.deleted, cluster.asked) == ([], [])


def test_a_new_leader_goes_on_with_a_suspension_that_the_pods_show() -> None:
    left_out = pod("data-1", annotations={marks.SKIPPED: "Suspended: it does not start"})
    cluster = FakeCluster([stuck_now(), left_out])
    run(cluster, lambda: cluster.statuses)

    assert conditions(cluster)["AgentsStart"] == ("False", "AgentImageUnavailable")
