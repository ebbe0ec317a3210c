# SPDX-License-Identifier: Apache-2.0
"""A machine of a cluster for the length of a with-block: real kubelet, containerd and runc.

The one idea: all of it lives in mount, process and network namespaces of its own, whose first
process is our child; its death ends every container. Only cgroups are left then, all below one
name, and they are removed.
"""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from e2e.controlplane import build, processes
from e2e.controlplane.cluster import USERS, ControlPlane, Serving, control_plane, programs
from e2e.controlplane.processes import Child, ControlPlaneError
from e2e.kubelet import configuration, names, place
from e2e.kubelet.place import Place

NODE_NAME: Final = "node-0"
NODE_USER: Final = f"system:node:{NODE_NAME}"
READY_DEADLINE_S: Final = 40.0
END_DEADLINE_S: Final = 15.0
_NAMESPACES: Final = ("--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")


@dataclass(slots=True)
class Node:
    """A ready machine and the control plane that it belongs to."""

    folder: Path
    place: Place
    plane: ControlPlane
    child: Child

    def container_pids(self, container_id: str) -> list[int]:
        """Return the processes of a container as the host numbers them, by age."""
        identifier = container_id.removeprefix("containerd://")
        top = place.CGROUPS / "memory" / self.place.cgroup
        for directory in top.rglob(identifier):
            return sorted(map(int, (directory / "cgroup.procs").read_text().split()))
        return []

    def tail(self, daemon: str, lines: int = 15) -> str:
        """Return the end of the log of kubelet or containerd."""
        log = self.folder / f"{daemon}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def node(folder: Path, images: Sequence[Path]) -> Iterator[Node]:
    """Run a control plane and one machine that has these images; `folder` is made and removed.

    Raises ControlPlaneError when something does not start.
    """
    kubelet = _built_kubelet()
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        child = processes.start("node", _command(folder), folder)
        end = stack.enter_context(_ending(child))
        taken = _claimed(child)
        end.place = taken
        place.connect(taken)
        place.make_cgroups(taken)
        authority = configuration.write_kubelet_authority(folder)
        _write_node(folder, taken, images, kubelet)
        serving = Serving(taken.host_ip, 443, configuration.apiserver_flags(taken, authority))
        servers = control_plane(
            folder / "plane", scheduler=True, users=(*USERS, NODE_USER), serving=serving
        )
        plane = _beside(child, stack, servers)
        # The node ends before its control plane does: clients that live would hold that up.
        stack.callback(end.now)
        stack.enter_context(names.answering(plane, taken.host_ip))
        one = Node(folder, taken, plane, child)
        _join(one)
        yield one


def _built_kubelet() -> str:
    """Have every program built and return the path of the kubelet; raises ControlPlaneError.

    Minutes where the cache is empty: a child that had been started would not wait so long.
    """
    names = (*programs(scheduler=True), "kubelet")
    found = build.binaries(build=build.building_is_permitted(), names=names)
    if isinstance(found, build.Unavailable):
        raise ControlPlaneError(found.reason)
    return found.path("kubelet")


def _beside(
    child: Child,
    stack: contextlib.ExitStack,
    servers: contextlib.AbstractContextManager[ControlPlane],
) -> ControlPlane:
    """Start the servers; where the node has ended, that is told, not what fails without it."""
    try:
        return stack.enter_context(servers)
    except ControlPlaneError:
        child.check()
        raise


def _command(folder: Path) -> list[str]:
    program = Path(__file__).with_name("inside.py")
    return ["unshare", *_NAMESPACES, sys.executable, str(program), str(folder)]


def _claimed(child: Child) -> Place:
    """Take a place as soon as the child has a network namespace of its own."""
    own = Path("/proc/self/ns/net").readlink()
    theirs = Path(f"/proc/{child.process.pid}/ns/net")
    processes.wait_until(
        "namespaces of the node",
        lambda: theirs.readlink() != own,
        deadline_s=END_DEADLINE_S,
        children=(child,),
    )
    return place.claim(child.process.pid)


def _write_node(folder: Path, taken: Place, images: Sequence[Path], kubelet: str) -> None:
    configuration.write_containerd(folder)
    configuration.write_network(folder, taken)
    configuration.write_registry(folder, taken)
    configuration.write_kubelet(folder, taken)
    told = {
        "ip": taken.node_ip,
        "link": taken.node_link,
        "gateway": taken.host_ip,
        "images": [str(path) for path in images],
        "containerd": ["containerd", f"--config={folder / 'containerd.toml'}"],
        "kubelet": [
            kubelet,
            f"--config={folder / 'kubelet.yaml'}",
            f"--kubeconfig={folder / 'kubeconfig'}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={taken.node_ip}",
            "--cert-dir=/run/kubelet-certificates",
        ],
    }
    _write_whole(folder / "node.json", json.dumps(told))


def _join(one: Node) -> None:
    """Let the kubelet in and wait until its node is ready."""
    kubeconfig = yaml.safe_load(one.plane.kubeconfig.read_text())
    kubeconfig["current-context"] = NODE_USER
    _write_whole(one.folder / "kubeconfig", yaml.safe_dump(kubeconfig))
    try:
        processes.wait_until(
            "node ready",
            lambda: _is_ready(one.plane),
            deadline_s=READY_DEADLINE_S,
            children=(one.child,),
        )
    except ControlPlaneError as error:
        raise ControlPlaneError(f"{error}\nkubelet:\n{one.tail('kubelet')}") from None


def _is_ready(plane: ControlPlane) -> bool:
    answer = plane.api().get(f"/api/v1/nodes/{NODE_NAME}")
    conditions = answer.body["status"].get("conditions", []) if answer.status == 200 else []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _write_whole(path: Path, text: str) -> None:
    """Write it beside and move it there: somebody waits for the name."""
    scratch = path.with_suffix(".part")
    scratch.write_text(text)
    scratch.replace(path)


# ---- end --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _End:
    """How the node ends; what it had is known only bit by bit."""

    child: Child
    place: Place | None = None
    done: bool = False

    def now(self) -> None:
        """End every process of the node and remove what is left; raises ControlPlaneError."""
        if self.done:
            return
        self.done = True
        first = _first_process(self.child.process.pid)
        watched = _watched(first)
        self.child.end(signal.SIGKILL)
        if watched is not None:
            # Its parent's death kills it; it is gone when all of its namespace is.
            select.select([watched], [], [], END_DEADLINE_S)
            os.close(watched)
        if self.place is not None:
            _remove(self.place)


@contextlib.contextmanager
def _ending(child: Child) -> Iterator[_End]:
    end = _End(child)
    try:
        yield end
    finally:
        end.now()


def _first_process(parent: int) -> int:
    """Return the only child of `unshare`, 0 when there is none (any more)."""
    with contextlib.suppress(OSError):
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                found = re.search(r"\) \S (\d+)", path.read_text())
                if found is not None and int(found[1]) == parent:
                    return int(path.parent.name)
    return 0


def _watched(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.pidfd_open(pid) if pid else None
    return None


def _remove(taken: Place) -> None:
    ends_at = time.monotonic() + END_DEADLINE_S
    link = Path("/sys/class/net") / taken.link
    while not place.remove_cgroups(taken) or link.exists():
        if time.monotonic() > ends_at:
            place.ip("link", "delete", taken.link, check=False)
            raise ControlPlaneError(f"cgroup {taken.cgroup} or link {taken.link} does not go away")
        time.sleep(processes.POLL_S)
