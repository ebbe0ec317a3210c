# SPDX-License-Identifier: Apache-2.0
"""The suite on kind where no container can start: why it skips, and which commands it would run.

The one idea: programs of the same names on PATH note how they were called and answer as told.
"""

import importlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.controlplane.marking import ForeignClusterError
from e2e.images import building, wanted
from e2e.kind import __main__ as preparing
from e2e.kind import cluster, deciding
from e2e.kind.deciding import Machine, reason_to_skip

SERVER = {"cluster": {"server": "https://127.0.0.1:6443", "certificate-authority-data": "Q0E="}}
NO_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."


class Programs:
    """Programs on PATH that write their arguments down."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.log = folder / "calls"
        self.log.touch()
        # What is really there must not answer in their place.
        monkeypatch.setenv("PATH", str(self.folder))
        monkeypatch.setenv("KUBECONFIG", "/somebody/elses/kubeconfig")

    def put(self, name: str, answers: Mapping[str, tuple[int, str]] | None = None) -> None:
        """Make a program; `answers` are code and words for calls that contain a text."""
        lines = [f'echo "{name} $*" >> {shlex.quote(str(self.log))}']
        for text, (code, words) in (answers or {}).items():
            stream = ">&2" if code else ""
            told = f"printf '%s\\n' {shlex.quote(words)} {stream}"
            lines.append(f'case "$*" in *{shlex.quote(text)}*) {told}; exit {code};; esac')
        path = self.folder / name
        path.write_text("\n".join(["#!/bin/sh", *lines, "exit 0", ""]))
        path.chmod(0o755)

    def calls(self, name: str = "") -> list[str]:
        """How the programs were called, or one of them."""
        return [line for line in self.log.read_text().splitlines() if line.startswith(name)]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    return Programs(tmp_path, monkeypatch)


def complete(programs: Programs, **kubectl: tuple[int, str]) -> None:
    """Everything is there and answers."""
    programs.put("docker", {"version": (0, "27.0.1")})
    programs.put("kind")
    answers = {
        "config view": (0, json.dumps({"clusters": [SERVER]})),
        "create token": (0, "the-token"),
    }
    programs.put("kubectl", {**kubectl, **answers})


# ---- why it skips ----------------------------------------------------------------------------

WHOLE: dict[str, Any] = {"has_docker": True, "has_kind": True, "has_kubectl": True}
NO_KIND = "no kind on PATH (https://kind.sigs.k8s.io)"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({}, ""),
        ({"has_docker": False}, "no docker on PATH"),
        ({"daemon_fault": "refused"}, "docker has no daemon (refused)"),
        ({"has_kind": False}, NO_KIND),
        ({"has_kubectl": False}, "no kubectl on PATH"),
        (
            {"missing_images": ("banyandb-fodc-agent:0.1.0",)},
            "not built: banyandb-fodc-agent:0.1.0 (python -m e2e.kind builds them)",
        ),
        (
            {"has_node_image": False, "node_image": "node:1"},
            (
                "no image node:1 for the node (python -m e2e.kind pulls it, FODC_KIND_NODE_IMAGE "
                "names another)"
            ),
        ),
        (
            {"daemon_fault": "refused", "has_kind": False},
            f"docker has no daemon (refused); {NO_KIND}",
        ),
    ],
)
def test_the_reason_says_what_is_missing_and_how_to_get_it(
    found: dict[str, Any], reason: str
) -> None:
    assert reason_to_skip(Machine(**{**WHOLE, **found})) == reason


def test_a_machine_without_a_daemon_is_seen_as_it_is(programs: Programs) -> None:
    programs.put("docker", {"version": (1, NO_DAEMON)})

    found = cluster.look({})

    assert found == Machine(True, False, False, daemon_fault=NO_DAEMON)
    assert programs.calls() == ["docker version --format={{.Server.Version}}"]


def test_a_machine_without_anything_is_seen_as_it_is(programs: Programs) -> None:
    assert cluster.look({}) == Machine(False, False, False)


def test_images_that_docker_does_not_have_are_told(programs: Programs) -> None:
    missing = (1, "No such image")
    programs.put(
        "docker",
        {"version": (0, "27.0.1"), "banyandb-fodc-agent": missing, "node:9": missing},
    )
    programs.put("kind")
    programs.put("kubectl")

    found = cluster.look({"FODC_KIND_NODE_IMAGE": "node:9"})

    assert found.missing_images == ("banyandb-fodc-agent:0.1.0",)
    assert (found.node_image, found.has_node_image) == ("node:9", False)


def test_a_complete_machine_has_no_reason_to_skip(programs: Programs) -> None:
    complete(programs)

    assert reason_to_skip(cluster.look({})) == ""


# ---- what it would run -----------------------------------------------------------------------


def test_the_node_listens_on_loopback_only() -> None:
    assert yaml.safe_load(deciding.CONFIGURATION) == {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"apiServerAddress": "127.0.0.1"},
        "nodes": [{"role": "control-plane"}],
    }


def test_a_cluster_is_made_filled_marked_used_and_removed(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete(programs)
    monkeypatch.setattr(cluster.secrets, "token_hex", lambda _n: "0a1b2c3d")
    folder, name = tmp_path / "run", "--name=fodc-test-0a1b2c3d"
    kubeconfig = f"--kubeconfig={folder / 'kubeconfig'}"

    with cluster.kind_cluster(folder, "node:1", [tmp_path / "db.tar"]) as made:
        token, authority = made.token, made.ca_file.read_text()
        before_the_end = programs.calls("kind")

    created = (
        f"kind create cluster {name} --image=node:1 --config={folder / 'cluster.yaml'} "
        f"{kubeconfig} --wait=180s"
    )
    loaded = f"kind load docker-image {name} banyandb-fodc-operator:0.1.0 banyandb-fodc-agent:0.1.0"
    assert before_the_end == [
        created,
        loaded,
        f"kind load image-archive {name} {tmp_path / 'db.tar'}",
    ]
    assert programs.calls("kind")[-1] == f"kind delete cluster {name} {kubeconfig}"
    assert (made.url, token, authority) == ("https://127.0.0.1:6443", "the-token", "CA")
    assert [call for call in programs.calls("kubectl") if kubeconfig not in call] == []
    assert (folder / "cluster.yaml").read_text() == deciding.CONFIGURATION


def test_the_mark_is_written_before_it_is_looked_for(programs: Programs, tmp_path: Path) -> None:
    complete(programs)

    with cluster.kind_cluster(tmp_path / "run", "node:1", []):
        pass

    first, second = programs.calls("kubectl")[:2]
    assert first.endswith("apply --filename=-")
    assert "get configmap banyandb-fodc-tests" in second


@pytest.mark.parametrize("step", ["create cluster", "load docker-image"])
def test_a_cluster_that_was_made_by_half_is_removed(
    programs: Programs, tmp_path: Path, step: str
) -> None:
    complete(programs)
    programs.put("kind", {step: (1, "no space left on device")})

    with (
        pytest.raises(cluster.KindError, match="no space left on device"),
        cluster.kind_cluster(tmp_path / "run", "node:1", []),
    ):
        pytest.fail("it is not there")

    assert programs.calls("kind")[-1].startswith("kind delete cluster --name=fodc-test-")


def test_only_clusters_of_these_tests_are_removed() -> None:
    with pytest.raises(ValueError, match="kind is no cluster of these tests; it is not deleted"):
        deciding.delete("kind", Path("kubeconfig"))


def test_a_cluster_without_the_mark_is_refused_before_anything_is_written(
    programs: Programs, tmp_path: Path
) -> None:
    missing = 'configmaps "banyandb-fodc-tests" not found'
    complete(programs, **{"get configmap": (1, missing)})

    with pytest.raises(ForeignClusterError, match=r"is not marked for tests .*not found"):
        cluster.existing_cluster(tmp_path, tmp_path / "theirs")

    assert [call for call in programs.calls("kubectl") if " get configmap " not in call] == []


def test_users_are_impersonated(programs: Programs, tmp_path: Path) -> None:
    complete(programs)
    found = cluster.existing_cluster(tmp_path, tmp_path / "theirs")

    found.kubectl("get", "pods", user="viewer")

    assert programs.calls()[-1] == (
        f"kubectl --kubeconfig={tmp_path / 'theirs'} --as=viewer get pods"
    )
    assert (found.api().acting_as, found.api("viewer").acting_as) == ("", "viewer")


# ---- preparing -------------------------------------------------------------------------------


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What `make images` gives."""
    made = {image: tmp_path / f"{image.name}-0123.tar" for image in wanted.IMAGES}
    monkeypatch.setattr(building, "built", lambda: made)
    return list(made.values())


def test_preparing_loads_todays_images_and_pulls_the_node(
    programs: Programs, archives: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Images by the same names were taken, however old they were."""
    complete(programs)
    unknown = (1, "No such image")
    version = {"version": (0, "27.0.1")}
    programs.put("docker", {**version, "inspect --format={{.Id}} kindest": unknown})

    code = preparing.main()

    assert [call for call in programs.calls("docker") if "load" in call or "pull" in call] == [
        *(f"docker load --input={archive}" for archive in archives),
        f"docker pull --quiet {deciding.NODE_IMAGE}",
    ]
    # These programs pull nothing, so it is still missing.
    assert code == 1
    assert "cannot run: no image kindest/node" in capsys.readouterr().out


@pytest.mark.usefixtures("archives")
def test_preparing_a_complete_machine_says_that_it_is_ready(
    programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    complete(programs)

    assert preparing.main() == 0
    assert capsys.readouterr().out.endswith("ready: python -m pytest e2e/kind\n")


def test_preparing_tells_why_a_build_failed(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> dict[wanted.Image, Path]:
        raise building.ImagesError("no route to registry")

    complete(programs)
    monkeypatch.setattr(building, "built", broken)

    assert preparing.main() == 1
    assert "no route to registry" in capsys.readouterr().err


def test_the_images_are_those_of_the_manifests() -> None:
    text = (Path(__file__).parents[2] / "manifests/base/deployment.yaml").read_text()
    overlay = (
        Path(__file__).parents[2] / "manifests/overlays/default/kustomization.yaml"
    ).read_text()

    assert f"value: {deciding.AGENT_IMAGE}" in text
    name, tag = deciding.OPERATOR_IMAGE.split(":")
    assert f"image: {name}\n" in text
    assert f"- name: {name}\n    newTag: {tag}" in overlay


@pytest.mark.parametrize("name", ["crds", "injection_crd", "manifests", "manifests_rights"])
def test_a_module_of_the_suite_has_every_test_of_the_one_it_repeats(name: str) -> None:
    repeated = importlib.import_module(f"e2e.test_{name}")
    module = importlib.import_module(f"e2e.kind.test_{name}_on_kind")
    wanted = {one for one in vars(repeated) if one.startswith("test_")}

    assert wanted - set(vars(module)) == {
        one for one in wanted if "bundle_that_the_operator_wrote" in one
    }
