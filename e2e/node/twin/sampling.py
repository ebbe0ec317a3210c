# SPDX-License-Identifier: Apache-2.0
"""Take the profiles of this process: processor time, memory and threads.

The one idea: a thread's stack is charged with the processor time that the thread really used since
the last look, so a sleeping thread costs nothing and the sum is true.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType

from pprof_format import Description, Frame, Stack, ValueType, encode

PERIOD_NS = 10_000_000
CPU_COLUMNS = (ValueType("samples", "count"), ValueType("cpu", "nanoseconds"))
HEAP_COLUMNS = (
    ValueType("alloc_objects", "count"),
    ValueType("alloc_space", "bytes"),
    ValueType("inuse_objects", "count"),
    ValueType("inuse_space", "bytes"),
)
CONTENTION_COLUMNS = (ValueType("contentions", "count"), ValueType("delay", "nanoseconds"))
# What the kernel adds to the complement of a thread id to form its processor-time clock.
THREAD_CLOCK_BITS = 6

cpu_profile_taken = threading.Lock()


class BusyError(Exception):
    """Another processor-time profile is being taken."""


def stack_of(frame: FrameType | None) -> Stack:
    """Return a thread's calls, innermost first, without the waiting inside the library."""
    frames = []
    while frame is not None:
        code = frame.f_code
        frames.append(Frame(code.co_qualname, Path(code.co_filename).name, frame.f_lineno or 0))
        frame = frame.f_back
    inner = next((i for i, item in enumerate(frames) if item.file != "threading.py"), 0)
    return tuple(frames[inner:])


def processor_ns(native_id: int) -> int | None:
    """Return the processor time of one thread so far, None when it has ended."""
    try:
        return time.clock_gettime_ns(~native_id << 3 | THREAD_CLOCK_BITS)
    except OSError:
        return None


def other_threads() -> Iterator[threading.Thread]:
    own = threading.get_ident()
    return (thread for thread in threading.enumerate() if thread.ident != own)


class CpuSampler:
    """Charges the processor time of every other thread to its current stack."""

    def __init__(self) -> None:
        self._seen = {t.ident: processor_ns(t.native_id or 0) for t in other_threads()}
        self._spent: Counter[Stack] = Counter()

    def look(self) -> None:
        """Take one sample of every other thread that has run since the last look."""
        frames = sys._current_frames()
        for thread in other_threads():
            now = processor_ns(thread.native_id or 0)
            before = self._seen.get(thread.ident) or 0
            self._seen[thread.ident] = now
            frame = frames.get(thread.ident or 0)
            if now is not None and now > before and frame is not None:
                self._spent[stack_of(frame)] += now - before

    def samples(self) -> list[tuple[Stack, tuple[int, int]]]:
        """Return each stack with its time in nanoseconds and in whole periods, at least one."""
        return [
            (stack, (max(1, round(spent / PERIOD_NS)), spent))
            for stack, spent in self._spent.items()
        ]


def cpu_profile(seconds: float, client_left: Callable[[], bool]) -> bytes:
    """Sample for some seconds or until the client leaves.

    Raises BusyError when another such profile is being taken.
    """
    if not cpu_profile_taken.acquire(blocking=False):
        raise BusyError
    try:
        return _sampled(seconds, client_left)
    finally:
        cpu_profile_taken.release()


def _sampled(seconds: float, client_left: Callable[[], bool]) -> bytes:
    sampler = CpuSampler()
    wall_ns, began = time.time_ns(), time.monotonic()
    while (passed := time.monotonic() - began) < seconds and not client_left():
        time.sleep(min(PERIOD_NS / 1e9, seconds - passed))
        sampler.look()
    duration_ns = int((time.monotonic() - began) * 1e9)
    about = Description(CPU_COLUMNS, CPU_COLUMNS[1], PERIOD_NS, wall_ns, duration_ns)
    return encode(about, sampler.samples())


def memory_profile() -> bytes:
    """Return what is allocated now; empty unless tracing is on, which a load switches on.

    Python keeps no record of freed memory, so the allocated and the used columns are equal.
    """
    about = Description(HEAP_COLUMNS, ValueType("space", "bytes"), 1, time.time_ns())
    if not tracemalloc.is_tracing():
        return encode(about, [])
    statistics = tracemalloc.take_snapshot().statistics("traceback")
    return encode(
        about, ((traced_stack(s.traceback), (s.count, s.size, s.count, s.size)) for s in statistics)
    )


def traced_stack(traceback: tracemalloc.Traceback) -> Stack:
    return tuple(
        Frame(function_at(call.filename, call.lineno), Path(call.filename).name, call.lineno)
        for call in reversed(traceback)
    )


def function_at(file: str, line: int) -> str:
    """Return the function that owns a line; tracemalloc itself knows only files and lines."""
    return functions_by_line(file).get(line, "unknown")


@functools.lru_cache(maxsize=256)
def functions_by_line(file: str) -> dict[int, str]:
    try:
        code = compile(Path(file).read_bytes(), file, "exec")
    except (OSError, SyntaxError, ValueError):
        return {}
    return dict(lines_of(code))


def lines_of(code: CodeType) -> Iterator[tuple[int, str]]:
    """Yield every line of a code object with its function, inner functions last."""
    for _, _, line in code.co_lines():
        if line is not None:
            yield line, code.co_qualname
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from lines_of(constant)


def thread_stacks() -> list[Stack]:
    """Return the stack of every thread."""
    return [stack_of(frame) for frame in sys._current_frames().values()]


def counted_profile(name: str, stacks: list[Stack]) -> bytes:
    """Return a profile that counts equal stacks, as goroutine and threadcreate do."""
    column = ValueType(name, "count")
    counts = Counter(stacks)
    about = Description((column,), column, 1, time.time_ns())
    return encode(about, ((stack, (number,)) for stack, number in counts.items()))


def empty_contention_profile() -> bytes:
    """Return the block or mutex profile of a node that sets no rate, as BanyanDB does."""
    column = CONTENTION_COLUMNS[0]
    return encode(Description(CONTENTION_COLUMNS, column, 1, time.time_ns()), [])


def thread_text(stacks: list[Stack]) -> str:
    """Return the stacks as text in the form that Go gives goroutines."""
    blocks = []
    for number, stack in enumerate(stacks, 1):
        calls = "".join(f"{f.function}(...)\n\t{f.file}:{f.line}\n" for f in stack)
        blocks.append(f"goroutine {number} [running]:\n{calls}")
    return "\n".join(blocks)
