# SPDX-License-Identifier: Apache-2.0
"""The watcher between an API server and a real proxy: what is an incident, and what is not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from fodc_api.words import IncidentCause
from fodc_kube.client import Cluster, Listed, Watched
from fodc_kube.errors import ClusterError, ForbiddenError
from fodc_operator.incidents import showing
from fodc_operator.incidents.watcher import PodWatcher
from fodc_proxy.evidence.incidents.model import Incident
from fodc_proxy.runtime import Proxy
from tests.operator.mirror.fleet import identity, registration
from tests.proxy.live import running, until

from .ended_pods import NOON_MS, pod, status, terminated

OOM_KILLED = status(last=terminated(), restarts=1)


@dataclass
class FakeCluster:
    """Pods of one namespace, and what their containers wrote."""

    pods: list[dict[str, Any]] = field(default_factory=list)
    log_of: bytes | ClusterError = b"fatal error: out of memory\n"
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    watched: list[str | None] = field(default_factory=list)
    changes: "asyncio.Queue[Watched]" = field(default_factory=asyncio.Queue)

    async def list(self, _kind: object, scope: str | None = None, **_more: object) -> Listed:
        self.watched.append(scope)
        return Listed(self.pods, "9")

    @contextlib.asynccontextmanager
    async def watch(self, *_args: object, **_more: object) -> AsyncIterator[AsyncIterator[Watched]]:
        async def events() -> AsyncIterator[Watched]:
            while True:
                yield await self.changes.get()

        yield events()

    async def log(self, *key: str, is_previous: bool, lines: int, most_bytes: int) -> bytes:
        self.asked.append((*key, is_previous))
        assert (lines, most_bytes) == (500, 1024 * 1024)
        if isinstance(self.log_of, ClusterError):
            raise self.log_of
        return self.log_of


@pytest.fixture(autouse=True)
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fodc_proxy.runtime._unix_ms", lambda: NOON_MS + 5_000)


@contextlib.asynccontextmanager
async def watching(
    tmp_path: Path, cluster: FakeCluster, *names: str, now_ms: int = NOON_MS + 5_000
) -> AsyncIterator[Proxy]:
    async with running(tmp_path) as proxy:
        for name in names:
            proxy.registry.register(registration(name, identity=identity(name)))
        watcher = PodWatcher(
            cast("Cluster", cluster),
            proxy.registry,
            proxy.incidents,
            home_namespace="banyandb",
            clock_ms=lambda: now_ms,
        )
        task = asyncio.create_task(watcher.run())
        try:
            yield proxy
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def seen(tmp_path: Path, cluster: FakeCluster, *names: str) -> tuple[Incident, bytes]:
    """The one incident that comes of it, and the log in it."""

    async def run() -> tuple[Incident, bytes]:
        async with watching(tmp_path, cluster, *names) as proxy:
            await until(lambda: proxy.incidents.book.all() and not proxy.incidents.unstored)
            (incident,) = proxy.incidents.book.all()
            logs = b""
            for held in incident.artifacts:
                stored = proxy.diagnostics.store.find(held.artifact_id)
                assert stored is not None
                blocks = proxy.diagnostics.store.stream(stored, 0, stored.manifest.size_bytes)
                logs += b"".join([block async for block in blocks])
            return incident, logs

    return asyncio.run(run())


def test_an_oom_kill_is_an_incident_with_the_end_of_the_log(tmp_path: Path) -> None:
    cluster = FakeCluster([pod(OOM_KILLED), pod(name="data-1"), pod(name="other", node="m-2")])

    incident, log = seen(tmp_path, cluster, "data-0")

    assert incident.cause is IncidentCause.OOM_KILLED
    assert incident.container_end is not None
    assert (incident.container_end.exit_code, incident.container_end.restarts) == (137, 1)
    assert incident.node.machine == "machine-1"
    assert incident.neighbours == ("banyandb/data-1",)
    assert log == b"fatal error: out of memory\n"
    assert cluster.asked == [("banyandb", "data-0", "banyandb", True)]
    assert cluster.watched == ["banyandb"]


def test_a_pod_without_an_agent_is_no_node(tmp_path: Path) -> None:
    async def run() -> None:
        cluster = FakeCluster([pod(OOM_KILLED, name="web-0", agent=False)])
        async with watching(tmp_path, cluster, "data-0") as proxy:
            cluster.changes.put_nowait(Watched("ADDED", pod(OOM_KILLED)))
            await until(proxy.incidents.book.all)
            assert [one.address for one in proxy.incidents.book.all()] == ["banyandb/data-0"]

    asyncio.run(run())


def test_a_log_that_cannot_be_read_costs_the_log_only(tmp_path: Path) -> None:
    refused = ForbiddenError("get_log pods: forbidden", status=403)

    incident, log = seen(tmp_path, FakeCluster([pod(OOM_KILLED)], refused), "data-0")

    assert log == b""
    assert incident.lines[0].fields == {"log": "its log cannot be read: get_log pods: forbidden"}


def test_a_new_leader_tells_nothing_twice_and_reads_no_log_again(tmp_path: Path) -> None:
    async def run() -> None:
        cluster = FakeCluster([pod(OOM_KILLED)])
        async with watching(tmp_path, cluster, "data-0") as proxy:
            await until(lambda: proxy.incidents.book.all() and not proxy.incidents.unstored)
        again = FakeCluster([pod(OOM_KILLED)])
        async with watching(tmp_path, again, "data-0") as proxy:
            await until(lambda: again.watched)
            again.changes.put_nowait(Watched("MODIFIED", pod(_twice(), version="8")))
            await until(lambda: proxy.incidents.book.all()[0].count == 2)
            assert len(proxy.incidents.book.all()) == 1
        assert len(again.asked) == 1

    def _twice() -> dict[str, Any]:
        return status(last=terminated(), restarts=2)

    asyncio.run(run())


def test_what_ended_days_ago_is_no_news(tmp_path: Path) -> None:
    async def run() -> None:
        cluster = FakeCluster([pod(OOM_KILLED)])
        later_ms = NOON_MS + 25 * 3_600_000
        async with watching(tmp_path, cluster, "data-0", now_ms=later_ms) as proxy:
            await until(lambda: cluster.watched)
            await asyncio.sleep(0.05)
            assert proxy.incidents.book.all() == ()
        assert cluster.asked == []

    asyncio.run(run())


def test_what_cannot_be_stored_is_told_again(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("fodc_kube.work_queue.FAILED_S", 0.01)

    async def run() -> None:
        cluster = FakeCluster()
        async with watching(tmp_path, cluster, "data-0") as proxy:
            opened, proxy.incidents._is_loaded = proxy.incidents._is_loaded, False
            cluster.changes.put_nowait(Watched("ADDED", pod(OOM_KILLED)))
            await until(lambda: len(cluster.asked) >= 2)
            proxy.incidents._is_loaded = opened
            await until(proxy.incidents.book.all)

    asyncio.run(run())


def test_a_node_shows_its_last_incident_and_people_are_told(tmp_path: Path) -> None:
    incident, _ = seen(tmp_path, FakeCluster([pod(OOM_KILLED)]), "data-0")

    assert showing.shown(incident) == {
        "id": incident.id,
        "cause": "OOMKilled",
        "phase": "Open",
        "message": "container banyandb ended by signal 9 with exit code 137 (OOMKilled)",
        "count": 1,
        "artifacts": 1,
        "firstTime": "2026-11-18T12:00:00Z",
        "lastTime": "2026-11-18T12:00:00Z",
    }
    event = showing.event_of(incident)
    assert (event.reason, event.is_warning) == ("OOMKilled", True)
    assert event.message.endswith(f"see: fodc incidents show {incident.id}")
