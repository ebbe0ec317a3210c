# SPDX-License-Identifier: Apache-2.0
"""One agent for two nodes over the network: a real proxy, real nodes, a file of targets.

Each node is a node of its own to the proxy; what happens to the file or to one of them never
touches the other.
"""

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import programs
from e2e.node import running
from fodc_protocol import pprof

DEADLINE_S = 30.0


def fetched(url: str) -> tuple[int, bytes]:
    """Return status and body of a page."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # loopback
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def until(condition: Callable[[], Any]) -> Any:
    """Wait for the condition to give something, and return it."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {DEADLINE_S} s: {condition}")


class Site:
    """Two nodes, a proxy, and one agent that knows both by a file."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.file = folder / "targets.json"
        self.nodes = {
            f"demo-{place}": stack.enter_context(running.sample_node(load=4)) for place in range(2)
        }
        self.write(self.nodes)
        proxy = programs.start_proxy(folder)
        self.proxy = stack.enter_context(programs.running(proxy))
        agent = programs.start(
            "remote",
            "fodc_agent",
            [
                "--attachment=remote",
                f"--targets-file={self.file}",
                f"--proxy-addr={proxy.grpc}",
                "--prometheus-listen-addr=127.0.0.1:0",
                "--poll-metrics-interval=1s",
                f"--capture-dir={folder / 'captures'}",
                f"--recorder-dir={folder / 'window'}",
            ],
            folder,
        )
        self.agent = stack.enter_context(programs.running(agent))

    def write(self, names: Any) -> None:
        """Replace the file in one step, as a ConfigMap volume does."""
        targets = [
            {
                "pod_name": name,
                "namespace": "demo",
                "pod_uid": f"uid-{name}",
                "kubernetes_node": "node-a",
                "host": self.nodes[name].host,
                "cluster": "demo",
                "role": "data",
                "labels": {"type": "hot"},
                "metrics_ports": [self.nodes[name].metrics_port],
                "container_names": ["data"],
                "cluster_state_ports": [],
                "pprof_ports": [self.nodes[name].pprof_port],
            }
            for name in names
        ]
        self.write_text(json.dumps({"targets": targets}))

    def write_text(self, text: str) -> None:
        """Replace the file by any text."""
        fresh = self.file.with_suffix(".fresh")
        fresh.write_text(text)
        fresh.replace(self.file)

    def living(self) -> dict[str, dict[str, Any]]:
        """Return the nodes that the proxy holds for living, by pod."""
        listed = json.loads(programs.fodc(self.proxy, "nodes", "-o", "json").stdout)
        nodes = listed if isinstance(listed, list) else listed["nodes"]
        return {one["pod_name"]: one for one in nodes if one["phase"] in {"Online", "Degraded"}}

    def whole(self) -> dict[str, dict[str, Any]] | None:
        """Return the living nodes once they are all there with everything known of them."""
        found = self.living()
        known = all(_states(one).get("cpu") == "Supported" for one in found.values())
        return found if len(found) == len(self.nodes) and known else None

    def ready(self) -> dict[str, dict[str, Any]]:
        """Return the lines of /readyz by name."""
        _, body = fetched(f"{self.agent.http}/readyz")
        return {one["name"]: one for one in json.loads(body)["checks"]}


def _states(node: dict[str, Any]) -> dict[str, str]:
    return {one["kind"]: one["state"] for one in node["capabilities"]}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        yield Site(tmp_path, stack)


def test_every_target_is_a_node_of_its_own_and_says_that_it_is_remote(site: Site) -> None:
    nodes = until(site.whole)

    for node in nodes.values():
        reasons = {one["kind"]: one["reason"] for one in node["capabilities"]}
        assert {reasons[kind] for kind in ("process", "cgroup", "pressure", "kernel")} == {"Remote"}
        assert ("AgentInPod", "Remote") in {
            (one["type"], one["reason"]) for one in node["conditions"]
        }
        assert node["labels"]["type"] == "hot"
    page = until(lambda: _page_with_all(site))
    for line in (b'pod_name="demo-0"', b'pod_name="demo-1"', b'node_type="hot"'):
        assert line in page
    assert set(site.ready()) == {"targets-file", "target demo/demo-0", "target demo/demo-1"}
    assert until(lambda: fetched(f"{site.agent.http}/readyz")[0] == 200)
    assert fetched(f"{site.agent.http}/healthz")[0] == 200


def _page_with_all(site: Site) -> bytes | None:
    page = fetched(f"{site.agent.http}/metrics")[1]
    return page if all(f'pod_name="{name}"'.encode() in page for name in site.nodes) else None


def test_a_cpu_profile_of_each_target_arrives(site: Site, tmp_path: Path) -> None:
    until(site.whole)

    out = tmp_path / "profiles"
    programs.fodc(site.proxy, "capture", "cpu", "--all", "--seconds", "1", "--output-dir", str(out))

    profiles = sorted(path for path in out.rglob("*") if path.name.endswith(".pb.gz"))
    assert len(profiles) == 2
    assert all(not pprof.inspect(path.read_bytes()).empty for path in profiles)
    folders = {path.name for path in (site.folder / "captures" / "targets").iterdir()}
    assert folders == {"demo_demo-0_uid-demo-0", "demo_demo-1_uid-demo-1"}


def test_a_target_that_is_removed_takes_its_node_along_and_leaves_the_other_alone(
    site: Site,
) -> None:
    until(site.whole)
    before = site.living()["demo-0"]["agent_id"]

    site.write(["demo-0"])

    until(lambda: set(site.living()) == {"demo-0"})
    assert site.living()["demo-0"]["agent_id"] == before
    assert set(site.ready()) == {"targets-file", "target demo/demo-0"}


def test_a_broken_file_keeps_what_was_there_and_says_so(site: Site) -> None:
    until(site.whole)

    site.write_text('{"targets": [')

    said = until(lambda: not site.ready()["targets-file"]["ok"] and site.ready()["targets-file"])
    assert "the last good one counts" in said["message"]
    assert set(site.living()) == {"demo-0", "demo-1"}
    site.write(site.nodes)
    until(lambda: site.ready()["targets-file"]["ok"])
    assert set(site.living()) == {"demo-0", "demo-1"}


def test_one_target_that_is_down_or_makes_no_sense_stops_no_other(site: Site) -> None:
    until(site.whole)
    site.nodes["demo-1"].kill()
    good = json.loads(site.file.read_text())["targets"]
    site.write_text(json.dumps({"targets": [*good, {"pod_name": "../x", "host": "h"}]}))

    until(lambda: not site.ready()["target demo/demo-1"]["ok"])
    until(lambda: "targets[2].pod_name" in site.ready()["targets-file"]["message"])
    assert site.ready()["target demo/demo-0"]["ok"]
    assert set(site.living()) == {"demo-0", "demo-1"}
