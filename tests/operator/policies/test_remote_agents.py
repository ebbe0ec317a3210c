# SPDX-License-Identifier: Apache-2.0
"""The file of the remote agent against an API server that has it, lacks it and refuses."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, cast

from fodc_kube.client import Cluster
from fodc_kube.errors import ClusterError, ForbiddenError
from fodc_operator.policies.remote_agents import RemoteAgents
from fodc_operator.policies.remote_targets import targets_json
from fodc_operator.policies.standing import Remote, Standing, standings
from tests.operator.policies.standing_pods import NOON_MS, pod, policy, scene, view

KNOWN = {"ns"}
ELSEWHERE = {"namespace": "other", "pod_name": "data-9", "pod_uid": "u-9"}


@dataclass
class FakeCluster:
    """One ConfigMap, or none; `refusals` are raised by the next calls."""

    there: dict[str, Any] | None = field(default_factory=lambda: {"metadata": {}})
    calls: list[str] = field(default_factory=list)
    refusals: list[Exception] = field(default_factory=list)

    async def get(self, _kind: object, namespace: str, name: str) -> dict[str, Any] | None:
        self._call(f"get {namespace}/{name}")
        return self.there

    async def patch(self, _kind: object, namespace: str, name: str, body: Any) -> None:
        self._call(f"patch {namespace}/{name}")
        self.there = {**(self.there or {}), **body}

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if self.refusals:
            raise self.refusals.pop(0)

    @property
    def told(self) -> list[str]:
        data = (self.there or {}).get("data") or {"targets.json": '{"targets": []}'}
        return [one["pod_name"] for one in json.loads(data["targets.json"])["targets"]]


def standing(*names: str, **more: Any) -> Standing:
    one = policy(**{"attach_remotely": True, **more})
    return standings([pod(name) for name in names], scene(view(one)))["banyandb"]


@dataclass
class Played:
    cluster: FakeCluster = field(default_factory=FakeCluster)
    registered: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        cluster = cast("Cluster", self.cluster)
        self.agents = RemoteAgents(cluster, "home", lambda _, name: name in self.registered)

    def bring(self, *names: str, after_s: float = 0, known: Any = KNOWN, **more: Any) -> Remote:
        now_ms = NOON_MS + round(after_s * 1000)
        found = self.agents.bring("ns", [standing(*names, **more)], known, now_ms)
        return asyncio.run(found)


def test_pods_that_miss_their_agent_are_in_the_file_and_said_once_they_are_reached() -> None:
    play = Played(registered={"data-0"})

    first = play.bring("data-0", "data-1")
    play.registered.add("data-1")
    second = play.bring("data-0", "data-1")

    assert play.cluster.told == ["data-0", "data-1"]
    assert (first.status, first.reason, set(first.names)) == ("Unknown", "Starting", {"data-0"})
    assert first.message == "fodc-remote-agent is told of 2 pods and has reached 1 until now"
    assert (second.status, second.reason) == ("True", "Attached")
    assert play.cluster.calls == ["get home/fodc-remote-agent", "patch home/fodc-remote-agent"]


def test_who_does_not_ask_costs_no_call() -> None:
    play = Played()

    assert play.bring("data-0", attach_remotely=False) == Remote()
    assert play.cluster.calls == []


def test_the_file_is_emptied_when_no_pod_misses_its_agent_any_more() -> None:
    play = Played()
    play.bring("data-0")

    found = play.bring()

    assert (found.status, found.reason, play.cluster.told) == ("True", "NothingToAttach", [])


def test_what_stands_there_about_a_namespace_that_nobody_looked_at_yet_stays() -> None:
    file = {"targets.json": targets_json([ELSEWHERE])}
    play = Played(FakeCluster({"metadata": {}, "data": file}))

    play.bring("data-0", known={"ns", "other"})
    assert play.cluster.told == ["data-0", "data-9"]
    asyncio.run(play.agents.bring("other", (), {"ns", "other"}, NOON_MS))
    assert play.cluster.told == ["data-0"]


def test_what_stands_there_about_a_namespace_without_a_policy_goes() -> None:
    file = {"targets.json": targets_json([ELSEWHERE])}
    play = Played(FakeCluster({"metadata": {}, "data": file}))

    play.bring("data-0")

    assert play.cluster.told == ["data-0"]


def test_a_namespace_that_loses_its_policy_leaves_the_file() -> None:
    play = Played()
    play.bring("data-0")

    asyncio.run(play.agents.forget("ns", (), NOON_MS))

    assert (play.cluster.told, play.agents.is_wanted) == ([], False)


def test_what_somebody_else_writes_is_put_right_after_a_minute() -> None:
    play = Played()
    play.bring("data-0")
    play.cluster.there = {"metadata": {}, "data": {"targets.json": "{"}}

    play.bring("data-0", after_s=59)
    assert play.cluster.there["data"] == {"targets.json": "{"}
    play.bring("data-0", after_s=60)
    assert play.cluster.told == ["data-0"]


def test_without_the_component_it_says_which_to_add() -> None:
    lacking, refused = Played(FakeCluster(None)), Played()
    refused.cluster.refusals = [ForbiddenError("may not get configmaps", status=403)]

    assert lacking.bring("data-0") == Remote(
        "False",
        "NotInstalled",
        "add the component remote-agent of the manifests: "
        "there is no ConfigMap home/fodc-remote-agent",
    )
    assert refused.bring("data-0").reason == "NotInstalled"
    assert refused.bring("data-0").reason == "Starting"


def test_a_write_that_fails_is_done_again() -> None:
    play = Played()
    play.cluster.refusals = [ClusterError("down", status=500)]

    assert play.bring("data-0") == Remote("False", "NotWritten", "down")
    assert play.bring("data-0").reason == "Starting"


def test_of_more_than_64_pods_the_rest_is_left_out_and_said() -> None:
    names = [f"data-{n:02}" for n in range(66)]
    play = Played(registered=set(names))

    found = play.bring(*names)

    assert (found.status, found.reason, len(found.names)) == ("False", "TooMany", 64)
    assert found.message == (
        "fodc-remote-agent reaches 64 pods and no more; 2 of these are left out"
    )


def test_only_the_agent_of_the_own_namespace_reaches_and_only_what_it_was_told() -> None:
    play = Played()
    play.bring("data-0")
    target = ("ns", "data-0", "uid-of-data-0--600")
    agent = "fodc-remote-agent-7d9-x"

    assert play.agents.reaches("home", agent, target)
    assert not play.agents.reaches("ns", agent, target)
    assert not play.agents.reaches("home", "fodc-remote-agents", target)
    assert not play.agents.reaches("home", agent, ("ns", "data-0", "another"))


def test_an_agent_that_asks_for_more_than_it_was_told_has_an_old_file_which_is_written_anew() -> (
    None
):
    file = {"targets.json": targets_json([ELSEWHERE])}
    play = Played(FakeCluster({"metadata": {}, "data": file}))
    play.bring("data-0", attach_remotely=False)
    assert play.cluster.told == ["data-9"]

    play.agents.reaches("home", "fodc-remote-agent-7d9-x", ("other", "data-9", "u-9"))
    play.bring("data-0", attach_remotely=False)

    assert play.cluster.told == []
