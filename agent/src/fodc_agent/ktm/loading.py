# SPDX-License-Identifier: Apache-2.0
"""Loads a group of programs and attaches it, all of it or nothing.

The one idea: whatever is refused half-way is closed again, and the error says which step of which
group the kernel refused, with its own words where it has some (W-28).
"""

import ctypes
import errno
import os
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Final

from fodc_agent.kernel_groups import Group
from fodc_agent.ktm import bpf
from fodc_agent.ktm.skeleton import (
    Descriptors,
    Skeleton,
    context_of,
    descriptors_of,
    parse_skeleton,
)
from fodc_agent.sources.readings import read_small
from fodc_protocol.lean import dataclass

_LOG_BYTES: Final = 8 << 20
_LOG_END: Final = 600
TRACEFS: Final = Path("/sys/kernel/tracing")


class LoadError(Exception):
    """A group or a program was refused; `code` is the kernel's number, `step` where.

    `wants_tracefs` is whether a file of tracefs could not be read.
    """

    def __init__(self, group: str, step: str, error: OSError, log: str = "") -> None:
        super().__init__(group, step, error, log)
        self.group: Final = group
        self.step: Final = step
        self.code: Final = error.errno or 0
        self.wants_tracefs: Final = error.filename is not None
        self.log: Final = log

    def __str__(self) -> str:
        told = f": {self.log}" if self.log else ""
        return f"group {self.group}: {self.step}: {os.strerror(self.code)}{told}"


@dataclass(slots=True)
class Loaded:
    """What of one group is in the kernel; it goes when these descriptors are closed.

    `links` are by program; `missing` are the refusals of those that could not be attached.
    """

    group: Group
    maps: dict[str, int] = field(default_factory=dict)
    programs: dict[str, int] = field(default_factory=dict)
    links: dict[str, int] = field(default_factory=dict)
    missing: list[LoadError] = field(default_factory=list)

    def close(self) -> None:
        """Detach and forget everything."""
        for kind in (self.links, self.programs, self.maps):
            for descriptor in kind.values():
                os.close(descriptor)
            kind.clear()


def load(
    group: Group,
    blob: bytes,
    *,
    tracefs: Path = TRACEFS,
    spare: Callable[[], Descriptors] | None = None,
) -> Loaded:
    """Load and attach a group; raises LoadError, and ValueError for a blob that is not whole.

    A program whose tracepoint tracefs does not show is left out, as long as any is left. `spare`
    loads the same group where the kernel refuses the blob for another reason than permission.
    """
    skeleton = parse_skeleton(blob)
    try:
        made = _loaded(group, skeleton)
    except LoadError as refused:
        made = _by_spare(refused, spare)
    loaded = Loaded(group, dict(made.maps), dict(made.programs))
    if group.is_on_demand:
        return loaded
    try:
        for name, program in made.programs.items():
            _attach(loaded, name, program, tracefs)
        if not loaded.links:
            raise loaded.missing[0]
    except LoadError:
        loaded.close()
        raise
    return loaded


def _by_spare(refused: LoadError, spare: Callable[[], Descriptors] | None) -> Descriptors:
    if spare is None or refused.code in (errno.EPERM, errno.EACCES):
        raise refused
    try:
        return spare()
    except OSError as error:
        told = f"{refused.log}; by libbpf neither: {error.strerror}".removeprefix("; ")
        reason = OSError(refused.code, os.strerror(refused.code))
        raise LoadError(refused.group, refused.step, reason, told) from error


def _attach(loaded: Loaded, name: str, program: int, tracefs: Path) -> None:
    where = loaded.group.tracepoints.get(name)
    try:
        if where is None:
            loaded.links[name] = bpf.attach_typed(program)
            return
        told = read_small(tracefs / "events" / where / "id")
        loaded.links[name] = bpf.attach_tracepoint(program, int(told))
    except OSError as error:
        refused = LoadError(loaded.group.name, f"attaching {where or name}", error)
        if where is None:
            raise refused from error
        is_new = name in loaded.group.newer and error.errno == errno.ENOENT
        if not (is_new and (tracefs / "events").is_dir()):
            loaded.missing.append(refused)


def _loaded(group: Group, skeleton: Skeleton) -> Descriptors:
    try:
        return _run(skeleton, context_of(skeleton))
    except OSError as error:
        # A log costs memory, so it is asked for only when there is something to explain.
        raise LoadError(group.name, "loading", error, _explained(skeleton)) from error


def _explained(skeleton: Skeleton) -> str:
    log = ctypes.create_string_buffer(_LOG_BYTES)
    try:
        made = _run(skeleton, context_of(skeleton, ctypes.addressof(log), _LOG_BYTES))
    except OSError:
        return " ".join(log.value[-_LOG_END:].decode("utf-8", "replace").split())
    for descriptor in (*made.maps.values(), *made.programs.values()):
        os.close(descriptor)
    return "and not when it was asked why"


def _run(skeleton: Skeleton, context: bytearray) -> Descriptors:
    data = bpf.create_array(b"fodc_data", len(skeleton.data))
    try:
        bpf.update(data, b"\0\0\0\0", skeleton.data)
        program = bpf.load_loader(skeleton.instructions, data)
        try:
            result = bpf.run(program, context)
        finally:
            os.close(program)
    finally:
        os.close(data)
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return descriptors_of(skeleton, context)
