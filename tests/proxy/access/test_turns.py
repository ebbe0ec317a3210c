# SPDX-License-Identifier: Apache-2.0
"""Questions about callers are fair: a flood of one peer delays that peer."""

import asyncio

from fodc_proxy.access.answers import Away, Denied, Remembered
from fodc_proxy.access.asking import Asking, Pace
from fodc_proxy.access.turns import FairTurns


def test_a_turn_goes_around_among_those_who_wait() -> None:
    async def run() -> list[str]:
        turns, order = FairTurns(1), []

        async def one(whose: str) -> None:
            async with turns.turn(whose):
                order.append(whose)
                await asyncio.sleep(0)

        many = [asyncio.create_task(one("flood")) for _ in range(50)]
        await asyncio.sleep(0)
        honest = asyncio.create_task(one("honest"))
        await asyncio.gather(honest, *many)
        return order

    assert asyncio.run(run()).index("honest") <= 5


def test_a_turn_of_somebody_who_went_is_the_next_ones() -> None:
    async def run() -> str:
        turns = FairTurns(1)

        async def one() -> str:
            async with turns.turn("a"):
                return "had its turn"

        async with turns.turn("a"):
            gone, late = asyncio.create_task(one()), asyncio.create_task(one())
            await asyncio.sleep(0)
            gone.cancel()
        # The turn was given to somebody who goes before it is taken.
        given = asyncio.create_task(one())
        await asyncio.sleep(0)
        given.cancel()
        return await late

    assert asyncio.run(run()) == "had its turn"


def test_random_tokens_of_one_peer_delay_no_new_one_of_another() -> None:
    """The reviewer answers one at a time; the flood has hundreds before the honest one comes."""

    async def run() -> tuple[object, int, object]:
        asking: Asking[str] = Asking("it", Remembered(), Pace(60, 2, 4096, most_of_one=300))
        asked: list[bytes] = []

        async def question(key: bytes) -> str | Denied:
            asked.append(key)
            await asyncio.sleep(0)
            return "honest" if key == b"honest" else Denied("no")

        def ask(key: bytes, whose: str) -> asyncio.Task[object]:
            return asyncio.ensure_future(asking.ask(key, lambda: question(key), whose))

        flood = [ask(str(number).encode(), "10.0.0.6") for number in range(400)]
        await asyncio.sleep(0)
        found = await ask(b"honest", "10.0.0.7")
        before = len(asked)
        answers = await asyncio.gather(*flood)
        return found, before, next(one for one in answers if isinstance(one, Away))

    found, before, refused = asyncio.run(run())

    assert found == "honest"
    assert before < 20
    assert refused == Away("10.0.0.6 waits for it too often already")
