# SPDX-License-Identifier: Apache-2.0
"""A command that waits for an installation ends as soon as a program there does, with its words."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from e2e.commands import CommandError
from e2e.controlplane.cluster import ControlPlane
from e2e.kubelet import installation, operator_pods
from e2e.kubelet.installation import Machine
from e2e.kubelet.node import Node
from e2e.kubelet.operator_pods import InstalledPod


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose commands run here, without a cluster."""
    monkeypatch.setattr(Machine, "_environment", lambda _: {"PATH": "/usr/bin:/bin"})
    monkeypatch.setattr(Machine, "words", lambda _: "pods are Pending")
    monkeypatch.setattr(installation, "LOOK_EVERY_S", 0.05)
    (tmp_path / "tree").mkdir()
    return Machine(cast("Node", None), "10.78.0.1:5000/fodc", tmp_path)


def faults(monkeypatch: pytest.MonkeyPatch, look: Callable[..., str]) -> None:
    monkeypatch.setattr(Machine, "_fault", look)


def test_a_program_that_ended_is_told_at_once_and_not_when_time_is_over(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect: a crash at the start was told as a timeout, ten minutes later."""
    faults(monkeypatch, lambda *_: "ended with status 1 (Error)\nKeyError: 'getpwuid()'")
    began = time.monotonic()

    with pytest.raises(CommandError, match=r"(?s)waiting.*ended with status 1.*getpwuid"):
        machine.shell("echo waiting; sleep 60 | cat")
    assert time.monotonic() - began < 30


def test_a_command_that_takes_too_long_is_told_with_how_the_pods_stand(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults(monkeypatch, lambda *_: "")
    monkeypatch.setattr(installation, "LINES_DEADLINE_S", 0.1)

    with pytest.raises(CommandError, match=r"(?s)waiting.*not within 0\.1 s.*pods are Pending"):
        machine.shell("echo waiting; sleep 60 | cat")


def test_a_command_that_fails_is_told_with_how_the_pods_stand(machine: Machine) -> None:
    with pytest.raises(CommandError, match=r"(?s)exit 3.*not found.*pods are Pending"):
        machine.shell("echo not found >&2; exit 3")


def test_the_registry_of_the_readme_is_that_of_the_machine(machine: Machine) -> None:
    assert machine.shell("echo registry.example.com/fodc/x") == "10.78.0.1:5000/fodc/x\n"


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "one"}, "status": {"containerStatuses": [status]}}


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        ({"state": {"running": {}}}, ""),
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, ""),
        (
            {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}},
            "one: ErrImagePull: not found",
        ),
        (
            {"state": {"terminated": {"exitCode": 1, "reason": "Error"}}},
            "one ended with status 1 (Error)",
        ),
        (
            {
                "state": {"running": {}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            },
            "one ended with status 137 (OOMKilled)",
        ),
    ],
)
def test_a_pod_says_why_it_will_not_run(status: dict[str, Any], fault: str) -> None:
    assert InstalledPod(pod(**status)).fault == fault


def test_a_pod_on_its_way_out_is_no_fault() -> None:
    ended = pod(state={"terminated": {"exitCode": 0, "reason": "Completed"}})
    ended["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z"

    class Plane:
        def api(self) -> "Plane":
            return self

        def get(self, _: str) -> Any:
            return type("Answer", (), {"status": 200, "body": {"items": [ended]}})

    assert operator_pods.fault_among(cast("ControlPlane", Plane()), "fodc-system") == ""


def test_the_tree_of_the_lines_is_this_one_but_for_what_is_built_in_it(tmp_path: Path) -> None:
    """Defect: the installation that a person has in build/deploy was removed by the tests."""
    installation.make_tree(tmp_path / "tree")
    there = {path.name for path in (tmp_path / "tree").iterdir()}

    assert {"Makefile", "crds", "e2e", "manifests"} <= there
    assert "build" not in there
