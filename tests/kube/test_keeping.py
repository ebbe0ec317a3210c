# SPDX-License-Identifier: Apache-2.0
"""Work that must go on (K4): what ends is told, counted and begun again."""

import asyncio
import logging
from collections import Counter

import pytest

from fodc_kube.keeping import keep


def test_work_that_fails_or_ends_is_told_counted_and_begun_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs: list[int] = []

    async def work() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise ZeroDivisionError("a fault")
        if len(runs) == 3:
            await asyncio.Event().wait()

    async def run() -> Counter[str]:
        ends: Counter[str] = Counter()
        task = asyncio.create_task(keep("the watch", work, ends, again_s=0))
        while len(runs) < 3:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return ends

    with caplog.at_level(logging.ERROR):
        ends = asyncio.run(run())

    assert ends == {"the watch": 2}
    assert [one.getMessage() for one in caplog.records] == [
        "the watch failed; again in 0 s",
        "the watch has ended, which it must not; again in 0 s",
    ]
