# SPDX-License-Identifier: Apache-2.0
"""Builds the captures of a node and takes over what an earlier life left of them."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from fodc_agent.abilities import TURN_ON
from fodc_agent.captures.orders import Captures, Origin, Profiler, Report
from fodc_agent.captures.outcomes import Failed, Order
from fodc_agent.captures.pprof import Taken
from fodc_agent.captures.quota import Quota
from fodc_agent.captures.spool import Held, PartFile, Spool
from fodc_agent.node_report import NodeReport
from fodc_agent.settings import Settings
from fodc_agent.sources.node_process import NodeProcess
from fodc_protocol.errors import Reason, advice

if TYPE_CHECKING:
    from fodc_agent.ktm.bcc.backend import BccTelemetry
    from fodc_agent.ktm.telemetry import Telemetry

_log: Final = logging.getLogger(__name__)

_SPOOL_S: Final = 5.0


def quota_of(settings: Settings) -> Quota:
    """Return how much room captures have."""
    return Quota(max_bytes=settings.capture_quota_bytes, max_count=settings.capture_max_count)


class NoKernel:
    """Stands where nothing is looked up in the kernel."""

    async def take(self, order: Order, part: PartFile) -> Taken | Failed:  # noqa: ARG002 - as others
        """Say why there is no such profile."""
        text = f"{order.profile}: this agent does not look into the kernel ({TURN_ON})"
        return Failed(Reason.UNSUPPORTED, f"{text}. {advice(Reason.UNSUPPORTED)}")


def kernel_taker(
    telemetry: "Telemetry | BccTelemetry | None", node: NodeProcess | None
) -> Profiler:
    """Return what takes profiles in the kernel, imported where it was asked for only."""
    if telemetry is None or node is None or telemetry.takes_captures is False:
        return NoKernel()
    from fodc_agent.ktm.profiling import KernelProfiler  # noqa: PLC0415 - costs memory

    return KernelProfiler(telemetry, node)


def captures_of(
    settings: Settings,
    profiler: Profiler,
    quota: Quota,
    *,
    origin: Callable[[], Origin],
    report: Report,
) -> Captures:
    """Return the captures of one node; the disk is not touched yet."""
    return Captures(
        profiler,
        Spool(settings.capture_dir),
        quota,
        origin=origin,
        report=report,
        max_bytes=settings.capture_max_bytes,
    )


async def recovered(report: NodeReport) -> list[Held]:
    """Take over the spool of an earlier life; without one there are no captures."""
    try:
        async with asyncio.timeout(_SPOOL_S):
            held = await report.captures.recover()
    except OSError as error:  # A disk that hangs is a TimeoutError.
        why = error.strerror or str(error) or f"the disk does not answer within {_SPOOL_S:g} s"
        report.spool_problem = f"--capture-dir {report.settings.capture_dir}: {why}"
        _log.warning("captures_off reason=%r", report.spool_problem)
        return []
    if held:
        _log.info("captures_recovered count=%d", len(held))
    return held
