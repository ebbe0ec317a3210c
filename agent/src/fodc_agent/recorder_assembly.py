# SPDX-License-Identifier: Apache-2.0
"""Builds the flight recorder from settings; a part of the node's agent of its own."""

import logging
from typing import Final

from fodc_agent.budget import memory_limit_bytes, window_budget_bytes
from fodc_agent.recorder.journal import Journal
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.settings import Settings

_log: Final = logging.getLogger(__name__)

# Enough for what the agent says of itself and of each scrape.
_LEAST_SERIES: Final = 128


def window_bytes(settings: Settings) -> int:
    """Return the memory for recorded metrics: what was told, else a share of the limit."""
    return settings.window_budget_bytes or window_budget_bytes(
        settings.metrics_memory_percent,
        memory_limit_bytes(),
        percent_given=settings.metrics_memory_percent_given,
    )


def journal_of(settings: Settings) -> Journal | None:
    """Return the journal that keeps history over a restart, None where none is wanted."""
    if settings.recorder_dir is None:
        return None
    return Journal(settings.recorder_dir, max_bytes=settings.recorder_max_bytes)


def recorder_of(settings: Settings, journal: Journal | None) -> Recorder:
    """Return the recorder with what the journal restored."""
    budget_bytes = window_bytes(settings)
    recorder = Recorder(
        budget_bytes=budget_bytes,
        interval_s=settings.poll_interval_s,
        target_s=settings.window_target_s,
        least_series=_LEAST_SERIES,
        journal=journal,
    )
    _log.info("window budget_bytes=%d restored=%s", budget_bytes, recorder.restored)
    return recorder
