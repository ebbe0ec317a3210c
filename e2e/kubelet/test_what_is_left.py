# SPDX-License-Identifier: Apache-2.0
"""A node ends with its test and leaves nothing, in order or killed; two stand side by side."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from e2e import operators
from e2e.controlplane import installing
from e2e.controlplane.cluster import ControlPlane
from e2e.kubelet import databases, place, traces
from e2e.kubelet.node import Node, node
from e2e.kubelet.place import Place

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(180)


def run_database(one: Node) -> None:
    namespace = installing.new_namespace(one.plane)
    text = yaml.safe_dump(databases.stateful_set("db"))
    kubectl(one.plane, namespace, "apply", "--filename=-", stdin=text)
    status = ("rollout", "status", "statefulset/db", "--timeout=40s")
    kubectl(one.plane, namespace, *status)


def kubectl(plane: ControlPlane, namespace: str, *words: str, stdin: str = "") -> None:
    plane.kubectl(f"--namespace={namespace}", *words, stdin=stdin, check=True)


def test_two_nodes_stand_side_by_side_and_leave_nothing(
    archives: list[Path], tmp_path: Path
) -> None:
    before = traces.of_host()
    with node(tmp_path / "first", archives) as first:
        run_database(first)
        with node(tmp_path / "second", archives) as second:
            run_database(second)
            during = {one.place: traces.come(before, one.place) for one in (first, second)}
            families = [traces.family(one.child.process.pid) for one in (first, second)]
        assert traces.come(before, second.place) == []
        assert families[1].left() == []
        assert first.child.process.poll() is None
        assert {"containerd", "kubelet", "banyand", "pause"} <= set(families[0].names.values())

    assert all(f"link {taken.link}" in come for taken, come in during.items())
    assert traces.come(before, first.place) == []
    assert families[0].left() == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def person(archives: list[Path], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The node for people, which somebody may kill."""
    process = subprocess.Popen(
        [sys.executable, "-m", "e2e.kubelet"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate(timeout=20)


def test_a_killed_run_takes_its_node_with_it(person: subprocess.Popen[str]) -> None:
    before = traces.of_host()
    assert person.stderr is not None
    said = next(line for line in iter(person.stderr.readline, "") if "the node is at" in line)
    found = re.search(r"10\.78\.(\d+)\.2", said)
    assert found is not None
    taken = Place(int(found[1]) // 2)
    family = traces.family(person.pid)
    names = set(family.names.values())

    person.send_signal(signal.SIGKILL)
    person.wait(20)

    assert {"etcd", "kube-apiserver", "kubelet", "containerd"} <= names
    operators.wait_for("the end of every process", lambda: not family.left(), 20)
    operators.wait_for("the end of the link", lambda: _only_cgroups(before, taken), 20)
    # What the kernel does not remove is removed by the next who has this place.
    operators.wait_for("no cgroup", lambda: place.remove_cgroups(taken), 10)
    assert traces.come(before, taken) == []


def _only_cgroups(before: set[str], taken: Place) -> bool:
    return all(line.startswith("cgroup ") for line in traces.come(before, taken))
