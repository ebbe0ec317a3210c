# SPDX-License-Identifier: Apache-2.0
"""Every overlay and component as the kustomize in kubectl 1.30 to 1.33 renders it (K11).

The one idea: `kubectl kustomize` is a library that each kubectl pins. Built from the Go module that
go.mod of k8s.io/kubectl names, it has to render what kubectl 1.34 renders; 1.32 used to panic.
"""

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from e2e.applied import MANIFESTS, Resource, render
from e2e.commands import CommandError, cache_root, run_long, say_as
from e2e.controlplane import build
from e2e.controlplane.cluster import ControlPlane

MODULE = "sigs.k8s.io/kustomize/kustomize/v5"
VERSIONS = {
    "1.30": "v5.0.4",
    "1.31": "v5.4.2",
    "1.32": "v5.5.0",
    "1.33": "v5.6.0",
}
"""What go.mod of k8s.io/kubectl v0.31.14, v0.32.10 and v0.33.6 pins; 1.30 pins a commit before
v5.0.4, which cannot be installed by itself."""
FOLDERS = sorted(
    one.parent.relative_to(MANIFESTS).as_posix()
    for one in MANIFESTS.glob("overlays/*/kustomization.yaml")
)
COMPONENTS = sorted(one.parent.name for one in MANIFESTS.glob("components/*/kustomization.yaml"))
BUILD_DEADLINE_S = 600.0


def kustomize_of(kubectl: str) -> Path:
    """Return the program, which is built where that is permitted; skips with what would help."""
    folder = cache_root() / "kustomize" / VERSIONS[kubectl]
    program = folder / "kustomize"
    if not program.exists():
        if not build.building_is_permitted() or shutil.which("go") is None:
            pytest.skip(
                f"NO KUSTOMIZE OF KUBECTL {kubectl}: {program} is missing; "
                f"`make e2e` or {build.PERMISSION_VARIABLE}=1 builds it (a minute, needs Go)"
            )
        environment = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0", "GOWORK": "off"}
        command = ["go", "install", "-trimpath", f"{MODULE}@{VERSIONS[kubectl]}"]
        try:
            run_long(
                command,
                f"kustomize of kubectl {kubectl}",
                say_as("kustomize"),
                deadline_s=BUILD_DEADLINE_S,
                cwd=cache_root(),
                environment=environment,
            )
        except CommandError as error:
            pytest.skip(f"NO KUSTOMIZE OF KUBECTL {kubectl}: {error}")
    return program


def rendered_by(program: Path, folder: Path) -> list[Resource]:
    """Return what a kustomize makes of a folder; a panic or an error fails the test."""
    answer = subprocess.run(
        [program, "build", str(folder)], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    return in_order([one for one in yaml.safe_load_all(answer.stdout) if one])


def in_order(documents: list[Resource]) -> list[Resource]:
    """Versions put objects of one kind in different orders, which means nothing."""
    return sorted(documents, key=lambda one: (one["kind"], one["metadata"]["name"]))


@pytest.mark.timeout(BUILD_DEADLINE_S + 60)
@pytest.mark.parametrize("kubectl", VERSIONS)
def test_every_overlay_is_rendered_alike(control_plane: ControlPlane, kubectl: str) -> None:
    program = kustomize_of(kubectl)

    different = [
        folder
        for folder in FOLDERS
        if rendered_by(program, MANIFESTS / folder) != in_order(render(control_plane, folder))
    ]

    assert different == []


@pytest.mark.timeout(BUILD_DEADLINE_S + 60)
@pytest.mark.parametrize("kubectl", VERSIONS)
def test_every_component_is_rendered_alike(
    control_plane: ControlPlane, kubectl: str, tmp_path: Path
) -> None:
    program, number = kustomize_of(kubectl), itertools.count()

    def differs(component: str) -> bool:
        folder = tmp_path / str(next(number))
        folder.mkdir()
        base = Path(os.path.relpath(MANIFESTS, folder.resolve()))
        whole = {
            "resources": [str(base / "overlays" / "default")],
            "components": [str(base / "components" / component)],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(whole))
        expected = control_plane.kubectl("kustomize", str(folder), check=True).stdout
        wanted = in_order([one for one in yaml.safe_load_all(expected) if one])
        return rendered_by(program, folder) != wanted

    assert [one for one in COMPONENTS if differs(one)] == []
