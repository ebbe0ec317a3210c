# SPDX-License-Identifier: Apache-2.0
"""Find the programs of a Kubernetes control plane, or build them from Go modules.

The one idea: go.mod and go.sum in this folder pin everything as `tool` dependencies, and the
programs live in the user's cache under a hash of the go.sum files, so a checkout builds once.
KUBEBUILDER_ASSETS names a folder whose programs are preferred, as controller-runtime's tests do.

    python -m e2e.controlplane.build [NAME ...]     builds what is missing, prints the folder
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MODULE_DIRECTORY: Final = Path(__file__).resolve().parent
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
PERMISSION_VARIABLE: Final = "FODC_BUILD_CONTROLPLANE"
BUILD_DEADLINE_S: Final = 2400.0
PROGRESS_EVERY_S: Final = 30.0


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


class BuildError(Exception):
    """A program could not be built; the text is the compiler's last words."""


def building_is_permitted() -> bool:
    """Tell whether this run may spend minutes on a build: `make e2e` may, `make test` may not."""
    return os.environ.get(PERMISSION_VARIABLE, "") not in ("", "0")


def cache_directory() -> Path:
    """Return where the programs of these go.sum files are kept, by the XDG rules."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    digest = hashlib.sha256()
    for module in (MODULE_DIRECTORY, MODULE_DIRECTORY / "kwok"):
        digest.update((module / "go.sum").read_bytes())
    return root / "banyandb-fodc" / f"controlplane-{digest.hexdigest()[:16]}"


def binaries(*, build: bool, names: Sequence[str] = OPERATING) -> Binaries | Unavailable:
    """Return the named programs, building those that are missing when `build` permits it."""
    found = _found(names)
    missing = [name for name in names if name not in found]
    if missing and not build:
        return Unavailable(_missing_reason(missing))
    if missing:
        try:
            _build_missing(missing)
        except (BuildError, OSError, subprocess.TimeoutExpired) as error:
            return Unavailable(f"building {', '.join(missing)} failed: {error}")
        found = _found(names)
    return Binaries(found)


def _found(names: Sequence[str]) -> dict[str, Path]:
    assets = os.environ.get(ASSETS_VARIABLE)
    folders = [*([Path(assets)] if assets else []), cache_directory()]
    found = {}
    for name in names:
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
        raise BuildError(f"there is no Go compiler; {ASSETS_VARIABLE} can name a folder instead")
    target = cache_directory()
    target.mkdir(parents=True, exist_ok=True)
    with _locked(target / "lock"):
        for number, name in enumerate(names, 1):
            if not (target / name).exists():
                _say(f"building {name} ({number} of {len(names)}) …")
                _build(name, target)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another run is building; waiting for it …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen(
            command, cwd=module, env=environment, stdout=words, stderr=subprocess.STDOUT
        )
        try:
            _wait_for_compiler(process, began, name)
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            words.seek(0)
            raise BuildError("\n".join(words.read().splitlines()[-15:]))


def _wait_for_compiler(process: subprocess.Popen[bytes], began: float, name: str) -> None:
    while True:
        try:
            process.wait(PROGRESS_EVERY_S)
        except subprocess.TimeoutExpired:
            spent_s = time.monotonic() - began
            if spent_s > BUILD_DEADLINE_S:
                raise
            _say(f"still building {name}, {spent_s:.0f} s …")
        else:
            return


def _say(text: str) -> None:
    print(f"control plane: {text}", file=sys.stderr, flush=True)


def main(names: Sequence[str]) -> int:
    """Build what is missing and print the folder of the cache; 1 when that fails."""
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
    sys.exit(main(sys.argv[1:]))
