# SPDX-License-Identifier: Apache-2.0
"""Builds the captures of a node and takes over what an earlier life left of them."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from fodc_agent.captures.orders import Captures, Origin, Profiler, Report
from fodc_agent.captures.quota import Quota
from fodc_agent.captures.spool import Held, Spool
from fodc_agent.node_report import NodeReport
from fodc_agent.settings import Settings

_log: Final = logging.getLogger(__name__)

_SPOOL_S: Final = 5.0


def quota_of(settings: Settings) -> Quota:
    """Return how much room captures have."""
    return Quota(max_bytes=settings.capture_quota_bytes, max_count=settings.capture_max_count)


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
