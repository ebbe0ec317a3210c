# SPDX-License-Identifier: Apache-2.0
"""Reads what the kernel says about this process, for `abilities` to judge.

The one idea: it only looks. Nothing is loaded, opened for events or written to find out.
"""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from fodc_agent.abilities import Facts, Standing, parse_standing
from fodc_agent.sources.node_process import NodeProcess, Process
from fodc_agent.sources.readings import Gap, read_small

_PARANOID: Final = "sys/kernel/perf_event_paranoid"
_ANY_EVENT: Final = "kernel/tracing/events/sched/sched_switch/id"
_BTF: Final = "kernel/btf/vmlinux"
_RELEASE: Final = "sys/kernel/osrelease"
_LOCKDOWN: Final = "kernel/security/lockdown"
_LIBBPF: Final = ("usr/lib64/libbpf.so.1", "usr/lib/*-linux-gnu/libbpf.so.1")
"""Where distributions have it, below the root."""


def read_facts(node: NodeProcess, process: Process | Gap, *, system: Path = Path("/sys")) -> Facts:
    """Return what can be read; what cannot is the weaker answer. Blocks on small kernel files."""
    found = process if isinstance(process, Process) else None
    gap = ("", "") if isinstance(process, Process) else (str(process.reason), process.message)
    return replace(
        kernel_facts(node.proc, system),
        cgroup=_cgroup(system / "fs" / "cgroup"),
        pressure=_text(node.proc / "pressure" / "memory") is not None,
        shares_processes=node.sees_others,
        node_pid=found.pid if found else 0,
        node_gap=gap,
        node_root=_opens(node.directory(found) / "root") if found else None,
    )


def kernel_facts(proc: Path, system: Path) -> Facts:
    """Return what concerns kernel telemetry alone."""
    return Facts(
        standing=_standing(proc),
        perf_event_paranoid=_number(proc / _PARANOID),
        btf=os.access(system / _BTF, os.R_OK),
        libbpf=any(next(system.parent.glob(pattern), None) for pattern in _LIBBPF),
        tracefs=_tracefs(system),
        release=_release(_text(proc / _RELEASE) or ""),
        lockdown=_lockdown(_text(system / _LOCKDOWN) or ""),
    )


def _release(text: str) -> tuple[int, int] | None:
    """Return the first two numbers of "6.18.44-generic"."""
    numbers = re.match(r"(\d+)\.(\d+)", text)
    return (int(numbers[1]), int(numbers[2])) if numbers else None


def _lockdown(text: str) -> str:
    """Return the chosen one of "none [integrity] confidentiality"."""
    chosen = re.search(r"\[(\w+)\]", text)
    return chosen[1] if chosen and chosen[1] != "none" else ""


def _standing(proc: Path) -> Standing:
    try:
        return parse_standing(_text(proc / "self" / "status") or "")
    except (KeyError, IndexError, ValueError):
        return Standing()


def _text(path: Path) -> str | None:
    try:
        return read_small(path)
    except OSError:
        return None


def _number(path: Path) -> int | None:
    try:
        return int(_text(path) or "")
    except ValueError:
        return None


def _tracefs(system: Path) -> str:
    """Read the id of an event: the directory may be there and empty, or for root only."""
    try:
        read_small(system / _ANY_EVENT)
    except PermissionError:
        return "denied"
    except OSError:
        return "absent"
    return "readable"


def _cgroup(root: Path) -> str:
    if (root / "cgroup.controllers").exists():
        return "v2"
    versions = [
        "v1" if (root / "memory").is_dir() else "",
        "v2" if (root / "unified" / "cgroup.controllers").exists() else "",
    ]
    return "+".join(filter(None, versions))


def _opens(directory: Path) -> bool:
    try:
        os.listdir(directory)  # noqa: PTH208 - only whether it is permitted
    except OSError:
        return False
    return True
