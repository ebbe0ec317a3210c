# SPDX-License-Identifier: Apache-2.0
"""The demo: one proxy, three agents, three sample nodes under load, two captures, real output.

Nothing is canned: the nodes burn CPU, the agents scrape and capture, `fodc` asks the proxy.
Ctrl-C or SIGTERM ends every process and removes every file; `--once` ends by itself and fails
when a profile is empty.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from e2e import programs
from e2e.commands import end_with, heed_signals, path_line
from e2e.node import running
from e2e.node.build import BuildError

ONLINE_DEADLINE_S = 30.0
CPU_SECONDS = 5
# Pod, role, node labels, and a setting in which the two data nodes differ on purpose.
NODES = (
    ("banyandb-data-hot-0", "data", "type=hot", "--measure-flush-timeout=5s"),
    ("banyandb-data-hot-1", "data", "type=hot", "--measure-flush-timeout=1m"),
    ("banyandb-liaison-0", "liaison", "", "--stream-flush-timeout=1s"),
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the demo runs."""

    proxy: programs.Program
    agents: tuple[programs.Program, ...]
    nodes: tuple[running.RunningNode, ...]


class Steps:
    """Numbered progress on standard error."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print one step with the time since the start."""
        sys.stderr.write(f"[{time.monotonic() - self._began:5.1f} s] {text}\n")
        sys.stderr.flush()


@contextlib.contextmanager
def fleet(folder: Path, steps: Steps) -> Iterator[Fleet]:
    """Start everything and end it with the block, the last started first."""
    with contextlib.ExitStack() as stack:
        variant = running.build.chosen_variant(None)
        steps.say(f"sample nodes ({variant}): three of them, under load …")
        nodes = tuple(
            stack.enter_context(
                running.sample_node(role=role, load=4, node_labels=labels, arguments=[setting])
            )
            for _, role, labels, setting in NODES
        )
        steps.say("one proxy …")
        proxy = stack.enter_context(programs.running(programs.start_proxy(folder / "proxy")))
        steps.say("three agents …")
        agents = tuple(
            stack.enter_context(programs.running(_agent(folder, proxy, node, pod, role)))
            for node, (pod, role, _, _) in zip(nodes, NODES, strict=True)
        )
        yield Fleet(proxy, agents, nodes)


def _agent(
    folder: Path, proxy: programs.Program, node: running.RunningNode, pod: str, role: str
) -> programs.Program:
    return programs.start_agent(
        folder / "agents",
        "--poll-metrics-interval=1s",
        f"--node-pid={node.pid}",
        pod_name=pod,
        proxy=proxy.grpc,
        metrics_port=node.metrics_port,
        pprof_port=node.pprof_port,
        node_role=role,
    )


def wait_until_online(proxy: programs.Program, count: int) -> None:
    """Wait until the proxy counts that many agents online; raises TimeoutError."""
    deadline = time.monotonic() + ONLINE_DEADLINE_S
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{proxy.http}/health", timeout=5) as answer:
            if json.load(answer)["agents_online"] >= count:
                return
        time.sleep(0.1)
    raise TimeoutError(f"not {count} agents online after {ONLINE_DEADLINE_S:.0f} s")


def show(proxy: programs.Program, *arguments: str) -> int:
    """Run `fodc` with its output on this terminal, the command line printed before it."""
    print(f"\n$ fodc {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "fodc_client", *arguments]
    environment = {**os.environ, "FODC_PROXY": proxy.http}
    return subprocess.run(command, env=environment, check=False).returncode


def walk(proxy: programs.Program, downloads: Path, steps: Steps) -> int:
    """Do what the README shows; return the number of commands that failed."""
    out = f"--output-dir={downloads}"
    steps.say("the fleet, as people see it")
    failed = show(proxy, "nodes") != 0
    steps.say(f"a CPU profile of {CPU_SECONDS} s and a heap snapshot, on request")
    failed += show(
        proxy, "capture", "cpu", "--node", NODES[0][0], "--seconds", str(CPU_SECONDS), out
    )
    failed += show(proxy, "capture", "heap", "--node", NODES[0][0], out) != 0
    failed += show(proxy, "config", "diff") != 0
    failed += show(proxy, "artifacts", "list") != 0
    return failed


def artifacts_hold_samples(proxy: programs.Program) -> bool:
    """Say whether one CPU and one heap artifact exist and none is empty."""
    with urllib.request.urlopen(f"{proxy.http}/artifacts", timeout=5) as answer:
        found = json.load(answer)["artifacts"]
    # What nodes were told is kept as artifacts too, in which nothing can be counted.
    sampled = [one for one in found if one["samples"] is not None]
    kinds = {one["profile"] for one in sampled}
    return kinds >= {"cpu", "heap"} and all(one["samples"] > 0 for one in sampled)


def urls(proxy: programs.Program) -> str:
    """Tell where to look."""
    paths = ("/cluster", "/cluster/config?diff=role", "/metrics", "/artifacts", "/openapi.json")
    lines = [f"  {proxy.http}{path}" for path in paths]
    shell = (f"  {path_line()}", f"  export FODC_PROXY={proxy.http}")
    return "\n".join(["", "Open:", *lines, "For `fodc`:", *shell])


def main() -> int:
    """Run until Ctrl-C or to the end of `--once`; 1 when something failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--once", action="store_true", help="end by itself")
    once = parser.parse_args().once
    steps = Steps()
    try:
        return run(once=once, steps=steps)
    except (programs.ProgramError, running.NodeError, BuildError, TimeoutError) as error:
        steps.say(str(error))
        return 1


def run(*, once: bool, steps: Steps) -> int:
    """Run the demo; 0 only when the artifacts hold samples."""
    with (
        tempfile.TemporaryDirectory(prefix="fodc-demo-") as folder,
        fleet(Path(folder), steps) as running_fleet,
    ):
        proxy = running_fleet.proxy
        wait_until_online(proxy, len(NODES))
        steps.say("three agents are online")
        failed = walk(proxy, Path(folder) / "downloads", steps)
        whole = artifacts_hold_samples(proxy)
        if not once:
            print(urls(proxy), flush=True)
            wait_for_interrupt(steps)
    steps.say("everything has ended" if whole and not failed else "the demo FAILED, see above")
    return 0 if whole and not failed else 1


def wait_for_interrupt(steps: Steps) -> None:
    """Keep everything running until Ctrl-C or SIGTERM."""
    steps.say("running; Ctrl-C ends everything and leaves nothing behind")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    # SIGTERM ends like Ctrl-C: the with-blocks end what they started.
    heed_signals()
    end_with(main)
