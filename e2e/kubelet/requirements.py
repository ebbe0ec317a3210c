# SPDX-License-Identifier: Apache-2.0
"""What a real kubelet needs of the machine, as sentences that say what is missing.

The one idea: nothing is tried that cannot work; a test run that skips says all reasons at once.
"""

import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from e2e.images import building
from e2e.images.building import ImagesError
from e2e.kubelet import place
from e2e.node import build as node_build

CNI: Final = Path("/usr/lib/cni")
PROGRAMS: Final = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
_NEW_NAMESPACES: Final = 0x40000000 | 0x20000000 | 0x00020000  # CLONE_NEWNET, NEWPID, NEWNS
_CONTROLLERS: Final = ("memory", "cpu", "cpuacct", "cpuset", "devices", "pids", "freezer")


def missing() -> list[str]:
    """Return why a kubelet cannot run here, nothing when it can."""
    if os.geteuid() != 0:
        return ["not root"]
    return [*_missing_programs(), *_missing_cgroups(), *_missing_namespaces()]


def reasons_against() -> list[str]:
    """Return why a kubelet that runs our images cannot be had here, nothing when it can."""
    reasons = missing()
    try:
        building.find_builder()
    except ImagesError as error:
        reasons.append(f"no builder of images: {error}")
    return reasons


def _missing_programs() -> Iterator[str]:
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            yield f"no {program} (package {package})"
    if not all((CNI / plugin).exists() for plugin in ("bridge", "host-local", "loopback")):
        yield f"no CNI plugins in {CNI} (package containernetworking-plugins)"
    if node_build.go_version() is None:
        yield "no Go compiler for the pause and the sample node"


def _missing_cgroups() -> Iterator[str]:
    mounted = {path.name for path in place.hierarchies()}
    absent = [name for name in _CONTROLLERS if name not in mounted]
    if absent:
        yield (
            f"no cgroup v1 hierarchy of {', '.join(absent)} below {place.CGROUPS}: this tier "
            "makes its cgroup in each hierarchy and knows version 1 only"
        )


def _missing_namespaces() -> Iterator[str]:
    """Try in a child that ends at once."""
    child = os.fork()
    if child == 0:
        os._exit(0 if ctypes.CDLL(None).unshare(_NEW_NAMESPACES) == 0 else 1)
    if os.waitpid(child, 0)[1] != 0:
        yield "no new network, process and mount namespaces (unshare is refused)"
