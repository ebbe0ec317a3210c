# SPDX-License-Identifier: Apache-2.0
"""Tokens are asked about once, remembered as hashes, and nobody hangs on who is away."""

import asyncio

from fodc_proxy.access.answers import Away, Denied, Memory
from fodc_proxy.access.asking import Pace
from fodc_proxy.access.token_reviews import Review, Reviewed, TokenReviews
from fodc_proxy.fleet.moment import Moment

ALICE = Reviewed("alice", audiences=("fodc-proxy",))
AUDIENCE = ("fodc-proxy",)


class Server:
    """Answers as told; counts, and waits when told to."""

    def __init__(self, *answers: Review) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.steady_ms = 0

    async def review(self, token: str, audiences: tuple[str, ...]) -> Review:
        self.asked.append((token, audiences))
        await self.goes_on.wait()
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def now(self) -> Moment:
        return Moment(self.steady_ms, self.steady_ms)


def reviews(server: Server, **pace: float) -> TokenReviews:
    return TokenReviews(server, memory=Memory(), pace=Pace(**pace), now=server.now)


def test_many_who_come_with_one_token_cost_one_question() -> None:
    async def within() -> None:
        server = Server(ALICE)
        server.goes_on.clear()
        asked = reviews(server)
        waiting = [asyncio.create_task(asked.review("t", AUDIENCE)) for _ in range(100)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        server.goes_on.set()

        assert await asyncio.gather(*waiting[1:]) == [ALICE] * 99
        assert await asked.review("t", AUDIENCE) == ALICE
        assert server.asked == [("t", AUDIENCE)]
        assert asked.asked == {"yes": 1}

    asyncio.run(within())


def test_a_token_for_another_audience_is_another_question() -> None:
    async def within() -> None:
        server = Server(ALICE, Denied("not meant for people"))
        asked = reviews(server)

        assert await asked.review("t", AUDIENCE) == ALICE
        assert await asked.review("t", ("people",)) == Denied("not meant for people")
        assert await asked.review("t", AUDIENCE) == ALICE

    asyncio.run(within())


def test_what_cannot_be_a_token_is_refused_without_asking() -> None:
    async def within() -> None:
        server = Server(ALICE)
        asked = reviews(server)
        wrong = ["", "a b", "a\nb", "ä", "x" * 8193]

        answers = [await asked.review(token, AUDIENCE) for token in wrong]

        words = "a token has 1 to 8192 letters, digits and ._~+/=-"
        assert answers == [Denied(words)] * 5
        assert server.asked == []

    asyncio.run(within())


def test_who_is_known_goes_on_while_the_server_is_slow_and_a_new_one_is_told_why_not() -> None:
    async def within() -> None:
        server = Server(ALICE)
        asked = reviews(server, deadline_s=0.05)
        await asked.review("known", AUDIENCE)
        server.goes_on.clear()
        server.steady_ms = 60_000

        assert await asked.review("known", AUDIENCE) == ALICE
        assert await asked.review("new", AUDIENCE) == Away(
            "the API server did not answer within 0.05 s"
        )
        assert asked.asked == {"yes": 1, "away": 2}
        # Not asked again at once: the next ones do not even wait.
        assert await asked.review("known", AUDIENCE) == ALICE
        assert len(server.asked) == 3

    asyncio.run(within())


def test_few_are_asked_at_a_time_and_beyond_a_bound_nobody_waits() -> None:
    async def within() -> None:
        server = Server(ALICE)
        server.goes_on.clear()
        asked = reviews(server, at_a_time=2, most_waiting=3)
        waiting = [asyncio.create_task(asked.review(f"t{n}", AUDIENCE)) for n in range(3)]
        for _ in range(3):
            await asyncio.sleep(0)

        assert len(server.asked) == 2
        assert await asked.review("t3", AUDIENCE) == Away(
            "too many wait for the API server already"
        )
        server.goes_on.set()
        assert await asyncio.gather(*waiting) == [ALICE] * 3

    asyncio.run(within())


def test_a_stop_ends_what_is_being_asked() -> None:
    async def within() -> None:
        server = Server(ALICE)
        server.goes_on.clear()
        asked = reviews(server)
        waiting = asyncio.create_task(asked.review("t", AUDIENCE))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asked.stop()
        await asyncio.gather(waiting, return_exceptions=True)

        assert waiting.cancelled()

    asyncio.run(within())
