# SPDX-License-Identifier: Apache-2.0
"""/cluster/config over a real server: whole, stale, missing, masked and as drift."""

import asyncio
from dataclasses import replace

import aiohttp
import pytest

from fodc_protocol.configuration import ConfigEntry, Source
from fodc_protocol.link import frames
from fodc_protocol.roles import role_filter
from fodc_proxy.evidence.configurations.watch import Configurations
from fodc_proxy.fleet.membership import Contract, Registration
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.http.listener import WebServer
from fodc_proxy.queries.pages.configuration import MAX_REMEMBERED, KnownConfiguration, LastKnown
from fodc_proxy.queries.results import Answer, Missing, RoundResult, Selection

from ..served import app_of  # noqa: TID252 - one folder's tests

START_MS = 1_800_000_000_000
PATH = "/cluster/config"


class Fleet:
    """A registry, and agents that answer with what they were given, or do not."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.registry = Registry(clock_ms=lambda: self.now_ms)
        self.settings: dict[str, dict[str, str]] = {}
        self.silent: set[str] = set()
        self.asked: list[Selection] = []

    def add(self, pod: str, role: str = "ROLE_DATA", namespace: str = "", **settings: str) -> str:
        self.settings[pod] = {name.replace("_", "-"): value for name, value in settings.items()}
        state = frames.NodeState(role)
        registration = Registration(frames.Identity(pod, namespace=namespace), state, Contract.LINK)
        return self.registry.register(registration).member.agent_id

    async def configuration(self, selection: Selection) -> RoundResult[frames.Configuration]:
        self.asked.append(selection)
        wanted = [m for m in self.registry.members() if selection.covers(m)]
        answers = [m for m in wanted if m.pod_name not in self.silent]
        missing = [m for m in wanted if m.pod_name in self.silent]
        return RoundResult(
            tuple(Answer(m, self._configuration(m.pod_name)) for m in answers),
            tuple(Missing(m, "DeadlineExceeded", "no answer within 10 s") for m in missing),
        )

    def _configuration(self, pod: str) -> frames.Configuration:
        entries = tuple(
            ConfigEntry(name, value, Source.FLAG) for name, value in self.settings[pod].items()
        )
        condition = frames.Condition("Environment", "Forbidden", "no access")
        return frames.Configuration(1, 3, "h" + pod, self.now_ms, entries, (condition,))


class Kept:
    """A store of snapshots in memory."""

    def __init__(self) -> None:
        self.snapshots = []

    async def keep(self, snapshot) -> None:
        self.snapshots.append(snapshot)

    async def drop(self, snapshot) -> None:
        self.snapshots.remove(snapshot)

    async def load(self):
        return list(self.snapshots)


def served(scene):
    async def run():
        fleet = Fleet()
        configurations = Configurations(
            fleet.registry,
            fleet,
            Kept(),
            is_open=lambda: True,
            clock_ms=lambda: fleet.now_ms,
        )
        told = {
            "registry": fleet.registry,
            "configurations": configurations,
            "clock_ms": lambda: fleet.now_ms,
        }
        server = WebServer(app_of(**told))
        await server.start("127.0.0.1", 0)
        try:
            async with aiohttp.ClientSession(f"http://{server.address}") as http:
                await scene(fleet, http)
        finally:
            await server.stop()

    asyncio.run(run())


async def get(http, query=""):
    async with http.get(PATH + query) as answer:
        return answer.status, answer.headers, await answer.json()


def test_each_node_shows_its_settings():
    async def scene(fleet, http):
        fleet.add("pod-0", measure_flush_timeout="5s", addr=":17912")
        status, headers, page = await get(http)
        assert status == 200
        assert (headers["X-FODC-Asked"], headers["X-FODC-Answered"]) == ("1", "1")
        assert "X-FODC-Missing" not in headers
        assert page == {
            "generated_at": "2027-01-15T08:00:00.000Z",
            "asked": 1,
            "answered": 1,
            "missing": [],
            "nodes": [
                {
                    "node_id": "pod-0",
                    "role": "ROLE_DATA",
                    "hash": "hpod-0",
                    "epoch": 3,
                    "collected_at": "2027-01-15T08:00:00.000Z",
                    "age_seconds": 0,
                    "stale": False,
                    "entries": [
                        {"name": "addr", "value": ":17912", "source": "flag", "redacted": False},
                        {
                            "name": "measure-flush-timeout",
                            "value": "5s",
                            "source": "flag",
                            "redacted": False,
                        },
                    ],
                    "conditions": [
                        {"type": "Environment", "reason": "Forbidden", "message": "no access"}
                    ],
                }
            ],
            "roles": [],
            "changes": [],
        }

    served(scene)


def test_secret_that_an_agent_let_pass_is_masked():
    async def scene(fleet, http):
        fleet.add("pod-0", s3_secret_key="hunter2", url="https://user:hunter2@host/")
        _, _, page = await get(http)
        entries = page["nodes"][0]["entries"]
        assert "hunter2" not in str(page)
        assert [entry["redacted"] for entry in entries] == [True, True]

    served(scene)


def test_silent_agent_is_missing_and_its_last_answer_is_stale_with_its_age():
    async def scene(fleet, http):
        fleet.add("pod-0", flush="5s")
        fleet.add("pod-1", flush="5s")
        await get(http)
        fleet.silent = {"pod-1"}
        fleet.now_ms += 61_500
        _, headers, page = await get(http)
        assert (page["asked"], page["answered"]) == (2, 1)
        assert headers["X-FODC-Missing"] == "pod-1"
        assert page["missing"] == [
            {
                "node_id": "pod-1",
                "reason": "DeadlineExceeded",
                "message": "no answer within 10 s",
            }
        ]
        shown = [(n["node_id"], n["stale"], n["age_seconds"]) for n in page["nodes"]]
        assert shown == [("pod-0", False, 0), ("pod-1", True, 61.5)]

    served(scene)


def test_agent_that_never_answered_is_missing_only():
    async def scene(fleet, http):
        fleet.add("pod-0")
        fleet.silent = {"pod-0"}
        _, _, page = await get(http)
        assert (page["nodes"], len(page["missing"])) == ([], 1)

    served(scene)


def test_difference_names_drift_identity_and_majority_inside_each_role():
    async def scene(fleet, http):
        fleet.add("pod-0", flush="5s", node_host="a")
        fleet.add("pod-1", flush="5s", node_host="b")
        fleet.add("pod-2", node_host="c")
        fleet.add("liaison-0", "ROLE_LIAISON", flush="9s")
        fleet.silent = set()
        _, _, page = await get(http, "?diff=role")
        assert page["nodes"] == []
        data, liaison = page["roles"]
        assert (data["role"], data["nodes"]) == ("ROLE_DATA", ["pod-0", "pod-1", "pod-2"])
        assert data["differences"][0] == {
            "name": "flush",
            "kind": "drift",
            "has_majority": True,
            "majority": "5s",
            "values": [
                {"value": "5s", "nodes": ["pod-0", "pod-1"]},
                {"value": None, "nodes": ["pod-2"]},
            ],
        }
        assert [d["kind"] for d in data["differences"]] == ["drift", "identity"]
        assert (liaison["nodes"], liaison["differences"]) == (["liaison-0"], [])

    served(scene)


def test_stale_nodes_take_part_in_the_difference_and_are_named():
    async def scene(fleet, http):
        fleet.add("pod-0", flush="5s")
        fleet.add("pod-1", flush="9s")
        await get(http)
        fleet.silent = {"pod-1"}
        _, _, page = await get(http, "?diff=role")
        (role,) = page["roles"]
        assert role["stale_nodes"] == ["pod-1"]
        assert [d["name"] for d in role["differences"]] == ["flush"]

    served(scene)


@pytest.mark.parametrize("role", ["ROLE_DATA", "data", "DATA", "datanode"])
def test_filters_reach_the_round(role):
    async def scene(fleet, http):
        agent_id = fleet.add("pod-0")
        await get(http, f"?role={role}&node_id={agent_id}")
        assert fleet.asked == [Selection(role_filter("data"), "pod-0")]

    served(scene)


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("?node_id=ghost", 404, "node_id"),
        ("?diff=host", 400, "diff"),
        ("?pod=x", 400, "pod"),
        ("?role=a&role=b", 400, "role"),
        ("?role=nobody", 400, "role"),
    ],
)
def test_wrong_query_is_refused_with_its_field(query, status, field):
    async def scene(fleet, http):
        fleet.add("pod-0")
        told, _, page = await get(http, query)
        assert (told, page["error"]["field"]) == (status, field)
        assert fleet.asked == []

    served(scene)


def test_memory_of_configurations_is_bounded():
    fleet = Fleet()
    known = LastKnown()
    fleet.add("pod-0")
    (member,) = fleet.registry.members()
    for n in range(MAX_REMEMBERED + 5):
        named = frames.Identity(f"pod-{n}")
        changed = type(member)(
            **{s: getattr(member, s) for s in member.__slots__} | {"identity": named}
        )
        answer = Answer(changed, frames.Configuration(1, 1, "h", 0, ()))
        known.note(RoundResult((answer,), ()), START_MS)
    assert known.of("pod-4") is None
    assert known.of("pod-5") is not None


def test_nodes_of_one_name_in_two_namespaces_keep_their_own_configuration():
    async def scene(fleet, http):
        fleet.add("pod-0", namespace="one", addr=":1")
        fleet.add("pod-0", namespace="two", addr=":1")
        fleet.add("pod-1", namespace="two", addr=":2")
        _, _, whole = await get(http)
        assert [one["node_id"] for one in whole["nodes"]] == ["one/pod-0", "pod-1", "two/pod-0"]
        _, _, page = await get(http, "?node_id=two/pod-0")
        assert [one["node_id"] for one in page["nodes"]] == ["two/pod-0"]
        _, _, drift = await get(http, "?diff=role")
        (role,) = drift["roles"]
        assert role["nodes"] == ["one/pod-0", "pod-1", "two/pod-0"]
        fleet.silent.add("pod-1")
        _, _, page = await get(http, "?node_id=two/pod-1")
        assert [one["node_id"] for one in page["missing"]] == ["pod-1"]
        assert [(one["node_id"], one["stale"]) for one in page["nodes"]] == [("pod-1", True)]

    served(scene)


def test_p29_age_of_a_configuration_counts_from_its_reading():
    """Values that the agent had read 57 s before were told as 0.0 s old."""
    told = frames.Configuration(1, 1, "h", 43_000, ())

    assert KnownConfiguration("ROLE_DATA", told, 100_000).read_at_ms == 43_000
    assert KnownConfiguration(
        "ROLE_DATA", replace(told, collected_at_ms=0), 100_000
    ).read_at_ms == (100_000)
    ahead = replace(told, collected_at_ms=999_000)  # of an agent whose clock is wrong
    assert KnownConfiguration("ROLE_DATA", ahead, 100_000).read_at_ms == 100_000


# ---- as it was, and over time -------------------------------------------------------------------


def test_a_time_shows_what_each_node_was_told_then_and_asks_nobody():
    async def scene(fleet, http):
        fleet.add("pod-0", level="info")
        fleet.add("pod-1", level="info")
        await get(http)
        fleet.now_ms += 60_000
        fleet.settings["pod-0"] = {"level": "debug"}
        await get(http)
        fleet.asked.clear()
        fleet.silent.add("pod-0")

        _, _, then = await get(http, "?at=2027-01-15T08:00:30Z")
        _, _, now = await get(http, "?at=2027-01-15T08:01:00Z&node_id=pod-0")
        _, _, before = await get(http, "?at=2026-01-15T08:00:00Z")

        assert [e["value"] for n in then["nodes"] for e in n["entries"]] == ["info", "info"]
        assert [e["value"] for n in now["nodes"] for e in n["entries"]] == ["debug"]
        assert (before["asked"], before["answered"]) == (2, 0)
        assert [one["reason"] for one in before["missing"]] == ["NotFound", "NotFound"]
        assert fleet.asked == []

    served(scene)


def test_a_diff_over_time_lists_the_changes_with_both_values():
    async def scene(fleet, http):
        fleet.add("pod-0", level="info", quota="5")
        fleet.add("pod-1", level="info")
        await get(http)
        fleet.now_ms += 60_000
        fleet.settings["pod-0"] = {"level": "debug"}
        await get(http)
        fleet.now_ms += 60_000

        _, _, page = await get(http, "?diff=time")
        _, _, short = await get(http, "?diff=time&span_seconds=30")

        assert page["changes"] == [
            {
                "node_id": "pod-0",
                "at": "2027-01-15T08:01:00.000Z",
                "name": "level",
                "before": "info",
                "after": "debug",
            },
            {
                "node_id": "pod-0",
                "at": "2027-01-15T08:01:00.000Z",
                "name": "quota",
                "before": "5",
                "after": None,
            },
        ]
        assert short["changes"] == []

    served(scene)


def test_nodes_are_compared_by_role_by_tier_or_all_with_each_other():
    async def scene(fleet, http):
        fleet.add("pod-0", level="info")
        fleet.add("pod-1", level="debug", role="ROLE_LIAISON")

        async def groups(query):
            _, _, page = await get(http, query)
            return [(one["role"], len(one["differences"])) for one in page["roles"]]

        assert await groups("?diff=role") == [("ROLE_DATA", 0), ("ROLE_LIAISON", 0)]
        assert await groups("?diff=tier") == [("ROLE_DATA", 0), ("ROLE_LIAISON", 0)]
        assert await groups("?diff=node") == [("", 1)]
        fleet.now_ms += 1000
        assert await groups("?diff=node&at=2027-01-15T08:00:01Z") == [("", 1)]

    served(scene)


def test_a_time_that_is_none_is_refused_by_its_field():
    async def scene(fleet, http):
        told, _, page = await get(http, "?at=noon")
        assert (told, page["error"]["field"]) == (400, "at")

    served(scene)
