# SPDX-License-Identifier: Apache-2.0
"""Builds the flight recorder from settings; a part of the node's agent of its own."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from fodc_agent.recorder.journal import Journal
from fodc_agent.recorder.keeper import Keeper
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.settings import Settings

_log: Final = logging.getLogger(__name__)

# Enough for what the agent says of itself and of each scrape.
_LEAST_SERIES: Final = 128
# What a page may take on the way for its row to be written with those of its round.
_GATHER_S: Final = 0.5


def keeper_of(
    settings: Settings, recorder: Recorder, others: Callable[[float], Awaitable[None]]
) -> Keeper | None:
    """Return what keeps history over a restart, None where none is wanted.

    `others` waits for the other readings of a round, at most for the seconds that it is given.
    """
    if settings.recorder_dir is None:
        return None
    journal = Journal(settings.recorder_dir, max_bytes=settings.recorder_max_bytes)
    return Keeper(journal, recorder, gather_s=_GATHER_S, others=others)


def recorder_of(settings: Settings) -> Recorder:
    """Return the recorder, which is empty."""
    budget_bytes = settings.window_budget_bytes
    recorder = Recorder(
        budget_bytes=budget_bytes,
        interval_s=settings.poll_interval_s,
        target_s=settings.window_target_s,
        least_series=_LEAST_SERIES,
    )
    _log.info("window budget_bytes=%d", budget_bytes)
    return recorder
