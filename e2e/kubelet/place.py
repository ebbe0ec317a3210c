# SPDX-License-Identifier: Apache-2.0
"""Names and addresses of one node, so that several runs can stand side by side.

The one idea: the kernel gives a link's name to one owner only, so whoever could make the link has
the place; it goes with the namespace at its other end, so a place is never left taken.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e.controlplane.processes import ControlPlaneError

PLACES: Final = 100
CGROUPS: Final = Path("/sys/fs/cgroup")
_DEADLINE_S: Final = 10


@dataclass(frozen=True, slots=True)
class Place:
    """Place `number`, from 0."""

    number: int

    @property
    def link(self) -> str:
        """The host's end of the link; names of links have at most 15 characters."""
        return f"fodck{self.number}"

    @property
    def node_link(self) -> str:
        """The node's end of the link."""
        return f"fodck{self.number}n"

    @property
    def host_ip(self) -> str:
        """Address of the host, where the API server listens: also the first of the Services."""
        return f"10.78.{2 * self.number}.1"

    @property
    def node_ip(self) -> str:
        """Address of the node."""
        return f"10.78.{2 * self.number}.2"

    @property
    def network(self) -> str:
        """The network between host and node, and the range of the Services."""
        return f"10.78.{2 * self.number}.0/24"

    @property
    def pods(self) -> str:
        """The network of the pods."""
        return f"10.78.{2 * self.number + 1}.0/24"

    @property
    def cgroup(self) -> str:
        """Name of the cgroup below which all pods are, in every hierarchy."""
        return f"fodc-kubelet-{self.number}"


def claim(pid: int) -> Place:
    """Take a free place for the network namespace of a process; raises ControlPlaneError."""
    routes = ip("-4", "route", "show").stdout
    refused = ""
    for place in map(Place, range(PLACES)):
        if any(text.split("/")[0] in routes for text in (place.network, place.pods)):
            continue
        ends = ("type", "veth", "peer", "name", place.node_link, "netns", str(pid))
        answer = ip("link", "add", place.link, *ends, check=False)
        if answer.returncode == 0:
            return place
        refused = answer.stderr
    raise ControlPlaneError(f"no link could be made for the node: {refused or 'all are taken'}")


def connect(place: Place) -> None:
    """Give the host's end its address and the way to the pods."""
    ip("address", "add", f"{place.host_ip}/24", "dev", place.link)
    ip("link", "set", place.link, "up")
    ip("route", "add", place.pods, "via", place.node_ip)


def ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command `ip`; raises ControlPlaneError with its words."""
    answer = subprocess.run(
        ["ip", *arguments], capture_output=True, text=True, timeout=_DEADLINE_S, check=False
    )
    if check and answer.returncode != 0:
        raise ControlPlaneError(f"ip {' '.join(arguments)}: {answer.stderr.strip()}")
    return answer


# ---- cgroups ----------------------------------------------------------------------------------


def hierarchies() -> list[Path]:
    """Return where cgroup hierarchies are mounted."""
    lines = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return [Path(words[1]) for words in lines if words[2] in {"cgroup", "cgroup2"}]


def make_cgroups(place: Place) -> None:
    """Make the node's cgroup in each hierarchy: the kubelet wants to find it."""
    remove_cgroups(place)  # Of a run that was killed.
    for hierarchy in hierarchies():
        (hierarchy / place.cgroup).mkdir(exist_ok=True)


def remove_cgroups(place: Place) -> bool:
    """Remove what is empty; False while something is left, as processes end a moment later."""
    left = False
    for hierarchy in hierarchies():
        for directory in _deepest_first(hierarchy / place.cgroup):
            try:
                directory.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                left = True
    return not left


def _deepest_first(top: Path) -> list[Path]:
    if not top.is_dir():
        return []
    below = [path for path in top.rglob("*") if path.is_dir()]
    return [*sorted(below, key=lambda path: -len(path.parts)), top]
