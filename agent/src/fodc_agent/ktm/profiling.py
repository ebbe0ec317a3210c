# SPDX-License-Identifier: Apache-2.0
"""Takes a profile of where the node's threads run or wait, or how long its calls take.

The one idea: the programs were loaded at the start; here they are switched on for the time that was
asked for and switched off whatever happens. Nothing of it needs a capability any more.
"""

import asyncio
import contextlib
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Final

from fodc_agent.captures.outcomes import Failed, Order
from fodc_agent.captures.pprof import Taken
from fodc_agent.captures.spool import PartFile
from fodc_agent.clocks import wall_ms
from fodc_agent.kernel_groups import GROUP_OF, STACKS
from fodc_agent.ktm import bpf
from fodc_agent.ktm.families import Counted
from fodc_agent.ktm.latencies import MAPS, Look, Stretch, look_at
from fodc_agent.ktm.loading import Loaded
from fodc_agent.ktm.stacks import (
    RUNNING,
    WAITING,
    Names,
    Stack,
    parse_stack,
    profile_of,
)
from fodc_agent.ktm.stacks import VALUE as STACK
from fodc_agent.ktm.symbols import Mapped, NoSymbolsError, names_in, parse_maps
from fodc_agent.ktm.target import NOBODY
from fodc_agent.ktm.telemetry import FREQUENCY_HZ, Telemetry, key_of
from fodc_agent.lanes import Lane
from fodc_agent.sources.node_process import NodeProcess
from fodc_agent.sources.readings import read_small
from fodc_protocol.errors import Reason, advice
from fodc_protocol.lean import dataclass
from fodc_protocol.profiles import Profile

_MOST_STACKS: Final = 8192
_SYMBOL: Final = struct.Struct("=Q64s")
_READ_S: Final = 30.0
_GZIP: Final = 31


class KernelProfiler:
    """Takes profiles of the kinds that are taken in the kernel; one at a time."""

    def __init__(
        self,
        telemetry: Telemetry,
        node: NodeProcess,
        *,
        pause: Callable[[float], "asyncio.Future[None]"] | None = None,
    ) -> None:
        """Take what is loaded already, or will be."""
        self._telemetry = telemetry
        self._node = node
        self._pause = pause or asyncio.sleep
        self._lane = Lane("kernel-profile", timeout_s=_READ_S)
        self._turn = asyncio.Lock()

    async def take(self, order: Order, part: PartFile) -> Taken | Failed:
        """Take the profile that `order` names into `part`; raises OSError when the disk fails."""
        loaded = self._telemetry.loaded(GROUP_OF[order.profile])
        if loaded is None or self._telemetry.target == NOBODY:
            return Failed(Reason.UNSUPPORTED, self._why_not(order))
        try:
            async with asyncio.timeout(max(order.timeout_s - order.duration_s, 0)):
                await self._turn.acquire()
        except TimeoutError:
            text = f"{order.profile}: another capture in the kernel runs"
            return Failed(Reason.PROFILER_BUSY, f"{text}. {advice(Reason.PROFILER_BUSY)}")
        try:
            if loaded.group.name in MAPS:
                return await self._measured(order, part, loaded)
            return await self._taken(order, part, loaded)
        finally:
            self._turn.release()

    def _why_not(self, order: Order) -> str:
        gaps = "; ".join(gap.message for gap in self._telemetry.gaps)
        why = gaps or f"the node's process is not known, or {STACKS} is not in --ktm-groups"
        return f"{order.profile}: {why}. {advice(Reason.UNSUPPORTED)}"

    async def _taken(self, order: Order, part: PartFile, loaded: Loaded) -> Taken | Failed:
        began_at_ms, lost_before = wall_ms(), self._telemetry.lost()
        session = Session(loaded, self._telemetry.clocks, order.profile)
        await self._run_for(order.duration_s, session.begin, session.end)
        stacks = await self._lane.run(session.stacks)
        if not stacks:
            reason = Reason.EMPTY_PROFILE
            what = "waited" if session.is_waiting else "ran"
            return Failed(
                reason, f"{order.profile}: no thread of the node {what}. {advice(reason)}"
            )
        names, warnings = await self._lane.run(partial(self._names, loaded, stacks))
        measure = WAITING if session.is_waiting else RUNNING
        lasted_ns = session.ended_ns - session.began_ns
        profile = profile_of(stacks, names, measure, began_at_ms * 1_000_000, lasted_ns)
        await part.begin_again()
        await part.append(_compressed(profile))
        if lost := self._telemetry.lost() - lost_before:
            warnings.append(f"{lost} events had no room: the profile shows less than there was")
        return Taken(len(stacks), tuple(warnings), began_at_ms)

    async def _run_for(
        self, duration_s: float, begin: Callable[[], None], end: Callable[[], None]
    ) -> None:
        try:
            await self._lane.run(begin)
            await self._pause(duration_s)
        finally:
            # Also when somebody cancels: in the lane, so that it is done whoever waits for it.
            self._lane.soon(end)

    # ---- latencies -------------------------------------------------------------------------

    async def _measured(self, order: Order, part: PartFile, loaded: Loaded) -> Taken | Failed:
        watch = Watch(loaded, self._telemetry.counted(loaded))
        began_at_ms = wall_ms()
        await self._run_for(order.duration_s, watch.begin, watch.end)
        stretch = await self._lane.run(watch.seen)
        if not stretch.calls:
            reason = Reason.EMPTY_PROFILE
            return Failed(reason, f"{order.profile}: {order.profile.facts.note}. {advice(reason)}")
        await part.begin_again()
        await part.append(_compressed(stretch.text(began_at_ms, wall_ms())))
        return Taken(stretch.calls, (), began_at_ms)

    # ---- names -----------------------------------------------------------------------------

    def _names(self, loaded: Loaded, stacks: Sequence[Stack]) -> tuple[Names, list[str]]:
        kernel = {address for stack in stacks for address in stack.kernel}
        program = {address for stack in stacks for address in stack.program}
        warnings: list[str] = []
        names = Names(
            dict(_kernel_names(loaded.programs["symbolize"], kernel)),
            self._program_names(program, warnings),
        )
        return names, warnings

    def _program_names(self, addresses: Iterable[int], warnings: list[str]) -> Mapping[int, str]:
        """Name what can be; a file that cannot be read is a warning."""
        process = self._node.known
        if process is None:
            warnings.append("the node ended meanwhile: its functions have no names")
            return {}
        directory = self._node.directory(process)
        names: dict[int, str] = {}
        try:
            mapped = parse_maps(read_small(directory / "maps"))
        except OSError as error:
            warnings.append(f"functions of the node have no names: {error}; give it SYS_PTRACE")
            return {}
        for path, offsets in _by_file(mapped, addresses).items():
            try:
                found = _names_of(directory / "root" / path.lstrip("/"), offsets)
                names |= {offsets[offset]: name for offset, name in found.items()}
            except (OSError, NoSymbolsError) as error:
                warnings.append(f"functions of {path} have no names: {error}")
        return names


def _by_file(mapped: Sequence[Mapped], addresses: Iterable[int]) -> dict[str, dict[int, int]]:
    """Return the addresses by file and by offset in it."""
    found: dict[str, dict[int, int]] = {}
    for address in addresses:
        for one in mapped:
            if one.start <= address < one.end:
                found.setdefault(one.path, {})[address - one.start + one.offset] = address
    return found


def _names_of(path: Path, offsets: Iterable[int]) -> Mapping[int, str]:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return names_in(lambda at, size: os.pread(file, size, at), offsets)
    finally:
        os.close(file)


def _kernel_names(program: int, addresses: Iterable[int]) -> Iterator[tuple[int, str]]:
    """Ask the kernel itself, which tells names to those who may not read its addresses."""
    for address in addresses:
        context = bytearray(_SYMBOL.pack(address, b""))
        with contextlib.suppress(OSError):
            bpf.run(program, context)
            name = _SYMBOL.unpack(context)[1].partition(b"\0")[0].decode("ascii", "replace")
            if name and not name.startswith("0x"):
                yield address, name


def _compressed(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=_GZIP)
    return packer.compress(data) + packer.flush()


# ---- one stretch ------------------------------------------------------------------------------


@dataclass(slots=True)
class Watch:
    """A group that counts latencies, between two looks at it; its methods block for a moment.

    One that does not count anyway is switched on in between, and no longer.
    """

    loaded: Loaded
    counted: Counted
    before: Look = ()
    links: list[int] = field(default_factory=list)

    def begin(self) -> None:
        """Look for the first time; raises OSError."""
        if not self.loaded.links:
            self.links += map(bpf.attach_typed, self.loaded.programs.values())
        self.before = look_at(self.loaded.group.name, self.counted)

    def end(self) -> None:
        """Switch off what was switched on."""
        while self.links:
            os.close(self.links.pop())

    def seen(self) -> Stretch:
        """Look again; raises OSError."""
        group = self.loaded.group.name
        return Stretch(group, self.before, look_at(group, self.counted))


# ---- one profile ------------------------------------------------------------------------------


@dataclass(slots=True)
class Session:
    """The programs while they are switched on; its methods block for a moment."""

    loaded: Loaded
    clocks: Sequence[int]
    profile: Profile
    link: int = -1
    began_ns: int = 0
    ended_ns: int = 0

    @property
    def is_waiting(self) -> bool:
        """Whether it is asked where threads wait, and not where they run."""
        return self.profile is Profile.OFFCPU

    def begin(self) -> None:
        """Forget what was before and switch on; raises OSError."""
        self._clear()
        self.began_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        bpf.update(self.loaded.maps["began_ns"], key_of(0), struct.pack("=Q", self.began_ns))
        if self.is_waiting:
            self.link = bpf.attach_typed(self.loaded.programs["switched"])
        for clock in () if self.is_waiting else self.clocks:
            bpf.switch_clock(clock, is_on=True)

    def end(self) -> None:
        """Switch off."""
        self.ended_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if self.link >= 0:
            os.close(self.link)
            self.link = -1
        for clock in () if self.is_waiting else self.clocks:
            with contextlib.suppress(OSError):
                bpf.switch_clock(clock, is_on=False)

    def stacks(self) -> list[Stack]:
        """Return what was seen, the heaviest first; the map is empty afterwards. Raises OSError."""
        seen = [parse_stack(bpf.lookup(self._map, key, STACK.size)) for key in self._keys()]
        self._clear()
        ended = (self._weighed(one) for one in seen)
        return sorted((one for one in ended if one.count), key=lambda one: -one.sum_ns)

    def _weighed(self, stack: Stack) -> Stack:
        if self.is_waiting:
            return stack.ended(self.ended_ns)
        ran_ns = stack.count * 1_000_000_000 // FREQUENCY_HZ
        return Stack(stack.kernel, stack.program, stack.count, ran_ns)

    @property
    def _map(self) -> int:
        return self.loaded.maps["stacks"]

    def _keys(self) -> list[bytes]:
        return list(bpf.keys(self._map, 8, _MOST_STACKS))

    def _clear(self) -> None:
        for key in self._keys():
            with contextlib.suppress(OSError):
                bpf.delete(self._map, key)
