# SPDX-License-Identifier: Apache-2.0
"""The groups of kernel telemetry: one concern each, loaded or not as a whole. Pure.

The one idea: what a kernel lacks costs the group that needs it and no other, and every group says
in words what is missing without it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from fodc_protocol.lean import dataclass
from fodc_protocol.profiles import Profile


@dataclass(frozen=True, slots=True)
class Group:
    """One group: what it counts, and the tracepoints of tracefs that its programs need.

    `tracepoints` are by program; programs that are not there know their own through BTF, and the
    group is loaded without those that tracefs does not show.
    """

    name: str
    about: str
    tracepoints: Mapping[str, str]
    by_default: bool
    is_on_demand: bool = False
    """Whether its programs run only while somebody asks for a profile."""
    newer: tuple[str, ...] = ()
    """Programs whose tracepoint only newer kernels have: it is no fault where they are missing."""


def _syscalls(*names: str) -> dict[str, str]:
    """Return the programs of system calls that have tracepoints of their own."""
    return {
        f"{name}_{when}": f"syscalls/sys_{what}_{name}"
        for name in names
        for when, what in (("begin", "enter"), ("end", "exit"))
    }


STACKS: Final = "cpu"
"""The group with which profiles are taken."""
_CACHE: Final = {
    "cache_lookup": "filemap/mm_filemap_get_pages",
    "cache_add": "filemap/mm_filemap_add_to_page_cache",
    "cache_delete": "filemap/mm_filemap_delete_from_page_cache",
}

GROUPS: Final[Mapping[str, Group]] = {
    one.name: one
    for one in (
        Group("sys", "read latency, fadvise", {}, by_default=True),
        Group("mm", "page cache, reclaim", _CACHE, by_default=True, newer=("cache_lookup",)),
        Group(
            STACKS, "profiles of where threads run and wait", {}, by_default=True, is_on_demand=True
        ),
        Group("sched", "run-queue latency", {}, by_default=False),
        Group("blk", "block I/O latency", {}, by_default=False),
        Group("fs", "fsync latency", _syscalls("fsync", "fdatasync"), by_default=False),
    )
}
GROUP_OF: Final[Mapping[Profile, str]] = {
    Profile.ONCPU: STACKS,
    Profile.OFFCPU: STACKS,
    Profile.READ_LATENCY: "sys",
    Profile.BLOCK_LATENCY: "blk",
}
"""With which group each kind of capture is taken in the kernel: no other program ever runs."""


def groups_to_load(names: Sequence[str]) -> tuple[Group, ...]:
    """Return the groups of these names, and those that only captures use, which run on demand."""
    also = sorted(set(GROUP_OF.values()) - set(names)) if STACKS in names else ()
    on_demand = (replace(GROUPS[name], is_on_demand=True) for name in also)
    return (*(GROUPS[name] for name in names), *on_demand)


KERNEL_GROUPS: Final = tuple(GROUPS)
KERNEL_DEFAULTS: Final = tuple(name for name, one in GROUPS.items() if one.by_default)
