# SPDX-License-Identifier: Apache-2.0
"""Captures of what the agent has itself: the window and the configuration."""

import asyncio
import gzip
import json
from functools import partial

import pytest

from fodc_agent.captures.kept import ByKind, ConfigurationTaker, WindowTaker
from fodc_agent.captures.orders import Captures, Origin
from fodc_agent.captures.outcomes import Captured, Failed, Order, order_of
from fodc_agent.captures.quota import Quota
from fodc_agent.captures.spool import Spool
from fodc_agent.recorder.openmetrics import window_text
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.sources.configuration import ConfigurationReading
from fodc_agent.takers import told_of
from fodc_protocol.configuration import ConfigEntry, Source
from fodc_protocol.errors import Reason
from fodc_protocol.link.frames import Condition, StartCapture
from fodc_protocol.profiles import Profile, TakenFrom

NOW_MS = 1_796_000_100_000
READING = ConfigurationReading(
    3,
    "abc",
    NOW_MS - 5000,
    ("data",),
    (
        ConfigEntry("logging-level", "info", Source.FLAG),
        ConfigEntry("password", "***", Source.ENVIRONMENT, redacted=True),
    ),
    (Condition("EnvironmentRead", "NoProcess", "the node's process is not known"),),
)


def recorder_of(rows: int) -> Recorder:
    recorder = Recorder(budget_bytes=1 << 22, interval_s=10)
    for place in range(rows):
        at_ms = NOW_MS - 10_000 * (rows - 1 - place)
        recorder.record_page("metrics", b"a %d\n" % place, at_ms)
    return recorder


def taken(
    folder, order: Order, *, rows: int = 4, reading: ConfigurationReading | None = READING
) -> tuple[object, bytes]:
    """Carry out one order; return its end and the bytes in the spool."""

    async def known():
        return told_of(reading)

    async def run():
        ended = asyncio.get_running_loop().create_future()
        captures = Captures(
            ByKind(
                {
                    TakenFrom.RECORDER: WindowTaker(
                        partial(window_text, recorder_of(rows)), lambda: NOW_MS
                    ),
                    TakenFrom.CONFIGURATION: ConfigurationTaker(known),
                }
            ),
            Spool(folder),
            Quota(max_bytes=1 << 22, max_count=5),
            origin=lambda: Origin("data-0", "data-0", "ROLE_DATA", "0.1.0", "inc-1"),
            report=lambda _, outcome: ended.set_result(outcome),
        )
        await captures.recover()
        captures.start(order)
        outcome = await asyncio.wait_for(ended, 20)
        found = isinstance(outcome, Captured)
        data = await captures.read(order.command_id, 0, 1 << 20) if found else b""
        await captures.aclose()
        return outcome, data

    return asyncio.run(run())


def values(data: bytes) -> list[str]:
    lines = gzip.decompress(data).decode().splitlines()
    assert lines[-1] == "# EOF"
    return [line.split()[1] for line in lines if not line.startswith("#")]


def test_a_window_is_a_gzip_of_all_that_the_recorder_holds(tmp_path):
    outcome, data = taken(tmp_path, Order("w", Profile.WINDOW, 0, 20))

    assert values(data) == ["0", "1", "2", "3"]
    manifest = outcome.manifest
    assert (manifest.format, manifest.samples, manifest.warnings) == ("openmetrics", 4, ())
    assert manifest.size_bytes == len(data)


def test_a_window_ends_at_its_instant_and_is_as_long_as_asked(tmp_path):
    order = Order("w", Profile.WINDOW, 0, 20, end_ms=NOW_MS - 10_000, span_ms=10_000)

    assert values(taken(tmp_path, order)[1]) == ["1", "2"]


def test_an_instant_that_has_not_come_is_told(tmp_path):
    outcome, _ = taken(tmp_path, Order("w", Profile.WINDOW, 0, 20, end_ms=NOW_MS + 60_000))

    (told,) = outcome.manifest.warnings
    clock = "2026-11-30T00:56:00Z had not come by this node's clock"
    assert told == f"{clock}: the window ends at 2026-11-30T00:55:00Z"


@pytest.mark.parametrize(("rows", "end_ms"), [(0, 0), (3, NOW_MS - 3_600_000)])
def test_a_time_without_samples_is_an_empty_profile(tmp_path, rows, end_ms):
    outcome, _ = taken(tmp_path, Order("w", Profile.WINDOW, 0, 20, end_ms=end_ms), rows=rows)

    assert isinstance(outcome, Failed)
    assert outcome.reason is Reason.EMPTY_PROFILE
    assert "the flight recorder holds no sample of that time" in outcome.message


def test_a_window_beyond_the_limit_of_bytes_fails_and_leaves_nothing(tmp_path):
    outcome, _ = taken(tmp_path, Order("w", Profile.WINDOW, 0, 20, max_bytes=20))

    assert (outcome.reason, [path.suffix for path in tmp_path.iterdir()]) == (
        Reason.TOO_LARGE,
        [".fodc-state"],
    )


def test_a_configuration_is_a_document_with_secrets_redacted_and_its_gaps(tmp_path):
    outcome, data = taken(tmp_path, Order("c", Profile.CONFIG, 0, 20))

    assert json.loads(data) == {
        "version": 1,
        "hash": "abc",
        "collected_at": "2026-11-30T00:54:55Z",
        "entries": [
            {"name": "logging-level", "value": "info", "source": "flag", "redacted": False},
            {"name": "password", "value": "***", "source": "environment", "redacted": True},
        ],
        "conditions": [
            {
                "type": "EnvironmentRead",
                "reason": "NoProcess",
                "message": "the node's process is not known",
            }
        ],
    }
    assert outcome.manifest.warnings == ("the node's process is not known",)


def test_a_configuration_that_nobody_can_read_is_unsupported_with_the_reason(tmp_path):
    unknown = ConfigurationReading(0, "", 0, (), (), READING.conditions)

    outcome, _ = taken(tmp_path, Order("c", Profile.CONFIG, 0, 20), reading=unknown)

    assert outcome == Failed(Reason.UNSUPPORTED, "config: the node's process is not known")


def test_the_frame_tells_end_and_span():
    command = StartCapture("c-1", "window", 0, 9000, end_ms=NOW_MS, span_ms=600_000)

    order = order_of(command)

    assert (order.end_ms, order.span_ms, order.timeout_s) == (NOW_MS, 600_000, 9)
