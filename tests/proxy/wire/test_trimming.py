# SPDX-License-Identifier: Apache-2.0
"""Memory of refused messages goes back to the system once, after the last of a burst (P8)."""

import asyncio

from fodc_proxy.wire import trimming


def test_burst_of_large_messages_ends_in_one_trim(monkeypatch):
    async def play():
        trimmed = asyncio.Event()
        times = []

        def trim():
            times.append(1)
            trimmed.set()

        monkeypatch.setattr(trimming, "_trim", trim)
        wanted = trimming.Trimming(pause_s=0.01)
        for _ in range(5):
            wanted.want()
        async with asyncio.timeout(5):
            await trimmed.wait()
        return times

    assert asyncio.run(play()) == [1]


def test_trim_works_here_and_a_library_that_has_none_is_no_error(monkeypatch):
    trimming._trim()
    trimming.few_arenas()
    monkeypatch.setattr(trimming.ctypes, "CDLL", lambda _name: object())
    trimming._trim()
    trimming.few_arenas()
