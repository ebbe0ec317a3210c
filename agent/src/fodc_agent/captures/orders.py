# SPDX-License-Identifier: Apache-2.0
"""Carries out capture orders: room first, then the profile, then the marker, then the report.

The one idea: an order is known by its id from its first moment to the moment when the proxy has no
more use for it, so giving the same order twice does nothing and asking for its end always answers.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import field, replace
from functools import partial
from typing import Final, Protocol, TypeAlias, assert_never

from fodc_agent.captures.needs import Needs
from fodc_agent.captures.outcomes import (
    DEFAULT_MAX_BYTES,
    Cancelled,
    Captured,
    Failed,
    Order,
    Outcome,
    order_of,
)
from fodc_agent.captures.pprof import Taken
from fodc_agent.captures.quota import Admitted, NoRoom, Quota
from fodc_agent.captures.spool import Held, PartFile, Spool
from fodc_agent.clocks import wall_ms
from fodc_protocol.artifacts import Manifest
from fodc_protocol.errors import FodcError, Reason, advice
from fodc_protocol.ids import CommandId, artifact_id, is_own_command
from fodc_protocol.lean import dataclass
from fodc_protocol.link.frames import MAX_CAPTURES_PER_AGENT, CancelMode, StartCapture
from fodc_protocol.profiles import parse_profile

Report: TypeAlias = Callable[[str, Outcome], object]
"""Called in the event loop with the id of an order and its end, once for each order."""

_CLOSE_S: Final = 1.0


class Profiler(Protocol):
    """What takes a profile into a file; `PprofPort` does."""

    async def take(self, order: Order, part: PartFile) -> Taken | Failed:
        """Return what was taken or why not; raises OSError when the disk fails."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Who took a result, as its manifest says; may change while the agent runs."""

    node: str
    pod: str
    role: str
    agent_version: str
    incarnation: str


@dataclass(slots=True)
class _Running:
    order: Order
    started_at_ms: int
    promised_bytes: int = 0
    cancel_mode: CancelMode | None = None
    task: "asyncio.Task[None] | None" = None
    noted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the spool has its beginning, or it has ended without one."""


class Captures:
    """All captures of one node. Call `recover` once before anything else, `aclose` at the end."""

    def __init__(
        self,
        profiler: Profiler,
        spool: Spool,
        quota: Quota,
        *,
        origin: Callable[[], Origin],
        report: Report,
        now_ms: Callable[[], int] = wall_ms,
        max_running: int = MAX_CAPTURES_PER_AGENT,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        self._profiler = profiler
        self._spool = spool
        self._disk = spool.disk
        self._quota = quota
        self._origin = origin
        self._report = report
        self._now_ms = now_ms
        self._max_running = max_running
        self._max_bytes = max_bytes
        self._running: dict[str, _Running] = {}
        self._held: dict[str, Held] = {}
        self._needs = Needs()
        self._evictions: set[asyncio.Task[None]] = set()

    # ---- state --------------------------------------------------------------------------

    def active(self) -> list[tuple[str, int]]:
        """Return id and start (Unix milliseconds) of what runs, oldest first."""
        return [(run.order.command_id, run.started_at_ms) for run in self._running.values()]

    @property
    def held(self) -> list[Held]:
        """Ends that the proxy has not yet released, oldest first."""
        return list(self._held.values())

    @property
    def artifact_count(self) -> int:
        """Results in the spool."""
        return sum(isinstance(held.outcome, Captured) for held in self._held.values())

    @property
    def artifact_bytes(self) -> int:
        """Bytes of all results in the spool."""
        return sum(held.size_bytes for held in self._held.values())

    # ---- life ---------------------------------------------------------------------------

    async def recover(self) -> list[Held]:
        """Take over what an earlier run left and return it; raises OSError."""
        for held in await self._disk.run(partial(self._spool.recover, self._now_ms())):
            self._held[held.command_id] = held
            if isinstance(held.outcome, Captured):
                self._learn(held.outcome.manifest)
            await self._evict(
                self._quota.recovered(held.command_id, held.size_bytes, held.finished_at_ms)
            )
        return self.held

    async def aclose(self) -> None:
        """End what runs; the spool then says that the agent ended meanwhile."""
        tasks = [run.task for run in self._running.values() if run.task]
        for task in tasks:
            task.cancel()
        if ending := [*tasks, *self._evictions]:
            await asyncio.wait(ending, timeout=_CLOSE_S)

    # ---- orders -------------------------------------------------------------------------

    def begin(self, command: StartCapture) -> None:
        """Start what a frame asks for; raises BadRequestError for what cannot be.

        What the agent began by itself and holds no more is told as lost: a capture of now would
        pass for one of then.
        """
        is_known = command.command_id in self._running or command.command_id in self._held
        if is_own_command(command.command_id) and not is_known:
            lost = Failed(Reason.NOT_FOUND, "the agent does not hold this capture any more")
            self._report(command.command_id, lost)
            return
        self.start(order_of(command))

    def start(self, order: Order) -> None:
        """Start an order and report its end later; an order that is known already is not repeated.

        The end of a finished one is reported again; one too many is reported as failed (Busy).
        """
        if order.command_id in self._running:
            return
        if held := self._held.get(order.command_id):
            self._report(order.command_id, held.outcome)
            return
        if len(self._running) >= self._max_running:
            reason = Reason.BUSY
            message = f"{self._max_running} captures run already. {advice(reason)}"
            self._report(order.command_id, Failed(reason, message))
            return
        limit = min(order.max_bytes, self._max_bytes, self._quota.max_bytes)
        run = _Running(replace(order, max_bytes=limit), self._now_ms())
        self._running[order.command_id] = run
        name = f"capture {order.profile} {order.command_id}"
        run.task = asyncio.get_running_loop().create_task(self._carry_out(run), name=name)
        run.task.add_done_callback(lambda _: run.noted.set())

    async def noted(self, command_id: str) -> None:
        """Wait until a next life would know of this order, as far as the disk lets it."""
        if (run := self._running.get(command_id)) is not None:
            await run.noted.wait()

    def cancel(self, command_id: str, mode: CancelMode) -> bool:
        """Ask a running order to end; False when it does not run (any more)."""
        run = self._running.get(command_id)
        if run is None or run.task is None or run.cancel_mode is not None:
            return False
        run.cancel_mode = mode
        # Later in this turn of the loop: a task that never began could not report its end.
        asyncio.get_running_loop().call_soon(run.task.cancel)
        return True

    async def read(self, command_id: str, offset_bytes: int, length_bytes: int) -> bytes:
        """Return bytes of a result, which is not evicted while it is read now and then.

        Raises FodcError (NotFound) and OSError.
        """
        self._quota.reading(command_id, self._now_ms())
        data = await self._disk.run(
            partial(self._spool.read, command_id, offset_bytes, length_bytes)
        )
        self._quota.reading(command_id, self._now_ms(), offset_bytes + len(data))
        return data

    async def forget(self, command_id: str) -> None:
        """Drop an order that nobody asks for any more; a running one is left alone."""
        if command_id in self._running:
            return
        self._held.pop(command_id, None)
        self._quota.released(command_id)
        await self._disk.run(partial(self._spool.forget, command_id))

    # ---- one order ----------------------------------------------------------------------

    async def _carry_out(self, run: _Running) -> None:
        """Bring one order to its end, whatever happens, and report it."""
        order = run.order
        try:
            outcome = await self._admitted(run)
        except asyncio.CancelledError:
            if run.cancel_mode is None:
                raise  # The agent ends; `recover` will tell what became of the order.
            outcome = _cancelled(order, run.cancel_mode)
            await self._record(order, outcome)
        except Exception as error:  # noqa: BLE001 - an order must never end without an answer
            outcome = Failed(Reason.INTERNAL, f"{order.profile}: {error!r}")
            await self._record(order, outcome)
        del self._running[order.command_id]
        if self._quota.knows(order.command_id):
            self._held[order.command_id] = Held(order.command_id, outcome, self._now_ms())
        self._report(order.command_id, outcome)

    async def _admitted(self, run: _Running) -> Outcome:
        """Make room or refuse; what is refused leaves no trace and may be asked for again."""
        order = run.order
        needed = min(self._needs.bytes_for(order.profile, order.duration_s), order.max_bytes)
        run.promised_bytes = needed
        match self._quota.reserve(order.command_id, needed, self._now_ms()):
            case NoRoom(message):
                return Failed(Reason.QUOTA_EXCEEDED, _no_room(message))
            case Admitted(evict):
                await self._evict(evict)
                return await self._spooled(run)

    async def _spooled(self, run: _Running) -> Outcome:
        """Take the profile into the spool; a full disk or quota is an outcome as well."""
        order = run.order
        part = self._spool.part_of(order, partial(self._more_room, run))
        try:
            await self._disk.run(partial(self._spool.begin, part, order, run.started_at_ms))
            run.noted.set()
            taken = await self._profiler.take(order, part)
            if isinstance(taken, Taken):
                return await self._committed(run, part, taken)
            outcome = taken
        except NoRoomError as full:
            outcome = Failed(full.reason, f"{order.profile}: {full.message}")
        except OSError as error:
            reason = Reason.STORAGE_FAILED
            outcome = Failed(reason, f"{self._spool.directory}: {error}. {advice(reason)}")
        finally:
            # Behind whatever of this order is still in the lane, so that nothing is left open.
            self._disk.soon(part.close)
        await self._record(order, outcome)
        return outcome

    async def _committed(self, run: _Running, part: PartFile, taken: Taken) -> Captured:
        manifest = _manifest(run, part, taken, self._origin(), self._now_ms())
        await self._disk.run(partial(self._spool.commit, part, manifest))
        self._quota.finished(run.order.command_id, manifest.size_bytes, manifest.finished_at_ms)
        self._learn(manifest)
        return Captured(manifest)

    def _learn(self, manifest: Manifest) -> None:
        kind = parse_profile(manifest.profile)
        self._needs.learn(kind, manifest.duration_ms / 1000, manifest.size_bytes)

    def _more_room(self, run: _Running, wanted_bytes: int) -> int:
        """Return how far the part of a running capture may grow; raises NoRoomError."""
        generous = max(min(2 * wanted_bytes, run.order.max_bytes), wanted_bytes)
        for target in (run.promised_bytes, generous, wanted_bytes):
            if target < wanted_bytes:
                continue
            result = self._quota.grow(run.order.command_id, target, self._now_ms())
            if isinstance(result, Admitted):
                run.promised_bytes = target
                self._evict_soon(result.evict)
                return target
        raise NoRoomError(_no_room(f"after {run.promised_bytes} bytes there is no room for more"))

    def _evict_soon(self, victims: tuple[str, ...]) -> None:
        """Remove results while bytes come in; their room is promised already."""
        if victims:
            task = asyncio.get_running_loop().create_task(self._evict(victims))
            self._evictions.add(task)
            task.add_done_callback(self._evictions.discard)

    async def _record(self, order: Order, outcome: Failed | Cancelled) -> None:
        """Write down an end without a result; if even that fails, memory still knows."""
        if not self._quota.knows(order.command_id):
            return
        with contextlib.suppress(OSError):
            await self._disk.run(
                partial(self._spool.fail, order.command_id, outcome, self._now_ms())
            )
        self._quota.finished(order.command_id, 0, self._now_ms())

    async def _evict(self, victims: tuple[str, ...]) -> None:
        """Remove results that have to make room, and say so to whoever waits for them."""
        for command_id in victims:
            held = self._held.pop(command_id, None)
            with contextlib.suppress(OSError):  # What stays is found again by `recover`.
                await self._disk.run(partial(self._spool.forget, command_id))
            if held is not None and isinstance(held.outcome, Captured):
                message = "evicted to make room for newer captures before it was fetched"
                self._report(command_id, Failed(Reason.QUOTA_EXCEEDED, message))


def _manifest(
    run: _Running, part: PartFile, taken: Taken, origin: Origin, finished_at_ms: int
) -> Manifest:
    order = run.order
    return Manifest(
        artifact_id=artifact_id(CommandId(order.command_id), order.profile.value),
        request_id=order.request_id,
        command_id=order.command_id,
        node=origin.node,
        pod=origin.pod,
        role=origin.role,
        profile=order.profile.value,
        format=order.profile.facts.format.value,
        size_bytes=part.size_bytes,
        sha256=part.sha256,
        samples=taken.samples,
        started_at_ms=taken.began_at_ms or run.started_at_ms,
        finished_at_ms=finished_at_ms,
        duration_ms=round(order.duration_s * 1000),
        warnings=taken.warnings,
        agent_version=origin.agent_version,
        incarnation=origin.incarnation,
    )


class NoRoomError(FodcError):
    """A running capture needs more room than there is or can be made."""

    default_reason = Reason.QUOTA_EXCEEDED


def _no_room(message: str) -> str:
    return f"{message}. {advice(Reason.QUOTA_EXCEEDED)}"


def _cancelled(order: Order, mode: CancelMode) -> Cancelled:
    match mode:
        case CancelMode.STOP:
            return Cancelled(
                Reason.CANCELLED,
                f"{order.profile}: stopped; a profile that ends early cannot be kept, because the "
                "node writes it only at its end",
            )
        case CancelMode.ABORT:
            return Cancelled(Reason.ABORTED, f"{order.profile}: aborted and discarded")
        case _ as never:
            assert_never(never)
