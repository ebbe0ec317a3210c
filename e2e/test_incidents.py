# SPDX-License-Identifier: Apache-2.0
"""What happens to a node is an incident within ten seconds, with what would be gone otherwise."""

import contextlib
import gzip
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from e2e import programs
from e2e.node import running
from fodc_protocol import pprof

SOON_S = 10.0
NOTES = "occurrences.fodc-notes"
MEMORY = Path("/sys/fs/cgroup/memory")
UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers")


class Site:
    """One node, one agent, one proxy."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.stack = contextlib.ExitStack()
        self.folder = folder
        self.node = self.stack.enter_context(running.sample_node())
        self.proxy = self.stack.enter_context(programs.running(programs.start_proxy(folder)))
        self.flags = (f"--node-pid={self.node.pid}", "--poll-metrics-interval=1s", *flags)
        self.agent = self.start_agent()

    def start_agent(self) -> programs.Program:
        """Start an agent, also in the place of one that was killed."""
        started = programs.start_agent(
            self.folder,
            *self.flags,
            "--reconnect-interval=200ms",
            pod_name="data-0",
            proxy=self.proxy.grpc,
            metrics_port=self.node.metrics_port,
            pprof_port=self.node.pprof_port,
        )
        return self.stack.enter_context(programs.running(started))

    def get(self, path: str) -> Any:
        """Return what the proxy answers."""
        with programs.opened(self.proxy.http + path) as answer:
            return json.loads(answer.read())

    def bytes_of(self, artifact_id: str) -> bytes:
        """Return the bytes of an artifact."""
        with programs.opened(f"{self.proxy.http}/artifacts/{artifact_id}") as answer:
            data: bytes = answer.read()
            return data

    def until_seen(self) -> None:
        """Wait until the agent has seen its node and the proxy its agent."""
        until("a node that is online", lambda: self.get("/cluster")["nodes"])
        where = f"http://{self.agent.addresses['http']}/readyz"
        until("a ready agent", lambda: _is_ready(where))
        until("a node that a next life of the agent knows", lambda: self.notes().get("life"))

    def notes(self) -> dict[str, Any]:
        """Return what the agent has written down for its next life, empty for nothing."""
        try:
            return dict(json.loads((self.folder / "data-0" / "captures" / NOTES).read_text()))
        except OSError:
            return {}

    def incident(self, cause: str) -> Any:
        """Return the one incident, as soon as it has this cause."""
        path = "/incidents"
        (found,) = until(
            cause, lambda: [one for one in self.get(path)["incidents"] if one["cause"] == cause]
        )
        return self.get(f"{path}/{found['incident_id']}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()


def _is_ready(where: str) -> bool:
    try:
        with programs.opened(where) as answer:
            return bool(json.loads(answer.read())["ready"])
    except OSError:
        return False


def until(what: str, ask: Callable[[], Any], deadline_s: float = SOON_S) -> Any:
    """Ask until the answer is true; raises with the name of what never came."""
    end_s = time.monotonic() + deadline_s
    while not (answer := ask()):
        if time.monotonic() > end_s:
            raise AssertionError(f"{what}: still {answer!r} after {deadline_s:.0f} s")
        time.sleep(0.05)
    return answer


def stored(site: Site, incident_id: str) -> dict[str, str]:
    """Return ids of the stored artifacts of an incident, by kind of profile."""
    artifacts = site.get(f"/incidents/{incident_id}")["artifacts"]
    return {one["profile"]: one["artifact"]["artifact_id"] for one in artifacts if one["artifact"]}


def test_a_node_that_is_killed_is_an_incident(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.until_seen()
        site.node.kill()
        incident = site.incident("ProcessGone")
        kept = until("the window", lambda: stored(site, incident["incident"]["incident_id"]))
        text = gzip.decompress(site.bytes_of(kept["window"])).decode()
    assert incident["incident"]["node_id"].endswith("data-0")
    assert kinds(incident)[0] == "node-gone"
    assert "process_resident_memory_bytes" in text


def test_a_panic_is_an_incident_with_the_crash_that_the_node_wrote_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashes = tmp_path / "crash"
    monkeypatch.setenv("BYDB_PANIC_DIAGNOSTICS_DIR", str(crashes))
    with Site(tmp_path, f"--crash-source-dir={crashes}") as site:
        site.until_seen()
        site.node.panic()
        incident = site.incident("Crashed")
        kept = until(
            "crash and window",
            lambda: _with(stored(site, incident["incident"]["incident_id"]), "crash", "window"),
        )
        crash = json.loads(site.bytes_of(kept["crash"]))
    assert {"node-gone", "crash"} <= set(kinds(incident))
    assert crash["panic_record"]["panic_value"] == "the sample node was asked to panic"


def test_a_node_that_stands_still_is_an_incident_although_its_port_takes_connections(
    tmp_path: Path,
) -> None:
    """At the usual interval: nobody waits for the next page."""
    with Site(tmp_path, "--poll-metrics-interval=10s") as site:
        site.until_seen()
        os.kill(site.node.pid, signal.SIGSTOP)
        try:
            incident = site.incident("Unreachable")
        finally:
            os.kill(site.node.pid, signal.SIGCONT)
        until("the node is back", lambda: "node-back" in kinds(site.incident("Unreachable")), 25)
    assert kinds(incident) == ["node-unreachable"]


def test_a_page_that_hangs_is_an_incident_with_the_goroutines(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.until_seen()
        site.node.fault("hang", for_s=60)
        incident = until("Unreachable", lambda: site.get("/incidents")["incidents"], 40)[0]
        kept = until(
            "goroutines", lambda: _with(stored(site, incident["incident_id"]), "goroutine")
        )
        summary = pprof.inspect(site.bytes_of(kept["goroutine"]))
    assert incident["cause"] == "Unreachable"
    assert summary.nonzero_samples > 0


def test_memory_pressure_is_an_incident_with_the_heap_and_outlives_agent_and_node(
    tmp_path: Path,
) -> None:
    with Site(tmp_path, "--node-memory-limit=200MiB", "--pressure-percent=50") as site:
        site.until_seen()
        site.node.grow(40)
        incident = until("MemoryPressure", lambda: site.get("/incidents")["incidents"], 25)[0]
        kept = until(
            "both profiles",
            lambda: _with(stored(site, incident["incident_id"]), "heap", "goroutine"),
        )
        site.node.kill()
        site.agent.kill()
        summary = pprof.inspect(site.bytes_of(kept["heap"]))
    assert incident["cause"] == "MemoryPressure"
    assert "inuse_space" in {one.kind for one in summary.value_types}


def kinds(incident: Any) -> list[str]:
    """Return what was told, in the order of its times."""
    return [one["kind"] for one in incident["events"]]


def _telling(incident: Any, wanted: set[str]) -> Any:
    return incident if wanted <= set(kinds(incident)) else None


def _with(kept: dict[str, str], *wanted: str) -> dict[str, str] | None:
    return kept if set(wanted) <= set(kept) else None


def test_what_happens_while_the_agent_is_dead_is_told_by_its_next_life(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.until_seen()
        site.agent.kill()
        site.node.kill()
        site.agent = site.start_agent()
        incident = site.incident("ProcessGone")
    assert incident["incident"]["count"] == 1


@pytest.fixture
def limited() -> Iterator[Path]:
    """A cgroup with a memory limit, in which a node can be killed for real."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        pytest.skip("needs a memory cgroup (v1) that may be written to")
    folder = MEMORY / f"fodc-test-incidents-{os.getpid()}"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text(str(160 << 20))
    yield folder
    until("an empty cgroup", lambda: not (folder / "cgroup.procs").read_text().strip())
    folder.rmdir()


def test_an_oom_kill_is_one_incident_with_the_heap_from_before_it(
    tmp_path: Path, limited: Path
) -> None:
    with Site(tmp_path) as site:
        (limited / "cgroup.procs").write_text(str(site.node.pid))
        site.until_seen()
        time.sleep(1.2)  # the limit is read with the next round of sources
        site.node.grow(8)
        site.node.process.wait(60)
        began_s = time.monotonic()
        whole = {"memory-pressure", "oom-kill", "node-gone"}
        incident = until("all of it", lambda: _telling(site.incident("OOMKilled"), whole))
        visible_s = time.monotonic() - began_s
        kept = until(
            "both",
            lambda: _with(
                stored(site, incident["incident"]["incident_id"]), "heap", "goroutine", "window"
            ),
        )
        summary = pprof.inspect(site.bytes_of(kept["heap"]))
    assert site.node.process.returncode == -signal.SIGKILL
    assert visible_s < SOON_S
    assert summary.nonzero_samples > 0
