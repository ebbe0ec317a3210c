# SPDX-License-Identifier: Apache-2.0
"""Find the programs of a Kubernetes control plane, or build them from Go modules.

The one idea: go.mod and go.sum in this folder pin everything as `tool` dependencies, and the
programs live in the user's cache under a hash of their go.sum, so a checkout builds once. Two
programs of other tests are had in the same way: h2spec, and a client on grpc-go.
KUBEBUILDER_ASSETS names a folder whose programs are preferred, as controller-runtime's tests do.

    python -m e2e.controlplane.build [NAME ...]     builds what is missing, prints the folder
    python -m e2e.controlplane.build all            also what only the kubelet tier needs
"""

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e.commands import (
    CommandError,
    cache_root,
    end_with,
    heed_signals,
    locked,
    run_long,
    say_as,
)

MODULE_DIRECTORY: Final = Path(__file__).resolve().parent
INSTALLING_DIRECTORY: Final = MODULE_DIRECTORY / "installing_tools"
"""What a person has beside kubectl, and a registry to push to."""
KUBERNETES_VERSION: Final = "1.34.4"
OPERATING: Final = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kubectl",
    "kube-scheduler",
    "kwok",
)
"""What a control plane without real nodes needs; a kubelet is built on request only."""

ASSETS_VARIABLE: Final = "KUBEBUILDER_ASSETS"
PERMISSION_VARIABLE: Final = "FODC_BUILD"
BUILD_DEADLINE_S: Final = 2400.0
_say: Final = say_as("control plane")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a program comes from: the folder of its Go module and its package."""

    module: Path
    package: str


def _kubernetes(name: str) -> Source:
    return Source(MODULE_DIRECTORY, f"k8s.io/kubernetes/cmd/{name}")


SOURCES: Final[Mapping[str, Source]] = {
    "etcd": Source(MODULE_DIRECTORY, "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": _kubernetes("kube-apiserver"),
    "kube-controller-manager": _kubernetes("kube-controller-manager"),
    "kube-scheduler": _kubernetes("kube-scheduler"),
    "kubectl": _kubernetes("kubectl"),
    "kubelet": _kubernetes("kubelet"),
    "kwok": Source(MODULE_DIRECTORY / "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
    "kustomize": Source(INSTALLING_DIRECTORY, "sigs.k8s.io/kustomize/kustomize/v5"),
    "h2spec": Source(MODULE_DIRECTORY / "h2spec", "github.com/summerwind/h2spec/cmd/h2spec"),
    "grpc_caller": Source(MODULE_DIRECTORY.parent / "grpc_caller", "."),
    "grpc_server": Source(MODULE_DIRECTORY.parent / "grpc_server", "."),
    "crane": Source(INSTALLING_DIRECTORY, "github.com/google/go-containerregistry/cmd/crane"),
    "helm": Source(MODULE_DIRECTORY / "helm", "helm.sh/helm/v3/cmd/helm"),
}


@dataclass(frozen=True, slots=True)
class Binaries:
    """Paths of the programs, by name."""

    paths: Mapping[str, Path]

    def path(self, name: str) -> str:
        """Return the path of a program; KeyError when it was not asked for."""
        return str(self.paths[name])


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The programs cannot be had here; the reason says what is missing and what helps."""

    reason: str


def building_is_permitted() -> bool:
    """Tell whether this run may spend minutes on a build: `make e2e` may, `make test` may not."""
    return os.environ.get(PERMISSION_VARIABLE, "") not in ("", "0")


def cache_directory(module: Path = MODULE_DIRECTORY) -> Path:
    """Return where the programs of a Go module are kept, by its go.sum and its own sources."""
    hashed = hashlib.sha256((module / "go.sum").read_bytes())
    for source in sorted(module.glob("*.go")):
        hashed.update(source.read_bytes())
    digest = hashed.hexdigest()[:16]
    return cache_root() / f"{module.name}-{digest}"


def binaries(*, build: bool, names: Sequence[str] = OPERATING) -> Binaries | Unavailable:
    """Return the named programs, building those that are missing when `build` permits it."""
    found = _found(names)
    missing = [name for name in names if name not in found]
    if missing and not build:
        return Unavailable(_missing_reason(missing))
    if missing:
        try:
            _build_missing(missing)
        except (CommandError, OSError) as error:
            return Unavailable(f"building {', '.join(missing)} failed: {error}")
        found = _found(names)
    return Binaries(found)


def _found(names: Sequence[str]) -> dict[str, Path]:
    assets = os.environ.get(ASSETS_VARIABLE)
    found = {}
    for name in names:
        folders = [*([Path(assets)] if assets else []), cache_directory(SOURCES[name].module)]
        for folder in folders:
            if os.access(folder / name, os.X_OK):
                found[name] = folder / name
                break
    return found


def _missing_reason(missing: Sequence[str]) -> str:
    assets = os.environ.get(ASSETS_VARIABLE)
    places = f"{ASSETS_VARIABLE}={assets} nor in " if assets else ""
    return (
        f"{', '.join(missing)} not in {places}{cache_directory()}; "
        f"`make e2e` or {PERMISSION_VARIABLE}=1 builds what is missing (about 10 minutes, needs Go)"
    )


def _build_missing(names: Sequence[str]) -> None:
    """Build one program after the other under a lock; another run's results are taken as ours."""
    if shutil.which("go") is None:
        raise CommandError(f"there is no Go compiler; {ASSETS_VARIABLE} can name a folder instead")
    for number, name in enumerate(names, 1):
        target = cache_directory(SOURCES[name].module)
        with locked(target / "lock", _say):
            if not (target / name).exists():
                _say(f"building {name} ({number} of {len(names)}) …")
                _build(name, target)


def _build(name: str, target: Path) -> None:
    source = SOURCES[name]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=target, prefix=".building-") as scratch:
        output = Path(scratch) / name
        command = ["go", "build", "-trimpath", "-ldflags", _linker_flags(), "-o", str(output)]
        _run_compiler([*command, source.package], source.module, name)
        output.replace(target / name)
    _say(f"built {name} in {time.monotonic() - began:.0f} s")


def _linker_flags() -> str:
    """Return flags that leave symbols out and put the version in: clients parse it."""
    major, minor, _ = KUBERNETES_VERSION.split(".")
    values = {
        "gitVersion": f"v{KUBERNETES_VERSION}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    settings = (f"-X k8s.io/component-base/version.{key}={text}" for key, text in values.items())
    return " ".join(["-s", "-w", *settings])


def _run_compiler(command: Sequence[str], module: Path, name: str) -> None:
    """Run the compiler, telling every half minute that it still works."""
    flags = f"{os.environ.get('GOFLAGS', '')} -buildvcs=false -mod=readonly".strip()
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": flags}
    run_long(command, name, _say, deadline_s=BUILD_DEADLINE_S, cwd=module, environment=environment)


def main(names: Sequence[str]) -> int:
    """Build what is missing and print the folder of the cache; 1 when that fails."""
    heed_signals()
    names = tuple(SOURCES) if names == ["all"] else names
    unknown = sorted(set(names) - set(SOURCES))
    if unknown:
        _say(f"not known: {', '.join(unknown)}; one of: {', '.join(SOURCES)}")
        return 2
    found = binaries(build=True, names=names or OPERATING)
    if isinstance(found, Unavailable):
        _say(found.reason)
        return 1
    print(cache_directory())
    return 0


if __name__ == "__main__":
    end_with(lambda: main(sys.argv[1:]))
