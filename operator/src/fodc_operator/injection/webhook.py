# SPDX-License-Identifier: Apache-2.0
"""The admission webhook: a review of a pod comes in, an answer goes out that lets the pod in.

The one idea: whatever happens here, the pod is created. Every way out of the handler is an answer
of "allowed" within a second, and what went wrong is a warning, a metric, a line of the log and an
Event. Only a policy that says so itself has a pod refused, for a reason that is the pod's own.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from aiohttp import web

from fodc_kube import kinds
from fodc_kube.conditions import Happened
from fodc_kube.events import reference
from fodc_operator.injection.attempt import Book, attempt, denies
from fodc_operator.injection.known import Known, View
from fodc_operator.injection.marks import ENABLED, OPT_IN_LABEL
from fodc_operator.injection.outcome import Injection, Outcome, Pod, SkipReason
from fodc_operator.injection.patch import json_patch
from fodc_operator.injection.review import Review, ReviewError, answer, read_review, uid_in
from fodc_operator.injection.second_chance import SecondChances
from fodc_operator.injection.skipping import SILENT, skipped
from fodc_operator.injection.webhook_figures import WebhookFigures
from fodc_operator.resources.fodc_injection import Policy
from fodc_operator.resources.kinds import FODC_INJECTION

PATH: Final = "/inject"
MOST_BYTES: Final = 4 * 1024 * 1024
"""Of a review; the API server itself takes no greater object than three."""
MOST_IN_FLIGHT: Final = 64
BUDGET_S: Final = 1.0
"""For one answer. The API server waits twice as long, then creates the pod without us."""
KEEPALIVE_S: Final = 120.0
"""API servers close idle connections after 90 s; whoever closes first can cost the other a call."""
STOP_S: Final = 2.0
LOG_S: Final = 1.0
_JSON: Final = "application/json"
_FAULT: Final = "a fault of the operator; its log has the cause"
_OURS: Final = frozenset(
    {SkipReason.FAILED, SkipReason.REFUSED_BEFORE, SkipReason.BAD_POLICY, SkipReason.SUSPENDED}
)
"""Not the pod's doing: told in an Event."""
_log = logging.getLogger(__name__)

Tell: TypeAlias = Callable[[Mapping[str, Any], Happened], None]
Attempt: TypeAlias = Callable[[Pod, Book, Mapping[str, str], tuple[int, int]], Injection]


class Excuse:
    """Why a review was answered without looking at its pod: words of the metric."""

    NOT_SYNCED: Final = "NotSynced"
    OVERLOADED: Final = "Overloaded"
    TOO_LARGE: Final = "TooLarge"
    MALFORMED: Final = "Malformed"
    TOO_SLOW: Final = "TooSlow"
    NOT_A_POD: Final = "NotAPod"
    FAILED: Final = SkipReason.FAILED.value


ALLOWED: Final = "Allowed"
"""Outcome in the metric of reviews whose pod was not looked at."""
DENIED: Final = "Denied"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and how it is counted."""

    body: bytes
    outcome: str
    reason: str = ""
    is_dry_run: bool = False


class Webhook:
    """One listener; belongs to one event loop."""

    def __init__(
        self,
        known: Known,
        figures: WebhookFigures,
        tell: Tell,
        *,
        attempt: Attempt = attempt,
        clock_s: Callable[[], float] = time.monotonic,
        most_in_flight: int = MOST_IN_FLIGHT,
        budget_s: float = BUDGET_S,
    ) -> None:
        self.address = ""
        self._known = known
        self._figures = figures
        self._tell = tell
        self._attempt = attempt
        self._clock_s = clock_s
        self._most_in_flight = most_in_flight
        self._budget_s = budget_s
        self._chances = SecondChances()
        self._logged: dict[str, float] = {}
        app = web.Application()
        app.router.add_post(PATH, self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=STOP_S, keepalive_timeout=KEEPALIVE_S
        )
        self._site: web.TCPSite | None = None

    # ---- life ---------------------------------------------------------------------------------

    async def start(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Listen; port 0 takes a free one. Raises OSError for an address that cannot be had."""
        await self._runner.setup()
        self._site = web.TCPSite(
            self._runner, host or None, port, ssl_context=context, backlog=1024
        )
        await self._site.start()
        named = self._runner.addresses[0]
        self.address = f"{host or '127.0.0.1'}:{named[1]}"

    async def stop(self) -> None:
        """Stop listening; answers that are being made may be finished."""
        self.address = ""
        await self._runner.cleanup()

    # ---- one request --------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.Response:
        began, figures = time.perf_counter(), self._figures
        figures.in_flight += 1
        try:
            reply = await self._reply(request)
        finally:
            figures.in_flight -= 1
        took_s = time.perf_counter() - began
        figures.answered(reply.outcome, reply.reason, took_s, dry_run=reply.is_dry_run)
        return web.Response(body=reply.body, content_type=_JSON)

    async def _reply(self, request: web.Request) -> Reply:
        seen = _Seen()
        try:
            async with asyncio.timeout(self._budget_s):
                body = await _body(request)
                seen.uid = uid_in(body)
                if self._figures.in_flight > self._most_in_flight:
                    return self._excused(seen, Excuse.OVERLOADED, "too many pods at once")
                return await self._answered(body, seen)
        except TimeoutError:
            text = f"no answer within {self._budget_s:g} s"
            return self._excused(seen, Excuse.TOO_SLOW, text)
        except ReviewError as error:
            seen.uid = error.uid
            return self._excused(seen, Excuse.MALFORMED, error.message)
        except _TooLargeError as error:
            seen.uid = error.uid
            return self._excused(seen, Excuse.TOO_LARGE, "the pod is too large to look at")
        except Exception:  # noqa: BLE001 - the pod is created whatever we did wrong
            _log.exception("a review was not answered")
            return self._excused(seen, Excuse.FAILED, _FAULT)

    async def _answered(self, body: bytes, seen: "_Seen") -> Reply:
        review = seen.review = read_review(body)
        if review is None:
            return Reply(answer(seen.uid), ALLOWED, Excuse.NOT_A_POD)
        missing = self._known.missing
        if missing:
            return self._excused(seen, Excuse.NOT_SYNCED, missing)
        try:
            view, made = await self._made(review)
            return self._told(review, view, made)
        except Exception:  # noqa: BLE001 - said on the pod, in the log and in an Event
            _log.exception("no agent for pod %s in %s", review.name, review.namespace)
            return self._told(review, View(), skipped(review.pod, SkipReason.FAILED, _FAULT))

    async def _made(self, review: Review) -> tuple[View, Injection]:
        """Attempt by memory, and once more after a look where memory may be behind."""
        view = self._known.view(review.namespace)
        made = self._try(review, view)
        is_unchosen = made.reason in {SkipReason.NOT_SELECTED, SkipReason.UNKNOWN_POLICY}
        if view.labels is None or is_unchosen:
            view = await self._known.look(review.namespace)
            if view.labels is None:
                # The API server asks only about pods that somebody opted in.
                view = View(view.book, {OPT_IN_LABEL: ENABLED})
            made = self._try(review, view)
        return view, made

    def _try(self, review: Review, view: View) -> Injection:
        version = self._known.server_version
        made = self._attempt(review.pod, view.book, view.labels or {}, version)
        if made.outcome is not Outcome.INJECTED:
            return made
        now_s, key = self._clock_s(), (review.pod, review.namespace)
        if self._chances.was_refused(*key, now_s):
            self._chances.note_refused(*key, now_s, dry_run=review.is_dry_run)
            text = "with an agent the pod was not created, so it is let in as it came"
            return skipped(review.pod, SkipReason.REFUSED_BEFORE, text, policy=made.policy)
        self._chances.note_injected(*key, now_s, dry_run=review.is_dry_run)
        return made

    def _told(self, review: Review, view: View, made: Injection) -> Reply:
        reason = made.reason.value if made.reason else ""
        sentence = "" if made.reason in SILENT else made.message
        if made.reason in _OURS and not review.is_dry_run:
            policy, text = view.book.named(made.policy), f"pod {review.name}: {made.message}"
            self._tell(_about(review.namespace, policy), Happened(reason, text, is_warning=True))
        if denies(view.book, made):
            text = f"FodcInjection {made.policy} (onError: Deny): {made.message}"
            return Reply(answer(review.uid, refusal=text), DENIED, reason, review.is_dry_run)
        warnings = [f"fodc: {text}" for text in (sentence, made.note) if text]
        steps = json_patch(review.pod, made.pod)
        body = answer(review.uid, steps=steps, warnings=warnings)
        return Reply(body, made.outcome.value, reason, review.is_dry_run)

    def _excused(self, seen: "_Seen", reason: str, text: str) -> Reply:
        """Let the pod in unseen, and say why to whoever creates it."""
        review, is_dry_run = seen.review, seen.review is not None and seen.review.is_dry_run
        self._log_once_a_second(reason, text)
        if review is not None and not is_dry_run:
            told = f"pod {review.name} was let in unseen: {text}"
            about = _about(review.namespace, None)
            self._tell(about, Happened(reason, told, is_warning=True))
        warning = f"fodc: no agent was put into this pod: {text}"
        return Reply(answer(seen.uid, warnings=[warning]), ALLOWED, reason, is_dry_run)

    def _log_once_a_second(self, reason: str, text: str) -> None:
        """Whoever can reach the port could fill the log; the metric counts all."""
        now_s = time.monotonic()
        if now_s - self._logged.get(reason, -LOG_S) >= LOG_S:
            self._logged[reason] = now_s
            _log.warning("a pod was let in unseen: %s: %s", reason, text)


@dataclass(slots=True)
class _Seen:
    """How far a request has been read."""

    uid: str = ""
    review: Review | None = None


def _about(namespace: str, policy: Policy | None) -> Mapping[str, Any]:
    """Return what an Event is about; a namespace's stands in the namespace itself."""
    if policy is None:
        return reference(kinds.NAMESPACE, namespace, namespace)
    return reference(FODC_INJECTION, namespace, policy.name, policy.uid)


class _TooLargeError(Exception):
    """The body is greater than any pod; `uid` is what its start says."""

    def __init__(self, uid: str) -> None:
        super().__init__(uid)
        self.uid = uid


async def _body(request: web.Request) -> bytes:
    whole = bytearray()
    async for chunk in request.content.iter_any():
        whole += chunk
        if len(whole) > MOST_BYTES:
            raise _TooLargeError(uid_in(bytes(whole[:1024])))
    return bytes(whole)
