# SPDX-License-Identifier: Apache-2.0
"""kill -9 of agent, proxy or node at any moment of a capture: the request ends in a true state.

Done once, or failed with the reason; and never is half an artifact listed or downloadable.
"""

import contextlib
import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import programs
from e2e.controlplane import processes
from e2e.node import running
from fodc_protocol import pprof

CAPTURE_S = 2
# Moments after the request: before the agent heard, early, late, at the end, during the transfer.
MOMENTS_S = (0.0, 0.3, 1.2, 2.0, 2.05, 2.1, 2.3)
TRUE_REASONS = {
    "agent": {"AgentRestarted"},
    "proxy": {"ProxyRestarted"},
    "node": {"NodeUnreachable", "NodeError", "CorruptProfile", "NodeHung"},
}


class Site:
    """One node, one agent, one proxy, each of which can die and come back at its old address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = contextlib.ExitStack()
        self.metrics, self.pprof, self.grpc, self.http = processes.free_ports(4)
        self.node = self._node()
        self.proxy = self._proxy("proxy-1")
        self.agent = self._agent()

    def _node(self) -> running.RunningNode:
        ports = {"metrics_port": self.metrics, "pprof_port": self.pprof}
        return self.stack.enter_context(running.sample_node(load=2, **ports))

    def _proxy(self, name: str) -> programs.Program:
        flags = (
            f"--grpc-listen-addr=127.0.0.1:{self.grpc}",
            f"--http-listen-addr=127.0.0.1:{self.http}",
        )
        started = programs.start_proxy(self.folder, *flags, name=name)
        return self.stack.enter_context(programs.running(started))

    def _agent(self) -> programs.Program:
        started = programs.start_agent(
            self.folder,
            "--poll-metrics-interval=1s",
            "--reconnect-interval=200ms",
            pod_name="pod-0",
            proxy=self.proxy.grpc,
            metrics_port=self.node.metrics_port,
            pprof_port=self.node.pprof_port,
        )
        return self.stack.enter_context(programs.running(started))

    def kill_and_return(self, victim: str) -> None:
        """End one of them as a crash would, and start it again where it was."""
        match victim:
            case "agent":
                self.agent.kill()
                self.agent = self._agent()
            case "proxy":
                self.proxy.kill()
                self.proxy = self._proxy("proxy-2")
            case "node":
                self.node.kill()
                self.node = self._node()

    def get(self, path: str) -> Any:
        """A JSON answer; waits for a proxy that is just returning."""
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"{self.proxy.http}{path}", timeout=30) as answer:
                    return json.load(answer)
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def request_cpu(self, **execution: int) -> str:
        """Ask for a CPU profile and give the request's id."""
        body = {
            "target": {"names": ["pod-0"]},
            "captures": [{"profile": "cpu", "duration_seconds": CAPTURE_S}],
            "execution": execution,
        }
        url = f"{self.proxy.http}/diagnostics/requests"
        headers = {"Content-Type": "application/json"}
        made = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers)
        with urllib.request.urlopen(made, timeout=10) as answer:
            request_id: str = json.load(answer)["id"]
            return request_id

    def wait_recording(self) -> None:
        """Wait until the agent has written down that it records a CPU profile."""
        folder = self.folder / "pod-0" / "captures"
        deadline = time.monotonic() + 20
        while not any('"cpu"' in one.read_text() for one in folder.glob("*.fodc-state")):
            assert time.monotonic() < deadline, self.agent.tail()
            time.sleep(0.02)

    def finished(self, request_id: str) -> dict[str, Any]:
        """The resource once the request has ended."""
        deadline = time.monotonic() + 45
        while time.monotonic() < deadline:
            resource: dict[str, Any] = self.get(f"/diagnostics/requests/{request_id}")
            if resource["finished_at"] is not None:
                return resource
            time.sleep(0.1)
        raise AssertionError(f"never ended: {json.dumps(resource)}\n{self.proxy.tail()}")

    def download(self, manifest: dict[str, Any]) -> bytes:
        """The bytes behind a manifest."""
        url = f"{self.proxy.http}/artifacts/{manifest['artifact_id']}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            body: bytes = answer.read()
            return body


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    started = Site(tmp_path)
    with started.stack:
        deadline = time.monotonic() + 20
        while started.get("/health")["agents_online"] != 1:
            assert time.monotonic() < deadline, started.agent.tail()
            time.sleep(0.05)
        yield started


def assert_only_whole_artifacts(site: Site, expected: int) -> None:
    listed = site.get("/artifacts")["artifacts"]
    # The proxy keeps what nodes were told as artifacts as well.
    manifests = [one for one in listed if one["profile"] == "cpu"]
    assert len(manifests) == expected
    for manifest in manifests:
        body = site.download(manifest)
        assert hashlib.sha256(body).hexdigest() == manifest["sha256"]
        assert len(body) == manifest["size_bytes"]
        assert pprof.inspect(body).samples == manifest["samples"] > 0


@pytest.mark.parametrize("moment_s", MOMENTS_S)
@pytest.mark.parametrize("victim", ["agent", "proxy", "node"])
def test_a_capture_ends_truly_when_a_program_is_killed(
    site: Site, victim: str, moment_s: float
) -> None:
    request_id = site.request_cpu(backoff_limit=0)
    time.sleep(moment_s)  # the moment is what this test is about
    site.kill_and_return(victim)

    done = site.finished(request_id)

    target = done["targets"][0]
    result = target["results"][0]
    if done["phase"] == "Succeeded":
        assert result["sha256"]
        assert target["attempts"] == 1
        assert_only_whole_artifacts(site, expected=1)
    else:
        assert done["phase"] == "Failed"
        assert result["reason"] in TRUE_REASONS[victim], done
        assert result["message"]
        assert_only_whole_artifacts(site, expected=0)


def test_a_killed_proxy_reattaches_to_a_capture_that_goes_on(site: Site) -> None:
    """The capture is done once: the agent's own count of captures says so."""
    request_id = site.request_cpu()
    site.wait_recording()
    site.kill_and_return("proxy")

    done = site.finished(request_id)

    assert done["phase"] == "Succeeded"
    assert done["targets"][0]["attempts"] == 1
    assert_only_whole_artifacts(site, expected=1)


def test_a_request_retries_on_an_agent_that_was_killed(site: Site) -> None:
    request_id = site.request_cpu(backoff_limit=2)
    site.wait_recording()
    site.kill_and_return("agent")

    done = site.finished(request_id)

    assert done["phase"] == "Succeeded"
    assert done["targets"][0]["attempts"] == 2
    assert_only_whole_artifacts(site, expected=1)
