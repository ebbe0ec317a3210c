# SPDX-License-Identifier: Apache-2.0
"""Scraping the node's metrics ports: retries, deadlines, health, several ports at once."""

import asyncio
import contextlib
import time

import pytest

from fodc_agent.bus.coordinator import Coordinator
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.scraping.client import HttpClient, Response
from fodc_agent.scraping.faults import Fault, FetchError
from fodc_agent.sources.banyandb import MetricsSource, Scrape
from fodc_protocol.errors import Reason


class Answers:
    """Stands for the HTTP client: gives prepared pages and failures, on a clock of its own."""

    def __init__(self, *answers: bytes | FetchError, cost_s: float = 0.0) -> None:
        self.answers = list(answers)
        self.cost_s = cost_s
        self.now_s = 100.0
        self.timeouts: list[float] = []
        self.urls: list[str] = []
        self.pauses: list[float] = []

    async def get(self, url, *, timeout_s, max_bytes, cut=False):
        self.urls.append(url)
        self.timeouts.append(round(timeout_s, 3))
        self.now_s += min(self.cost_s, timeout_s)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, FetchError):
            raise answer
        return Response(200, {}, answer, len(answer))

    async def pause(self, pause_s):
        self.pauses.append(pause_s)
        self.now_s += pause_s


def scraped(answers: Answers, port: int = 2121) -> Scrape:
    source = MetricsSource(answers, port, clock=lambda: answers.now_s, pause=answers.pause)
    return asyncio.run(source.collect(1000))


def health_of(scrape: Scrape) -> dict[str, float]:
    return {sample.series.name: sample.value for sample in scrape.health()}


def status(code: int) -> FetchError:
    return FetchError(Fault.STATUS, f"HTTP {code}", status=code)


HUNG = FetchError(Fault.HUNG, "no complete answer")


def test_t_cmd_01_the_address_of_a_port_is_localhost():
    answers = Answers(b"a 1\n")

    scraped(answers, 2121)

    assert answers.urls == ["http://localhost:2121/metrics"]


def test_t_wd_01_an_attempt_has_five_seconds():
    answers = Answers(b"a 1\n")

    scraped(answers)

    assert answers.timeouts == [5.0]


def test_t_wd_02_a_page_comes_back_as_bytes_with_its_health():
    scrape = scraped(Answers(b"a 1\nb 2\n", cost_s=0.25))

    assert (scrape.body, scrape.failure, scrape.up) == (b"a 1\nb 2\n", None, True)
    assert health_of(scrape) == {
        "fodc_agent_scrape_up": 1,
        "fodc_agent_scrape_duration_seconds": 0.25,
        "fodc_agent_scrape_body_bytes": 8,
        "fodc_agent_scrape_attempts": 1,
    }


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (status(500), Reason.NODE_ERROR),
        (FetchError(Fault.REFUSED, "x"), Reason.NODE_UNREACHABLE),
        (FetchError(Fault.PROTOCOL, "x"), Reason.NODE_ERROR),
        (FetchError(Fault.TRUNCATED, "x"), Reason.TRUNCATED),
    ],
)
def test_t_wd_03_04_05_a_failure_is_a_value_that_says_failed_after(failure, reason):
    """T-WD-05's "bad format" is no failure here: a bad line is skipped and counted (W-08)."""
    scrape = scraped(Answers(failure))

    assert scrape.body is None
    assert scrape.error.startswith("failed after 3 attempts: ")
    assert scrape.silent == 0
    assert scrape.failure.reason is reason
    assert health_of(scrape)["fodc_agent_scrape_up"] == 0


def test_t_wd_06_a_node_that_fails_twice_is_asked_three_times():
    answers = Answers(status(503), status(503), b"a 1\n")

    scrape = scraped(answers)

    assert (scrape.body, scrape.attempts) == (b"a 1\n", 3)
    assert answers.pauses == [0.2, 0.4]


def test_t_wd_13_pauses_begin_anew_with_each_scrape():
    answers = Answers(status(500), b"a 1\n", status(500), b"a 1\n")
    source = MetricsSource(answers, 1, clock=lambda: answers.now_s, pause=answers.pause)

    async def run():
        await source.collect(1)
        await source.collect(2)

    asyncio.run(run())

    assert answers.pauses == [0.2, 0.2]


def test_a_404_is_final_at_once():
    scrape = scraped(Answers(status(404)))

    assert (scrape.attempts, scrape.error) == (1, "HTTP 404")


def test_t_wd_22_an_empty_page_is_up():
    scrape = scraped(Answers(b""))

    assert scrape.up
    assert scrape.body == b""


def test_a_hung_node_costs_less_than_an_interval():
    """W-14: the existing agent may need 3 x 5 s and more, and loses the next tick."""
    answers = Answers(HUNG, cost_s=60)

    scrape = scraped(answers)

    assert answers.timeouts == [5.0, 3.8]
    assert scrape.duration_s == pytest.approx(9.0)
    assert scrape.error.startswith("failed after 2 attempts")
    assert scrape.silent == 2


@pytest.mark.parametrize(
    ("page", "excerpt"),
    [
        (b"<!doctype html>\n<title>Sign in</title>\n<p>a 1\n", "<!doctype html> <title>Sign in"),
        (b"  <html>up 1</html>", "<html>up 1</html>"),
        (b'{"error": "not here", "code": 404}', '{"error": "not here", "code": 404}'),
        (b"# HELP a what\n# TYPE a gauge\n", "# HELP a what # TYPE a gauge"),
        (b"ok\n", "ok"),
    ],
)
def test_a26_a_page_without_one_sample_is_a_failed_scrape_that_says_what_came(page, excerpt):
    answers = Answers(page)

    scrape = scraped(answers)

    assert (scrape.up, scrape.body, scrape.attempts) == (False, None, 1)
    assert f"not one sample in {len(page)} bytes of no content type" in scrape.error
    assert excerpt in scrape.error
    assert scrape.failure.fault is Fault.CONTENT


def test_a26_what_came_is_told_without_its_secrets():
    assert "s3cr3t" not in scraped(Answers(b"<p>password=s3cr3t</p>")).error


@pytest.mark.parametrize(
    "page",
    [
        b"a 1\n",
        b'\n\n# TYPE a gauge\n a{x="}"} NaN\n',
        b"a{} -Inf",
        b"# HELP a b\ra 1\r",
        b'no sample here\na:b_total{q="1"} .5 17\n',
        b" \n",
    ],
)
def test_a26_one_sample_is_enough(page):
    assert scraped(Answers(page)).body == page


# ---- over sockets, through bus and recorder ---------------------------------------------------


@contextlib.asynccontextmanager
async def serving(page: bytes | None):
    """Serve one page to all who ask; None hangs."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    if page is None:
                        await asyncio.Event().wait()
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page
                    )
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def test_t_wd_23_24_ports_are_scraped_side_by_side_and_one_that_hangs_costs_only_itself():
    """T-WD-24, failure 1: the other port's page is there long before the hung one gives up."""

    async def run():
        async with serving(b"a 1\n") as good, serving(b"b 2\n") as other, serving(None) as hung:
            client = HttpClient()
            sources = [
                MetricsSource(client, good),
                MetricsSource(client, hung, attempt_s=1.0),
                MetricsSource(client, other),
            ]
            scrapes = await asyncio.gather(*(source.collect(1) for source in sources))
            await client.aclose()
            return scrapes

    scrapes = asyncio.run(run())

    assert [scrape.body for scrape in scrapes] == [b"a 1\n", None, b"b 2\n"]
    assert scrapes[0].duration_s < 1.0
    assert scrapes[1].failure.reason is Reason.NODE_HUNG


@contextlib.asynccontextmanager
async def serving_endless(line: bytes):
    """Serve a page that never ends."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader, writer):
        tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
            number = 0
            while True:
                writer.write(b"".join(line % (number + more) for more in range(500)))
                number += 500
                await writer.drain()
        writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def test_a21_a_page_without_end_is_cut_at_a_line_and_says_so():
    async def run():
        async with serving_endless(b'm{a="%d"} 1\n') as port:
            client = HttpClient()
            scrape = await MetricsSource(client, port, max_bytes=100_000).collect(1)
            await client.aclose()
            return scrape

    scrape = asyncio.run(run())

    assert (scrape.up, scrape.cut, scrape.attempts) == (True, True, 1)
    assert 99_000 < len(scrape.body) <= 100_000
    assert scrape.body.endswith(b'"} 1\n')
    assert (MetricsSource(None, 1)._max_bytes, scrape.duration_s < 5) == (4 << 20, True)


def test_t_wd_07_a_cancelled_scrape_ends_at_once():
    async def run():
        async with serving(None) as hung:
            client = HttpClient()
            task = asyncio.create_task(MetricsSource(client, hung).collect(1))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())


def test_t_wd_08_20_a_page_of_the_sample_node_reaches_the_recorder(sample_nodes):
    async def run(port):
        client = HttpClient()
        source = MetricsSource(client, port)
        scrape = await source.collect(1000)
        await client.aclose()
        return scrape

    with sample_nodes.sample_node(series=50) as node:
        scrape = asyncio.run(run(node.metrics_port))
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    report = recorder.record_page("metrics:2121", scrape.body, 1000)

    assert scrape.up
    assert report.series > 50
    assert report.skipped == {}


def test_every_source_of_a_port_fits_the_bus():
    """The bus's protocol is structural: this is where a mismatch shows."""

    async def run():
        async with serving(b"a 1\n") as port:
            client = HttpClient()
            bus = Coordinator(time.monotonic, lambda: 1000, 0.0)
            bus.add(MetricsSource(client, port))
            reading = await bus.demand(f"metrics:{port}")
            await bus.aclose()
            await client.aclose()
            return reading

    reading = asyncio.run(run())

    assert reading.error is None
    assert reading.payload.body == b"a 1\n"
