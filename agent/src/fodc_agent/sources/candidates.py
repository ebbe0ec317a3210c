# SPDX-License-Identifier: Apache-2.0
"""Which of several processes is the node: by pod, container, command and port. Pure.

The one idea: first everybody leaves of whom something says that it is not the node - another pod,
another container than the one that was named, the lifecycle tool of the same image - and then what
speaks for somebody counts, the strongest first. Who is still not alone is not guessed at.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from fodc_agent.sources.readings import Gap, GapReason
from fodc_protocol.lean import dataclass

ROLE_WORDS: Final = ("data", "liaison", "standalone")
_LIFECYCLE: Final = "lifecycle"
_UUID: Final = r"[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}"
# The kubelet mounts .../pods/<uid>/containers/<name>/<id> as the container's termination log.
_CONTAINER: Final = re.compile(rf"/pods/({_UUID})/containers/([^/\s]+)")
_POD_MOUNT: Final = re.compile(rf"/pods/({_UUID})/")
_POD_CGROUP: Final = re.compile(rf"pod({_UUID})")
_MOST_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Pod and container of a process as far as the kernel tells; empty where it does not."""

    pod_uid: str = ""
    container: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of one process that may be the node.

    `listens` is whether it listens on the node's port, None when its sockets cannot be read;
    `cgroup` is the text of its cgroup file.
    """

    pid: int
    command: str
    argv: tuple[str, ...] = ()
    place: Place = Place()
    cgroup: str = ""
    listens: bool | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was told of the node; empty texts and 0 stand for "nothing was"."""

    name: str
    port: int = 0
    container: str = ""
    pod_uid: str = ""
    own_cgroup: str = ""
    """The text of the agent's own cgroup file."""


def place_of(mountinfo: str, cgroup: str) -> Place:
    """Return pod and container from /proc/<pid>/mountinfo and /proc/<pid>/cgroup.

    Of a mount its root counts, which is where its files come from: mount points of a machine name
    the pods of others.
    """
    roots = "\n".join(words[3] for line in mountinfo.splitlines() if len(words := line.split()) > 3)
    if found := _CONTAINER.search(roots):
        return Place(_dashed(found[1]), found[2])
    found = _POD_MOUNT.search(roots) or _POD_CGROUP.search(cgroup)
    return Place(_dashed(found[1])) if found else Place()


def _dashed(uid: str) -> str:
    """Return a UID as the API writes it; systemd's slices have underscores."""
    return uid.replace("_", "-")


def choose(candidates: Sequence[Candidate], wanted: Wanted) -> Candidate | Gap:
    """Return the node's process, or why nobody can be named."""
    objections = {one.pid: _objection(one, wanted) for one in candidates}
    fitting = [one for one in candidates if not objections[one.pid]]
    if not fitting:
        return _nobody(wanted, [text for text in objections.values() if text])
    for speaks_for in _evidence(wanted):
        if len(fitting) > 1:
            fitting = [one for one in fitting if speaks_for(one)] or fitting
    return fitting[0] if len(fitting) == 1 else _too_many(fitting, wanted)


def _objection(one: Candidate, wanted: Wanted) -> str:
    """Return what says that this is not the node, empty when nothing does."""
    place = one.place
    if wanted.pod_uid and place.pod_uid and place.pod_uid != wanted.pod_uid.lower():
        return f"process {one.pid} belongs to pod {place.pod_uid}"
    if wanted.container and place.container and place.container != wanted.container:
        return f"process {one.pid} runs in container {place.container}"
    if _program(one) == _LIFECYCLE or _word(one) == _LIFECYCLE:
        return f"process {one.pid} is the lifecycle tool"
    return ""


def _evidence(wanted: Wanted) -> tuple[Callable[[Candidate], bool], ...]:
    """Return what speaks for a process, the strongest first."""
    return (
        lambda one: one.listens is True,
        lambda one: bool(wanted.container) and one.place.container == wanted.container,
        lambda one: _word(one) in ROLE_WORDS,
        lambda one: bool(wanted.own_cgroup) and one.cgroup != wanted.own_cgroup,
    )


def _program(one: Candidate) -> str:
    return one.argv[0].rpartition("/")[2] if one.argv else one.command


def _word(one: Candidate) -> str:
    """Return the first word of the command that is no flag: banyand data --x."""
    return next((word for word in one.argv[1:] if not word.startswith("-")), "")


def _nobody(wanted: Wanted, objections: Sequence[str]) -> Gap:
    named = f"no visible process is named {wanted.name}*"
    if wanted.port:
        named += f" or is known to listen on port {wanted.port}"
    if objections:
        named += f" and fits ({'; '.join(objections[:_MOST_SHOWN])})"
    advice = "share the process namespace (shareProcessNamespace: true) or give --node-pid"
    return Gap("process", GapReason.NO_PROCESS, f"{named}; {advice}")


def _too_many(fitting: Sequence[Candidate], wanted: Wanted) -> Gap:
    pids = ", ".join(str(one.pid) for one in fitting[:_MOST_SHOWN])
    told = f"--node-container={wanted.container} cannot be told of them, " * bool(wanted.container)
    return Gap(
        "process",
        GapReason.AMBIGUOUS,
        f"{len(fitting)} processes are named {wanted.name}* (pids {pids}), {told}and nothing that "
        "can be read tells which one is the node; run the agent as the node's user and group or "
        "give --node-pid",
    )
