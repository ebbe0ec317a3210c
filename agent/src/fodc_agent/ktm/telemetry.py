# SPDX-License-Identifier: Apache-2.0
"""The programs in the kernel and what they have counted: load, aim, read, close.

The one idea: a group that cannot be loaded is a gap with its reason beside those that can. Loading
needs capabilities, reading does not: what is open stays open when they are given up.
"""

import contextlib
import errno
import logging
import os
import platform
import struct
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal

from fodc_agent.abilities import Facts, kernel_lacks
from fodc_agent.kernel_groups import STACKS, Group, groups_to_load
from fodc_agent.ktm import bpf
from fodc_agent.ktm.families import Counted, samples_of
from fodc_agent.ktm.histograms import VALUE, Latency, latency_of, summed
from fodc_agent.ktm.loading import TRACEFS, Loaded, LoadError, load
from fodc_agent.ktm.skeleton import Descriptors
from fodc_agent.ktm.target import NOBODY, Target
from fodc_agent.sources.readings import Gap, GapReason
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.samples import Sample

_log: Final = logging.getLogger(__name__)

BLOBS: Final = Path(__file__).parent / "blobs"
_NUMBER: Final = struct.Struct("=Q")
_FIRST: Final = b"\0\0\0\0"
FREQUENCY_HZ: Final = 99
"""How often a second it is looked where threads run; not a multiple of anything usual."""


def possible_cpus(text: str) -> int:
    """Return how many copies a per-CPU value has, from /sys/devices/system/cpu/possible.

    Raises ValueError for another form.
    """
    return int(text.strip().split(",")[-1].rpartition("-")[2]) + 1


class Telemetry:
    """All groups that were asked for; its methods block for a moment."""

    takes_captures: Literal[True] = True
    load_s: Final = 20.0
    """How long a load may take, in seconds: nothing but a machine that stands still takes so."""

    def __init__(
        self,
        groups: Sequence[str],
        *,
        blobs: Path = BLOBS,
        tracefs: Path = TRACEFS,
        cpus: Path = Path("/sys/devices/system/cpu/possible"),
    ) -> None:
        """Take the names of the groups; nothing is touched yet."""
        self._wanted = groups_to_load(groups)
        self._blobs = blobs / platform.machine()
        self._tracefs = tracefs
        self._cpus = cpus
        self._copies = 0
        self._loaded: dict[str, Loaded] = {}
        self.target: Target = NOBODY
        self.clocks: list[int] = []
        """A clock of each processor for profiles; they stand still."""
        self.gaps: tuple[Gap, ...] = ()
        """What is missing of what was asked for."""

    @property
    def is_counting(self) -> bool:
        """Whether anything was loaded."""
        return bool(self._loaded)

    def loaded(self, group: str) -> Loaded | None:
        """Return a group with which captures are taken, None where it is not loaded."""
        return self._loaded.get(group)

    def counted(self, loaded: Loaded) -> Counted:
        """Return what a group has counted, to be read."""
        return _Maps(loaded, self._copies)

    # ---- life ------------------------------------------------------------------------------

    def load(self, facts: Facts) -> None:
        """Load what can be, once; what cannot becomes a gap."""
        if not bpf.is_known_architecture():
            text = f"kernel telemetry knows no machine {platform.machine()}"
            self.gaps = (Gap("kernel", GapReason.UNSUPPORTED, text),)
            return
        if lacks := kernel_lacks(facts):
            self.gaps = tuple(Gap("kernel", GapReason(why), text) for why, text in lacks.items())
            return
        self._copies = possible_cpus(self._cpus.read_text())
        self.gaps = tuple(gap for group in self._wanted for gap in self._load(group))
        _log.info("kernel_loaded groups=%s", ",".join(self._loaded) or "none")

    def _load(self, group: Group) -> Iterator[Gap]:
        try:
            blob = (self._blobs / f"{group.name}.blob").read_bytes()
            spare = partial(_by_libbpf, self._blobs / f"{group.name}.o")
            loaded = load(group, blob, tracefs=self._tracefs, spare=spare)
        except LoadError as error:
            _log.warning("kernel_refused group=%s error=%r", group.name, str(error))
            yield Gap(group.name, refusal(error), f"{error}; missing: {group.about}")
        except OSError as error:
            text = f"group {group.name} is not built for {platform.machine()}: {error}"
            yield Gap(group.name, GapReason.UNSUPPORTED, text)
        else:
            self._loaded[group.name] = loaded
            if group.name == STACKS:
                self._open_clocks(loaded)
            yield from (Gap(group.name, refusal(one), str(one)) for one in loaded.missing)

    def _open_clocks(self, loaded: Loaded) -> None:
        """Open a clock for each processor: only now is it permitted."""
        for cpu in range(self._copies):
            # One that is not there, or is off, runs nothing.
            with contextlib.suppress(OSError):
                clock = bpf.open_clock(loaded.programs["running"], cpu, FREQUENCY_HZ)
                self.clocks.append(clock)

    def close(self) -> None:
        """Take everything out of the kernel."""
        for clock in self.clocks:
            os.close(clock)
        self.clocks.clear()
        for loaded in self._loaded.values():
            loaded.close()
        self._loaded.clear()

    # ---- work ------------------------------------------------------------------------------

    def aim(self, target: Target) -> None:
        """Count for another target from now on; raises OSError."""
        if target == self.target:
            return
        for loaded in self._loaded.values():
            bpf.update(loaded.maps["target"], _FIRST, target.packed())
        self.target = target
        _log.info("kernel_target kind=%s id=%d", target.kind.name, target.cgroup_id or target.tgid)

    def lost(self) -> int:
        """Return how many events of profiles had no room so far; raises OSError."""
        loaded = self.loaded(STACKS)
        return 0 if loaded is None else self.counted(loaded).number("lost", 0)

    def samples(self) -> Iterator[Sample]:
        """Yield everything that was counted since the load; raises OSError."""
        for name, loaded in self._loaded.items():
            if not loaded.group.is_on_demand:
                yield from samples_of(name, self.counted(loaded))


def _by_libbpf(path: Path) -> Descriptors:
    from fodc_agent.ktm.libbpf import load_by_libbpf  # noqa: PLC0415 - hardly ever needed

    _log.info("kernel_by_libbpf object=%s", path.name)
    return load_by_libbpf(path)


@dataclass(frozen=True, slots=True)
class _Maps:
    """The maps of one group as `families` reads them; its methods raise OSError."""

    loaded: Loaded
    copies: int

    def latency(self, name: str, which: int) -> Latency:
        return latency_of(self._raw(name, which, VALUE.size))

    def number(self, name: str, which: int) -> int:
        return summed(self._raw(name, which, _NUMBER.size), _NUMBER)[0]

    def runs(self, program: str) -> bool:
        return program in self.loaded.links

    def _raw(self, name: str, which: int, value_bytes: int) -> bytes:
        return bpf.lookup(self.loaded.maps[name], key_of(which), value_bytes * self.copies)


def key_of(which: int) -> bytes:
    """Return the key of a place of an array."""
    return struct.pack("=I", which)


def refusal(error: LoadError) -> GapReason:
    """Return what the kernel's number means for a group or a program that was refused."""
    match error.code:
        case errno.EACCES | errno.ENOENT if error.wants_tracefs:
            return GapReason.NO_TRACEFS
        case errno.EPERM | errno.EACCES:
            return GapReason.PERMISSION_DENIED
        case errno.ENOENT | errno.ESRCH:
            return GapReason.NO_TRACEPOINT
        case _:
            return GapReason.REFUSED


def give_up_capabilities(effective: int, kept: int) -> None:
    """Keep only `kept` of this thread's capabilities; a refusal is said and changes nothing."""
    left = effective & kept
    if left == effective:
        return
    try:
        bpf.set_capabilities(left, left)
    except OSError as error:
        _log.warning("capabilities_kept error=%r", os.strerror(error.errno or 0))
    else:
        _log.info("capabilities_given_up effective=%x", left)
