# SPDX-License-Identifier: Apache-2.0
"""Incidents of a running proxy: stored before they are acknowledged, shown, bundled, kept."""

import asyncio
import hashlib
import io
import json
import tarfile
import time

import aiohttp
import pytest

from fodc_api.words import IncidentCause
from fodc_proxy.evidence.incidents.engine import Incidents
from fodc_proxy.runtime import Proxy
from fodc_proxy.storage.errors import StorageError
from tests.client.stage import Fails, Gives, PlayedAgent
from tests.proxy.live import fetch, running, until

from .told import HOUR_MS, occurrence, pod_told

pytestmark = pytest.mark.usefixtures("now_ms")


@pytest.fixture
def now_ms(monkeypatch):
    """The proxy's clock, which a test turns."""

    class Clock:
        ms = 1_800_000_000_000

        def __call__(self) -> int:
            return self.ms

    clock = Clock()
    monkeypatch.setattr("fodc_proxy.runtime._unix_ms", clock)
    return clock


def scene(tmp_path, play, **told):
    async def run():
        async with running(tmp_path, **told) as proxy:
            return await play(proxy)

    return asyncio.run(run())


async def listed(proxy, query=""):
    return json.loads((await fetch(proxy, "/incidents" + query)).text)["incidents"]


async def record(proxy, incident_id):
    return json.loads((await fetch(proxy, f"/incidents/{incident_id}")).text)


async def bundle(proxy, incident_id) -> dict[str, bytes]:
    """The members of the tar, by their names below the incident's folder."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{proxy.http_address}/incidents/{incident_id}/bundle") as answer,
    ):
        data = await answer.read()
        assert (answer.status, answer.content_type) == (200, "application/x-tar")
        assert len(data) == int(answer.headers["Content-Length"])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {
            info.name.removeprefix(f"{incident_id}/"): tar.extractfile(info).read() for info in tar
        }


def test_what_an_agent_tells_is_an_incident_that_survives_the_proxy(tmp_path) -> None:
    async def first(proxy):
        await proxy.incidents.take(occurrence("node-gone", 1, message="process 7 is gone"))
        await proxy.incidents.take(occurrence("oom-kill", 2))
        return await listed(proxy)

    async def second(proxy):
        await proxy.incidents.take(occurrence("oom-kill", 2))
        (found,) = await listed(proxy)
        return found, await record(proxy, found["incident_id"])

    (before,) = scene(tmp_path, first)
    after, whole = scene(tmp_path, second)

    assert after == before
    assert (before["cause"], before["count"], before["phase"]) == ("OOMKilled", 1, "Open")
    assert [event["kind"] for event in whole["events"]] == ["node-gone", "oom-kill"]
    assert whole["events"][0]["message"] == "process 7 is gone"


def test_what_cannot_be_stored_is_not_acknowledged_and_comes_again(tmp_path) -> None:
    async def play(proxy):
        objects = proxy.diagnostics.objects
        put = objects.put

        async def fails(*_args):
            raise StorageError("the disk is full")

        objects.put = fails
        with pytest.raises(StorageError, match="disk is full"):
            await proxy.incidents.take(occurrence("node-gone"))
        with pytest.raises(StorageError, match="disk is full"):
            await proxy.incidents.take(occurrence("node-gone"))
        assert proxy.incidents.unstored == 1
        objects.put = put
        await proxy.incidents.take(occurrence("node-gone"))
        assert proxy.incidents.unstored == 0
        return await listed(proxy)

    (found,) = scene(tmp_path, play)

    assert found["count"] == 1


def test_who_is_cut_off_while_it_is_stored_costs_nothing(tmp_path) -> None:
    async def play(proxy):
        taking = asyncio.create_task(proxy.incidents.take(occurrence("node-gone")))
        await asyncio.sleep(0)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        await proxy.incidents.take(occurrence("node-gone"))
        assert proxy.incidents.unstored == 0

    scene(tmp_path, play)


def test_it_is_closed_when_it_is_quiet(tmp_path, now_ms) -> None:
    async def play(proxy):
        await proxy.incidents.take(occurrence("node-gone"))
        now_ms.ms += HOUR_MS
        await proxy.incidents.tick()
        return await listed(proxy, "?phase=Closed")

    (found,) = scene(tmp_path, play)

    assert found["closed_at"] == "2027-01-15T09:00:00.000Z"


def test_what_a_container_wrote_before_it_ended_is_kept_with_it(tmp_path) -> None:
    async def play(proxy):
        told = pod_told(reason="OOMKilled", log="fatal error: out of memory\n")
        await proxy.incidents.pod_ended(told)
        await proxy.incidents.pod_ended(told)
        (found,) = await listed(proxy)
        whole = await record(proxy, found["incident_id"])
        return found, whole, await bundle(proxy, found["incident_id"])

    found, whole, members = scene(tmp_path, play)

    assert (found["cause"], found["count"]) == ("OOMKilled", 1)
    assert whole["container_end"]["exit_code"] == 137
    assert whole["machine"] == "machine-1"
    (log,) = whole["artifacts"]
    assert (log["profile"], log["state"]) == ("log", "Stored")
    (name,) = (name for name in members if name.endswith(".log"))
    assert members[name] == b"fatal error: out of memory\n"
    assert json.loads(members["incident.json"]) == whole


def test_captures_that_an_agent_took_by_itself_are_fetched_under_its_own_ids(tmp_path) -> None:
    content = b"a heap before the kill" * 10_000

    async def play(proxy):
        agent = PlayedAgent(proxy, "data-0", "ROLE_DATA")
        agent.plans = {"heap": Gives(content), "goroutine": Fails("NotFound", "it is lost")}
        async with agent:
            await proxy.incidents.take(
                occurrence("memory-pressure", captures="heap=own-0a,goroutine=own-0b,crash=own-0c")
            )
            (incident,) = proxy.incidents.book.all()
            await until(
                lambda: (
                    not any(one.is_open for one in proxy.incidents.book.find(incident.id).captures)
                )
            )
            await proxy.incidents.settled()
            asked = sorted((one.command_id, one.profile) for one in agent.commands)
            await until(lambda: proxy.diagnostics.engine.get("own-0a").phase.ended)
        # The node and its agent have gone.
        whole = await record(proxy, incident.id)
        return asked, whole, await bundle(proxy, incident.id)

    asked, whole, members = scene(tmp_path, play)

    assert asked == [("own-0a", "heap"), ("own-0b", "goroutine")]
    states = {one["profile"]: (one["state"], one["message"]) for one in whole["artifacts"]}
    assert states["heap"] == ("Stored", "")
    assert states["goroutine"] == ("Missing", "it is lost")
    assert states["crash"][0] == "Missing"
    assert "crash is no kind of capture" in states["crash"][1]
    heap = next(one["artifact"] for one in whole["artifacts"] if one["profile"] == "heap")
    assert heap["command_id"] == "own-0a"
    (name,) = (name for name in members if name.endswith(".pb.gz"))
    assert hashlib.sha256(members[name]).hexdigest() == heap["sha256"]


def test_a_slow_leak_has_the_heap_of_hours_before_in_the_incident_of_its_kill(
    tmp_path, now_ms
) -> None:
    async def play(proxy):
        now_ms.ms = time.time_ns() // 1_000_000  # as the played agent's
        began_ms, captures = now_ms.ms, "heap=own-0a"
        async with PlayedAgent(proxy, "data-0", "ROLE_DATA", plans={"heap": Gives(b"heap")}):
            await proxy.incidents.take(
                occurrence("memory-pressure", at_ms=began_ms, captures=captures)
            )
            await until(lambda: proxy.incidents.book.all()[0].artifact_ids)
        now_ms.ms = began_ms + 3 * HOUR_MS
        await proxy.incidents.take(occurrence("node-gone", 2, now_ms.ms))
        (_, gone) = proxy.incidents.book.all()
        await proxy.incidents.pod_ended(pod_told("OOMKilled", at_ms=now_ms.ms))
        pressure, killed = proxy.incidents.book.all()
        await proxy.incidents.settled()
        return pressure, gone, killed, proxy.incidents.unstored

    pressure, gone, killed, unstored = scene(tmp_path, play)

    assert gone.artifact_ids == frozenset()
    assert killed.artifact_ids == pressure.artifact_ids != frozenset()
    assert unstored == 0


def test_an_agent_may_not_forget_what_it_took_by_itself_before_it_is_fetched(tmp_path) -> None:
    class Holding(PlayedAgent):
        def hello(self):
            hello = super().hello()
            hello.held_command_ids.extend(["own-0a", "cmd-unknown"])
            return hello

    async def play(proxy):
        async with Holding(proxy, "data-0", "ROLE_DATA", plans={"heap": Gives(b"heap")}) as agent:
            acks = []
            send = agent._send

            async def noted(ack):
                acks.append((ack.command_id, ack.done))
                await send(ack)

            agent._send = noted
            await until(lambda: ("cmd-unknown", True) in acks)
            assert ("own-0a", True) not in acks
            await proxy.incidents.take(occurrence("memory-pressure", captures="heap=own-0a"))
            await until(lambda: ("own-0a", True) in acks)
        assert len(proxy.diagnostics.store.select()) == 1

    scene(tmp_path, play)


def test_what_waits_to_be_fetched_is_fetched_after_a_restart_of_the_proxy(tmp_path) -> None:
    async def first(proxy):
        await proxy.incidents.take(occurrence("memory-pressure", captures="heap=own-0a"))
        await proxy.incidents.settled()
        await proxy.incidents.tick()
        assert proxy.incidents.book.all()[0].captures[0].is_open

    async def second(proxy):
        async with PlayedAgent(proxy, "data-0", "ROLE_DATA", plans={"heap": Gives(b"heap")}):
            await proxy.incidents.tick()
            await until(lambda: proxy.incidents.book.all()[0].artifact_ids)
        return [one.profile for one in proxy.incidents.book.all()[0].captures]

    scene(tmp_path, first)

    assert scene(tmp_path, second) == ["heap"]


def test_what_people_capture_near_an_incident_belongs_to_it(tmp_path) -> None:
    async def play(proxy):
        async with PlayedAgent(proxy, "data-0", "ROLE_DATA", plans={"heap": Gives(b"heap")}):
            await proxy.incidents.take(occurrence("node-unreachable"))
            body = {
                "id": "by-hand",
                "target": {"names": ["data-0"]},
                "captures": [{"profile": "heap"}],
            }
            async with (
                aiohttp.ClientSession() as session,
                session.post(
                    f"http://{proxy.http_address}/diagnostics/requests", json=body
                ) as answer,
            ):
                assert answer.status == 201, await answer.text()
            await until(lambda: proxy.incidents.book.all()[0].artifact_ids)
        (found,) = await listed(proxy)
        return found["artifact_count"]

    assert scene(tmp_path, play) == 1


def test_an_incident_knows_what_was_before_and_who_is_on_the_machine(tmp_path, now_ms) -> None:
    class Placed(PlayedAgent):
        def hello(self):
            hello = super().hello()
            hello.identity.kubernetes_node = "machine-1"
            return hello

    async def play(proxy):
        async with Placed(proxy, "data-0", "ROLE_DATA"), Placed(proxy, "data-1", "ROLE_DATA"):
            await proxy.incidents.take(occurrence("node-gone", at_ms=now_ms.ms))
            (found,) = await listed(proxy)
            return await record(proxy, found["incident_id"])

    whole = scene(tmp_path, play)

    assert whole["neighbours"] == ["banyandb/data-1"]
    assert whole["machine"] == "machine-1"


def test_an_incident_knows_which_settings_changed_in_the_hour_before(tmp_path, now_ms) -> None:
    async def play(proxy):
        agent = PlayedAgent(proxy, "data-0", "ROLE_DATA")
        async with agent:
            await fetch(proxy, "/cluster/config")
            agent.settings = [("logging-level", "debug", "flag")]
            await fetch(proxy, "/cluster/config")
            now_ms.ms = time.time_ns() // 1_000_000 + 60_000  # the agent's clock is the real one
            await proxy.incidents.take(occurrence("node-gone", at_ms=now_ms.ms))
        (found,) = await listed(proxy)
        return (await record(proxy, found["incident_id"]))["changes"]

    assert [one["what"] for one in scene(tmp_path, play)][-1] == (
        "setting logging-level: 'info' became 'debug'"
    )


def test_retention_ends_incidents_and_spares_their_artifacts_until_then(tmp_path, now_ms) -> None:
    async def play(proxy):
        await proxy.incidents.pod_ended(pod_told(log="the end"))
        proxy.diagnostics.store._retention = type(proxy.settings.retention)(max_count=1)
        now_ms.ms += 8 * 24 * HOUR_MS  # older than artifacts become
        await proxy.diagnostics.engine.retain()
        kept = len(proxy.diagnostics.store.select())
        now_ms.ms += 24 * 24 * HOUR_MS
        await proxy.incidents.tick()
        await proxy.incidents.settled()
        await proxy.diagnostics.engine.retain()
        left = len(proxy.diagnostics.store.select())
        return kept, left, await listed(proxy), await proxy.diagnostics.objects.keys("incidents")

    assert scene(tmp_path, play) == (1, 0, [], {})


def test_lists_are_filtered_and_cut(tmp_path) -> None:
    async def play(proxy):
        for number in range(3):
            await proxy.incidents.take(occurrence("node-gone", pod=f"data-{number}"))
        await proxy.incidents.take(occurrence("oom-kill", 2, pod="data-1"))
        queries = ("?node_id=data-1", "?node_id=banyandb/data-2", "?cause=OOMKilled", "?limit=2")
        found = [[one["pod_name"] for one in await listed(proxy, query)] for query in queries]
        odd = [(await fetch(proxy, "/incidents?" + q)).status for q in ("limit=0", "phase=x")]
        cut = json.loads((await fetch(proxy, "/incidents?limit=2")).text)["omitted"]
        return found, odd, cut

    found, odd, cut = scene(tmp_path, play)

    assert found[:3] == [["data-1"], ["data-2"], ["data-1"]]
    assert len(found[3]) == 2
    assert (odd, cut) == ([400, 400], 1)


def test_one_that_is_not_there_is_404(tmp_path) -> None:
    async def play(proxy):
        paths = ("/incidents/inc-x", "/incidents/inc-x/bundle")
        return [(await fetch(proxy, path)).status for path in paths]

    assert scene(tmp_path, play) == [404, 404]


def test_a_record_that_cannot_be_read_hides_no_other(tmp_path) -> None:
    async def first(proxy):
        await proxy.incidents.take(occurrence("node-gone"))
        await proxy.diagnostics.objects.put("incidents/odd.json", b"{}")

    async def second(proxy):
        answer = json.loads((await fetch(proxy, "/incidents")).text)
        return len(answer["incidents"]), [one["name"] for one in answer["unreadable"]]

    scene(tmp_path, first)

    assert scene(tmp_path, second) == (1, ["incidents/odd.json"])


def test_the_page_counts_what_agents_have_told(tmp_path) -> None:
    async def play(proxy):
        await proxy.incidents.take(occurrence("node-gone", 1))
        await proxy.incidents.take(occurrence("oom-kill", 4, gap=2))
        page = (await fetch(proxy, "/metrics")).text
        return dict(line.rsplit(" ", 1) for line in page.splitlines() if "fodc_proxy_" in line[:11])

    page = scene(tmp_path, play)

    told = [page[f"fodc_proxy_occurrences_{n}_total"] for n in ("produced", "delivered", "gapped")]
    assert told == ["4.0", "2.0", "2.0"]
    assert page['fodc_proxy_incident_causes_total{cause="ProcessGone"}'] == "1.0"
    assert page['fodc_proxy_incident_causes_total{cause="OOMKilled"}'] == "1.0"
    assert page['fodc_proxy_incident_causes_total{cause="Crashed"}'] == "0.0"
    assert page['fodc_proxy_incidents{phase="Open"}'] == "1.0"


def test_subscribers_hear_of_it_once_it_is_stored(tmp_path) -> None:
    async def play(proxy):
        heard = []
        incidents: Incidents = proxy.incidents
        incidents.subscribe(lambda one, is_news: heard.append((one.cause, is_news)))
        incidents.subscribe(lambda *_: 1 / 0)
        await incidents.take(occurrence("node-gone", 1))
        await incidents.take(occurrence("oom-kill", 2))
        await incidents.take(occurrence("oom-kill", 2))
        await incidents.take(occurrence("node-restarted", 3))
        return heard

    assert scene(tmp_path, play) == [
        (IncidentCause.PROCESS_GONE, True),
        (IncidentCause.OOM_KILLED, True),
        (IncidentCause.OOM_KILLED, False),
    ]


def test_nothing_is_taken_in_before_the_store_is_open(tmp_path) -> None:
    async def play(proxy):
        unopened = Proxy(proxy.settings)
        with pytest.raises(StorageError, match="readyz"):
            await unopened.incidents.take(occurrence("node-gone"))

    scene(tmp_path, play)
