# SPDX-License-Identifier: Apache-2.0
"""The metrics page of one port of the node.

The one idea: the page stays bytes - the recorder parses them - and a failed scrape is a value with
its own series (`fodc_agent_scrape_up`), so that a gap in the graphs is never silent (G-04). A page
on which nothing is a sample is a failed scrape as well: it is somebody else's.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from fodc_agent.scraping.client import HttpClient, Response
from fodc_agent.scraping.faults import Fault, FetchError, is_final, pause_before_retry_s
from fodc_agent.sources.readings import gauge
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.samples import Sample
from fodc_protocol.redaction import redact_foreign

ATTEMPT_S: Final = 5.0
"""Deadline of one attempt (§6.2)."""
TOTAL_S: Final = 9.0
"""Deadline of all attempts: below the usual interval, so that ticks are not lost (W-14)."""
MAX_PAGE_BYTES: Final = 4 << 20
"""What is read of a page: some 30,000 lines, which is more than a window holds."""

UP: Final = gauge("fodc_agent_scrape_up", "1 when the last scrape of this port gave a page.")
DURATION: Final = gauge(
    "fodc_agent_scrape_duration_seconds", "How long the last scrape took, retries included."
)
BODY: Final = gauge("fodc_agent_scrape_body_bytes", "Size of the last page.")
ATTEMPTS: Final = gauge("fodc_agent_scrape_attempts", "Attempts that the last scrape took.")


@dataclass(frozen=True, slots=True)
class Scrape:
    """One scrape: a page, or a failure; never both, never neither."""

    port: int
    body: bytes | None
    failure: FetchError | None
    attempts: int
    duration_s: float
    cut: bool = False
    """Whether the page was longer than is read; what was read is in `body`."""

    @property
    def up(self) -> bool:
        """Whether there is a page; an empty page is one (T-WD-22)."""
        return self.body is not None

    @property
    def silent(self) -> int:
        """How many attempts were in vain, the last of them because no answer came; else 0."""
        is_hung = self.failure is not None and self.failure.fault is Fault.HUNG
        return self.attempts if is_hung else 0

    @property
    def error(self) -> str:
        """What went wrong, in words; empty when nothing did."""
        return "" if self.failure is None else self.failure.message

    def health(self) -> list[Sample]:
        """Return the series that say how this scrape went."""
        label = ("port", str(self.port))
        return [
            UP.sample(1 if self.up else 0, label),
            DURATION.sample(self.duration_s, label),
            BODY.sample(len(self.body or b""), label),
            ATTEMPTS.sample(self.attempts, label),
        ]


class MetricsSource:
    """Scrapes one port; several ports are several sources, so a slow one delays no other."""

    ttl_s: Final = 0.0
    timeout_s: Final = TOTAL_S + 1.0

    def __init__(
        self,
        client: HttpClient,
        port: int,
        *,
        host: str = "localhost",
        attempt_s: float = ATTEMPT_S,
        max_bytes: int = MAX_PAGE_BYTES,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.port: Final = port
        self.name: Final = f"metrics:{port}"
        self.url: Final = f"http://{host}:{port}/metrics"
        self._client = client
        self._attempt_s = attempt_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._pause = pause

    async def collect(self, at_ms: int) -> Scrape:  # noqa: ARG002 - the bus's signature
        """Return a page or, after the attempts of §6.2 within the total time, the failure."""
        began_s = self._clock()
        attempt = 0
        while True:
            attempt += 1
            left_s = TOTAL_S - (self._clock() - began_s)
            try:
                answer = await self._attempt(min(self._attempt_s, left_s))
            except FetchError as failure:
                pause_s = pause_before_retry_s(attempt, failure)
                left_s = TOTAL_S - (self._clock() - began_s)
                if pause_s is None or pause_s >= left_s:
                    failed = _after(failure, attempt)
                    return Scrape(self.port, None, failed, attempt, self._clock() - began_s)
            else:
                duration_s = self._clock() - began_s
                return Scrape(self.port, answer.body, None, attempt, duration_s, answer.cut)
            await self._pause(pause_s)

    async def _attempt(self, timeout_s: float) -> Response:
        answer = await self._client.get(
            self.url, timeout_s=max(timeout_s, 0.001), max_bytes=self._max_bytes, cut=True
        )
        if answer.cut:
            # The last line is not whole.
            answer = replace(answer, body=answer.body[: answer.body.rfind(b"\n") + 1])
        _check_page(self.url, answer)
        return answer


_EXCERPT_CHARS: Final = 120
_SAMPLE: Final = re.compile(
    rb"^[ \t]*[a-zA-Z_:][a-zA-Z0-9_:]*[ \t]*(?:\{[^\n]*\}[ \t]*|[ \t])[+-]?(?:[0-9.]|[nN]a|[iI]nf)",
    re.MULTILINE,
)
"""How a sample begins, near enough to tell a page of metrics from a page about something else."""


def _check_page(url: str, answer: Response) -> None:
    """Raise FetchError that says what came when it is no page; an empty one is one (T-WD-22)."""
    body = answer.body
    if not body or body.isspace():
        return
    is_markup = body[:64].lstrip().startswith(b"<")
    if is_markup or not _SAMPLE.search(body.replace(b"\r", b"\n") if b"\n" not in body else body):
        kind = redact_foreign(answer.headers.get("content-type", "no content type"), 60)
        excerpt = redact_foreign(body, _EXCERPT_CHARS)
        text = f"{url}: not one sample in {len(body)} bytes of {kind}, which begin: {excerpt}"
        raise FetchError(Fault.CONTENT, text, status=answer.status, excerpt=excerpt)


def _after(failure: FetchError, attempts: int) -> FetchError:
    """Say how often it was tried (T-WD-03)."""
    if is_final(failure):
        return failure
    tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return FetchError(
        failure.fault,
        f"failed after {tries}: {failure.message}",
        status=failure.status,
        headers=failure.headers,
        excerpt=failure.excerpt,
    )
