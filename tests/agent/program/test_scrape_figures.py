# SPDX-License-Identifier: Apache-2.0
"""How a scrape went is recorded with each scrape, so that a bad page is seen at once (G-04)."""

import asyncio

from fodc_agent.bus.coordinator import Coordinator, Reading
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.recording import Recording
from fodc_agent.scraping.faults import Fault, FetchError
from fodc_agent.sources.banyandb import Scrape

REFUSED = FetchError(Fault.REFUSED, "127.0.0.1:2121: refused")


class Scraped:
    """A recording that is given scrapes of port 2121 one second apart."""

    def __init__(self, **recorder) -> None:
        self.recorder = Recorder(budget_bytes=1 << 20, interval_s=1, **recorder)
        self.recording = Recording(
            Coordinator(lambda: 0.0, lambda: 0, lambda: 0.0),
            self.recorder,
            on_change=lambda: None,
            on_configuration=lambda _: None,
        )
        self.at_ms = 0

    def take(self, body=None, failure=None, duration_s=0.5) -> None:
        scrape = Scrape(2121, body, failure, 1, duration_s)
        self._give(Reading("metrics:2121", self._next_ms(), scrape, None, duration_s, 0.0))

    def take_nothing(self) -> None:
        text = "the deadline of 10 s passed"
        self._give(Reading("metrics:2121", self._next_ms(), None, text, 10.0, 0.0))

    def _next_ms(self) -> int:
        self.at_ms += 1000
        return self.at_ms

    def _give(self, reading: Reading) -> None:
        # What the task of `record` does with each reading.
        asyncio.run(self.recording._take_or_note(reading))

    def value(self, name, **labels):
        return self.recorder.value(f"fodc_agent_scrape_{name}", {"port": "2121", **labels})

    def history(self, name):
        pieces = self.recorder.window(0, 1 << 60, frozenset({f"fodc_agent_scrape_{name}"}))
        return [
            (at_ms, value)
            for piece in pieces
            for at_ms, value in zip(piece.timestamps_ms, piece.values, strict=True)
        ]


def scraped(**recorder) -> Scraped:
    async def made() -> Scraped:
        return Scraped(**recorder)

    return asyncio.run(made())


def test_scrape_up_is_there_from_the_first_scrape_and_changes_with_each():
    one = scraped()
    one.take(failure=REFUSED)
    assert one.value("up") == 0
    one.take(b"a 1\n")
    assert one.value("up") == 1
    one.take(failure=REFUSED)
    one.take_nothing()
    one.take(b"a 1\n")
    assert one.history("up") == [(1000, 0), (2000, 1), (3000, 0), (4000, 0), (5000, 1)]


def test_duration_size_and_attempts_are_those_of_the_last_scrape():
    one = scraped()
    one.take(b"a 1\n", duration_s=0.25)
    one.take(b"a 1\nb 2\n", duration_s=0.75)
    assert one.history("duration_seconds") == [(1000, 0.25), (2000, 0.75)]
    assert (one.value("body_bytes"), one.value("attempts"), one.value("samples")) == (8, 1, 2)


def test_a_bad_page_shows_in_figures_although_the_port_is_up():
    one = scraped()
    one.take(b"a 1\n<html>no page</html>\nb x\n1c 3\n")
    one.take(b"a 1\nb y\n")
    assert (one.value("up"), one.value("samples")) == (1, 1)
    assert one.history("lines_skipped") == [(1000, 3), (2000, 1)]
    assert one.value("lines_skipped_total", reason="bad_value") == 2
    assert one.value("lines_skipped_total", reason="bad_name") == 2


def test_a_good_page_skips_nothing_and_says_so():
    one = scraped()
    one.take(b"a 1\na 2\n")
    assert (one.value("lines_skipped"), one.value("duplicates")) == (0, 1)
    assert one.value("lines_skipped_total") is None


def test_series_beyond_the_limit_are_told_by_a_source_that_has_room_of_its_own():
    one = scraped(max_series=2, least_series=16)
    one.take(b"".join(b"a%d 1\n" % number for number in range(20)))
    assert (one.value("samples"), one.value("samples_refused"), one.value("up")) == (16, 4, 1)
