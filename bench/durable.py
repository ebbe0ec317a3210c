# SPDX-License-Identifier: Apache-2.0
"""Requests that are taken in durably: how many a second, and how many a power cut costs.

The rate is held against writing, syncing and renaming a file of the same size and syncing its
folder, one after the other on the same disk, which is what one request needs at least.
"""

import asyncio
import json
import logging
import os
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from bench.figures import Figure
from bench.programs import proxy
from tests.proxy.captures.test_power_cuts import PoweredWorld

REQUESTS = 600
CALLERS = 16
RECORD_BYTES = 1200
BASE_WRITES = 200
CUTS = 200
RATE = (
    f"{REQUESTS} POSTs by {CALLERS} callers to a node that nobody knows, each stored and answered"
)
LOST = (
    f"{CUTS} power cuts at a random moment of two captures, on a disk in memory that forgets what "
    "was not synced: requests accepted and captures told done that are not there afterwards"
)


def synced_writes_per_s() -> float:
    """Return how many files the disk takes one after the other, each kept through a power cut."""
    with tempfile.TemporaryDirectory(prefix="fodc-bench-") as name:
        folder = Path(name)
        handle = os.open(folder, os.O_RDONLY)
        began = time.perf_counter()
        for number in range(BASE_WRITES):
            with (folder / "new").open("wb") as file:
                file.write(bytes(RECORD_BYTES))
                file.flush()
                os.fsync(file.fileno())
            (folder / "new").replace(folder / str(number))
            os.fsync(handle)
        took_s = time.perf_counter() - began
        os.close(handle)
    return BASE_WRITES / took_s


async def _ask(url: str, numbers: list[int]) -> None:
    async with aiohttp.ClientSession() as http:
        while numbers:
            number = numbers.pop()
            captures = [{"profile": "heap"}]
            body = {"id": f"r{number}", "target": {"names": ["nobody"]}, "captures": captures}
            async with http.post(f"{url}/diagnostics/requests", json=body) as answer:
                assert answer.status == 201, await answer.text()
                assert json.loads(await answer.read())["phase"] == "Failed"


async def _all_asked(url: str) -> float:
    numbers = list(range(REQUESTS))
    began = time.perf_counter()
    await asyncio.gather(*(_ask(url, numbers) for _ in range(CALLERS)))
    return time.perf_counter() - began


def requests_per_s() -> Figure:
    """Measure a real proxy on the disk of the temporary folder."""
    base = synced_writes_per_s()
    with proxy() as (_, addresses):
        rate = REQUESTS / asyncio.run(_all_asked(f"http://{addresses['http']}"))
    words = f"synced writes of one thread ({base:.0f} /s)"
    return Figure(round(rate), "/s", 0.3, RATE, round(rate / base, 2), words, at_least=True)


async def _one_cut(folder: Path, chance: random.Random) -> int:
    """Cut the power once; return how much of what was promised is lost."""
    world = PoweredWorld(folder)
    await world.open()
    agents = [world.agent(f"pod-{number}") for number in range(2)]
    await world.ask("r1", captures=[{"profile": "cpu"}, {"profile": "heap"}])
    world.disk.dies_at = world.disk.steps + chance.randint(1, 60)
    for agent in agents * 2:
        for command_id in agent.running:
            agent.finish(command_id)
        await world.deliver()
    begun = {command_id for agent in agents for command_id in agent.begun}
    held = {command_id for agent in agents for command_id in agent.spool}
    await world.cut_power(chance.randrange)
    stored = {one.manifest.command_id for one in world.store.select() if not one.damage}
    is_there = any(request.id == "r1" for request in world.engine.select())
    await world.stop()
    return len(begun - held - stored) + (not is_there)


def lost_in_power_cuts() -> Figure:
    """Count over all cuts."""
    logging.disable(logging.ERROR)  # of a disk that is gone
    chance = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="fodc-bench-") as name:
        lost = 0
        for number in range(CUTS):
            folder = Path(name) / str(number)
            folder.mkdir()
            lost += asyncio.run(_one_cut(folder, chance))
    return Figure(lost, "lost", 0, LOST)


def run(wanted: Sequence[str] = ()) -> dict[str, Figure]:
    """Measure what is wanted, a quarter of a minute for both."""
    made = {"requests_per_s": requests_per_s, "power_cut_lost": lost_in_power_cuts}
    return {name: measure() for name, measure in made.items() if name in (wanted or made)}
