# SPDX-License-Identifier: Apache-2.0
"""What captures of the agent's own knowledge are made of: the window's text, the settings as JSON.

The one idea: captures know neither recorder nor sources; here the two meet.
"""

import json
from collections.abc import Awaitable, Callable
from functools import partial

from fodc_agent.captures.kept import ByKind, ConfigurationTaker, Told, WindowTaker
from fodc_agent.captures.orders import Profiler
from fodc_agent.recorder.openmetrics import window_text
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.sources.configuration import ConfigurationReading
from fodc_protocol.profiles import TakenFrom
from fodc_protocol.times import format_rfc3339_ms

VERSION = 1
"""Of the document."""


def takers_of(
    pprof: Profiler,
    history: Recorder,
    read: Callable[[], Awaitable[tuple[ConfigurationReading | None, str]]],
    kernel: Profiler,
) -> ByKind:
    """Return what takes each kind of capture; `read` returns the node's settings as known now."""

    async def told() -> Told:
        reading, _ = await read()
        return told_of(reading)

    return ByKind(
        {
            TakenFrom.PPROF: pprof,
            TakenFrom.RECORDER: WindowTaker(partial(window_text, history)),
            TakenFrom.CONFIGURATION: ConfigurationTaker(told),
            TakenFrom.KERNEL: kernel,
        }
    )


def told_of(reading: ConfigurationReading | None) -> Told:
    """Return the document of a reading; none while nothing is known."""
    if reading is None:
        return Told(b"", ())
    gaps = tuple(one.message for one in reading.conditions)
    return Told(configuration_document(reading) if reading.epoch else b"", gaps)


def configuration_document(reading: ConfigurationReading) -> bytes:
    """Return the configuration as JSON: hash, time, entries, and what could not be read."""
    document = {
        "version": VERSION,
        "hash": reading.hash,
        "collected_at": format_rfc3339_ms(reading.collected_at_ms),
        "entries": [
            {"name": one.name, "value": one.value, "source": one.source, "redacted": one.redacted}
            for one in reading.entries
        ],
        "conditions": [
            {"type": one.type, "reason": one.reason, "message": one.message}
            for one in reading.conditions
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n"
