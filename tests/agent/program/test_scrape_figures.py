# SPDX-License-Identifier: Apache-2.0
"""How a scrape went is recorded with each scrape, so that a bad page is seen at once (G-04)."""

import asyncio
import time

from fodc_agent.bus.coordinator import Coordinator, Reading
from fodc_agent.node_state import Health, conditions_of
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
            Coordinator(lambda: 0.0, lambda: 0, 0.0),
            self.recorder,
            on_change=lambda: None,
        )
        self.at_ms = 0

    def take(self, body=None, failure=None, duration_s=0.5, cut=False) -> None:
        scrape = Scrape(2121, body, failure, 1, duration_s, cut)
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


def test_a21_a_page_that_was_cut_is_told_until_one_comes_whole():
    one = scraped()
    one.take(b"a 1\nb 2\n", cut=True)
    assert (one.value("up"), one.value("cut"), one.value("samples")) == (1, 1, 2)
    text = "the page is longer than is read of one: what lies beyond 8 bytes is left out"
    assert one.recording.cuts == {"metrics:2121": text}
    (told,) = conditions_of(Health(pages_cut=one.recording.cuts))
    assert (told.type, told.reason) == ("PageWhole", "TooLarge")
    assert told.message == f"metrics:2121: {text}"
    one.take(b"a 1\n")
    assert (one.value("cut"), one.recording.cuts) == (0, {})


def test_a21_more_new_lines_than_a_page_may_bring_are_left_and_counted():
    one = scraped(least_series=64)
    one.take(b"".join(b'm{id="%d"} 1\n' % number for number in range(60_000)))
    unread = one.value("lines_unread")
    assert unread > 30_000
    assert one.value("samples") + one.value("samples_refused") + unread == 60_000
    assert "are new and more than one page may bring" in one.recording.cuts["metrics:2121"]


def test_a21_fresh_series_with_every_page_cost_bounded_time():
    one = scraped(least_series=64)
    costs_s = []
    for page in range(4):
        lines = (b'm{id="%d-%d"} 1\n' % (page, number) for number in range(60_000))
        begun_s = time.thread_time()
        one.take(b"".join(lines))
        costs_s.append(time.thread_time() - begun_s)
    assert max(costs_s[1:]) < 1.5
