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
from e2e.commands import cache_root, locked, run_long, say_as
from e2e.controlplane import build
from e2e.controlplane.cluster import ControlPlane

MODULES = "sigs.k8s.io/kustomize"
PINS = {
    "1.30": {
        "kustomize/v5": "v5.0.4-0.20230601165947-6ce0bf390ce3",
        "kyaml": "v0.14.3-0.20230601165947-6ce0bf390ce3",
        "api": "v0.13.5-0.20230601165947-6ce0bf390ce3",
    },
    "1.31": {"kustomize/v5": "v5.4.2"},
    "1.32": {"kustomize/v5": "v5.5.0"},
    "1.33": {"kustomize/v5": "v5.6.0"},
}
"""What go.mod of k8s.io/kubectl v0.30.0, v0.31.14, v0.32.10 and v0.33.6 pins; those of 1.30 belong
to one commit before a release, of which the first names no others."""
FOLDERS = sorted(
    one.parent.relative_to(MANIFESTS).as_posix()
    for one in MANIFESTS.glob("overlays/*/kustomization.yaml")
)
COMPONENTS = sorted(one.parent.name for one in MANIFESTS.glob("components/*/kustomization.yaml"))
OWN_IMAGES = [
    {"name": name, "newName": f"registry.example.com/fodc/{name}"}
    for name in ("banyandb-fodc-operator", "banyandb-fodc-agent")
]
BUILD_DEADLINE_S = 600.0


def kustomize_of(kubectl: str) -> Path:
    """Return the program, which is built where that is permitted; skips with what would help.

    Raises CommandError when building it fails.
    """
    folder = cache_root() / "kustomize" / "-".join(PINS[kubectl].values())
    program = folder / "kustomize"
    if not program.exists():
        if not build.building_is_permitted() or shutil.which("go") is None:
            pytest.skip(
                f"NO KUSTOMIZE OF KUBECTL {kubectl}: {program} is missing; "
                f"`make e2e` or {build.PERMISSION_VARIABLE}=1 builds it (a minute, needs Go)"
            )
        with locked(folder / "lock", say_as("kustomize")):
            if not program.exists():
                built(kubectl, folder)
    return program


def built(kubectl: str, folder: Path) -> None:
    """Build the program there, as a module that needs what this kubectl does."""
    needs = "".join(f"require {MODULES}/{one} {pin}\n" for one, pin in PINS[kubectl].items())
    (folder / "go.mod").write_text(f"module kustomize-of-kubectl\n\ngo 1.19\n\n{needs}")
    run_long(
        ["go", "build", "-trimpath", "-mod=mod", "-o", "built", f"{MODULES}/kustomize/v5"],
        f"kustomize of kubectl {kubectl}",
        say_as("kustomize"),
        deadline_s=BUILD_DEADLINE_S,
        cwd=folder,
        environment={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""},
    )
    (folder / "built").replace(folder / "kustomize")


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
@pytest.mark.parametrize("kubectl", PINS)
def test_every_overlay_is_rendered_alike(control_plane: ControlPlane, kubectl: str) -> None:
    program = kustomize_of(kubectl)

    different = [
        folder
        for folder in FOLDERS
        if rendered_by(program, MANIFESTS / folder) != in_order(render(control_plane, folder))
    ]

    assert different == []


@pytest.mark.timeout(BUILD_DEADLINE_S + 60)
@pytest.mark.parametrize("kubectl", PINS)
def test_every_component_is_rendered_alike_with_images_of_ones_own(
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
            "images": OWN_IMAGES,
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(whole))
        expected = control_plane.kubectl("kustomize", str(folder), check=True).stdout
        wanted = in_order([one for one in yaml.safe_load_all(expected) if one])
        return rendered_by(program, folder) != wanted

    assert [one for one in COMPONENTS if differs(one)] == []
