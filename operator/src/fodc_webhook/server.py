# SPDX-License-Identifier: Apache-2.0
"""The server by which reviews come in to kopf's admission, bounded before a body is read.

The one idea: whatever happens here, the object is created. How many bodies and bytes there are at a
time is bounded, every answer has a deadline, and who does not fit in, comes malformed or meets a
fault of ours is answered "allowed" with the reason in a warning, a metric and an Event.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import msgspec

from fodc_kube.conditions import Happened
from fodc_webhook.decide import Decision
from fodc_webhook.exchange import Answer, Request
from fodc_webhook.figures import Figures
from fodc_webhook.review import (
    REVIEW_KIND,
    REVIEW_VERSION,
    UNSEEN_POD,
    Review,
    Reviewed,
    ReviewError,
    answer,
    encoded_patch,
    read_review,
    uid_in,
)
from fodc_webhook.reviews import Tell, about

PATHS: Final = frozenset({"/inject", "/stamp"})
"""By what the API server is to ask about: pods, DiagnosticRequests."""
BUDGET_S: Final = 1.0
"""For one answer. The API server waits twice as long, then creates the pod without us."""
OVERLOADED_S: Final = 0.25
"""For the start of a review that is not looked at, which holds the id that an answer must name."""
LOG_S: Final = 1.0
_CURRENT: ContextVar["Asked"] = ContextVar("review")
_NOT_FOUND: Final = Answer(
    b"POST /inject or /stamp\n", HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8"
)
_FAULT: Final = "a fault of the webhook; its log has the cause"
_log = logging.getLogger(__name__)

Fn: TypeAlias = Callable[[Any], Awaitable[Any]]
"""kopf's function that lets the handlers answer a review; it knows no deadline."""


class Excuse:
    """Why a review was answered without looking at its object: words of the metric."""

    NOT_READY: Final = "NotReady"
    OVERLOADED: Final = "Overloaded"
    TOO_LARGE: Final = "TooLarge"
    MALFORMED: Final = "Malformed"
    TOO_SLOW: Final = "TooSlow"
    DISCONNECTED: Final = "Disconnected"
    NOT_OURS: Final = "NotOurs"
    FAILED: Final = "InjectionFailed"


ALLOWED: Final = "Allowed"
"""Outcome in the metric of reviews whose object was not looked at."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be there at a time."""

    bodies: int = 32
    """Reviews that are read or decided."""
    bytes: int = 6 * 1024 * 1024
    """Of all bodies together."""
    body_bytes: int = 2 * 1024 * 1024
    """Of one; etcd takes no greater pod than one and a half."""


@dataclass(slots=True)
class Asked:
    """A review on its way through kopf, and what was decided about it."""

    review: Reviewed
    decision: Decision | None = None


@dataclass(slots=True)
class _Seen:
    """How far a request has been read."""

    uid: str = ""
    review: Reviewed | None = None
    held_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Reply:
    """An answer and how it is counted."""

    body: bytes
    outcome: str
    reason: str = ""
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _Why:
    """Why a pod is let in unseen; no exception, whose traceback holds the body that was read."""

    reason: str
    text: str


class _ExcusedError(Exception):
    """The pod is let in unseen."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.why = _Why(reason, text)


def current() -> Asked:
    """Return the review that the running handler is asked about."""
    return _CURRENT.get()


class Admission:
    """`serve` is for kopf's admission; `handle` answers what comes in.

    The listener lives longer than kopf, which ends when the API server is away: whoever asks while
    kopf is not there is answered all the same.
    """

    def __init__(
        self,
        figures: Figures,
        tell: Tell,
        missing: Callable[[], str],
        *,
        bounds: Bounds | None = None,
        budget_s: float = BUDGET_S,
        audit: Callable[[Mapping[str, str | int]], None] = lambda _: None,
    ) -> None:
        """Excuse pods while `missing` says what has not been read yet."""
        self.is_draining = False
        """Whether connections are closed after their answer: this replica is about to end."""
        self._figures = figures
        self._tell = tell
        self._missing = missing
        self._bounds = bounds or Bounds()
        self._budget_s = budget_s
        self._audit = audit
        self._fn: Fn | None = None
        self._bytes = 0
        self._logged: dict[str, float] = {}

    @property
    def is_connected(self) -> bool:
        """Whether kopf has its handlers ready."""
        return self._fn is not None

    async def serve(self, fn: Fn) -> AsyncGenerator[Mapping[str, Any], None]:
        """Take reviews to the handlers until kopf ends."""
        self._fn = fn
        try:
            yield {}
            await asyncio.Event().wait()
        finally:
            self._fn = None

    # ---- one request --------------------------------------------------------------------------

    async def handle(self, request: Request) -> Answer:
        """Answer one request; whatever it is, the pod may be created."""
        if request.path not in PATHS or request.method != "POST":
            return _NOT_FOUND
        began, figures = time.perf_counter(), self._figures
        figures.in_flight += 1
        try:
            reply = await self._reply(request)
        finally:
            figures.in_flight -= 1
        took_s = time.perf_counter() - began
        figures.answered(reply.outcome, reply.reason, took_s, dry_run=reply.is_dry_run)
        return Answer(reply.body, is_last=self.is_draining)

    async def _reply(self, request: Request) -> _Reply:
        seen = _Seen()
        try:
            async with asyncio.timeout(self._budget_s):
                return await self._answered(request, seen)
        except TimeoutError:
            why = _Why(Excuse.TOO_SLOW, f"no answer within {self._budget_s:g} s")
        except ReviewError as error:
            seen.uid = error.uid
            why = _Why(Excuse.MALFORMED, error.message)
        except _ExcusedError as error:
            why = error.why
        except OSError as error:
            why = _Why(Excuse.DISCONNECTED, f"the connection was lost: {error}")
        except Exception:  # noqa: BLE001 - the pod is created whatever we did wrong
            _log.exception("a review was not answered")
            why = _Why(Excuse.FAILED, _FAULT)
        finally:
            self._bytes -= seen.held_bytes
        return self._excused(seen, why)

    async def _answered(self, request: Request, seen: _Seen) -> _Reply:
        if self._figures.in_flight > self._bounds.bodies:
            raise await _overloaded(request, seen)
        body = await self._body(request, seen)
        whole = json_of(body)
        review = seen.review = read_review(whole, seen.uid)
        if review is None:
            return _Reply(answer(seen.uid), ALLOWED, Excuse.NOT_OURS)
        if isinstance(review, Review) and (why := self._missing()):
            raise _ExcusedError(Excuse.NOT_READY, why)
        if self._fn is None:
            raise _ExcusedError(Excuse.NOT_READY, "the handlers have not begun yet")
        return await self._handled(self._fn, whole, review)

    async def _body(self, request: Request, seen: _Seen) -> bytearray:
        whole, bounds = bytearray(), self._bounds
        while piece := await request.piece():
            whole += piece
            seen.uid = seen.uid or uid_in(piece)
            seen.held_bytes += len(piece)
            self._bytes += len(piece)
            if max(request.told_bytes, len(whole)) > bounds.body_bytes:
                raise _ExcusedError(Excuse.TOO_LARGE, "the pod is too large to look at")
            if self._bytes > bounds.bytes:
                raise _ExcusedError(Excuse.OVERLOADED, "too many large pods at once")
        return whole

    async def _handled(self, fn: Fn, whole: Mapping[str, Any], review: Reviewed) -> _Reply:
        """Let kopf's handlers decide; their warnings and refusals are in kopf's response."""
        asked = Asked(review)
        token = _CURRENT.set(asked)
        try:
            said = await fn(_for_kopf(whole["request"], review))
        finally:
            _CURRENT.reset(token)
        decision, response = asked.decision, said["response"]
        if decision is None or response["allowed"] is bool(decision.refusal):
            _log.error("kopf's handlers gave no answer about %s", review)
            raise _ExcusedError(Excuse.FAILED, _FAULT)
        if decision.deed is not None:
            self._audit(decision.deed)
        if decision.steps:
            response |= encoded_patch(decision.steps)
        return _Reply(
            msgspec.json.encode(said), decision.outcome, decision.reason, review.is_dry_run
        )

    # ---- pods that are let in unseen ----------------------------------------------------------

    def _excused(self, seen: _Seen, why: _Why) -> _Reply:
        """Let the pod in unseen, and say why to whoever creates it."""
        review = seen.review
        is_dry_run = review is not None and review.is_dry_run
        self._log_once_a_second(why)
        if review is not None and not is_dry_run:
            told = f"{review} was let in unseen: {why.text}"
            self._tell(about(review.namespace), Happened(why.reason, told, is_warning=True))
        unseen = UNSEEN_POD if review is None else review.unseen
        warning = f"fodc: {unseen}: {why.text}"
        return _Reply(answer(seen.uid, warnings=[warning]), ALLOWED, why.reason, is_dry_run)

    def _log_once_a_second(self, why: _Why) -> None:
        """Whoever can reach the port could fill the log; the metric counts all."""
        now_s = time.monotonic()
        if now_s - self._logged.get(why.reason, -LOG_S) >= LOG_S:
            self._logged[why.reason] = now_s
            _log.warning("an object was let in unseen: %s: %s", why.reason, why.text)


async def _overloaded(request: Request, seen: _Seen) -> _ExcusedError:
    """Read no more than what has come already, for the id of the review."""
    try:
        async with asyncio.timeout(OVERLOADED_S):
            seen.uid = uid_in(await request.piece())
    except TimeoutError:
        pass
    return _ExcusedError(Excuse.OVERLOADED, "too many pods at once")


def json_of(body: bytes | bytearray) -> Mapping[str, Any]:
    """Read a body; raises ReviewError for one that is no JSON object."""
    try:
        whole = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raise ReviewError("the body is no JSON", uid_in(body)) from None
    if not isinstance(whole, dict):
        raise ReviewError("the body is no AdmissionReview with a request")
    return whole


def _for_kopf(request: Mapping[str, Any], review: Reviewed) -> Mapping[str, Any]:
    """Return what kopf has to know of a review, to find its handler and to name the object.

    It copies and compares the objects that it is given and keeps by their ids those that are there
    already, each for ever, while our handlers read the review itself.
    """
    known = ("uid", "resource", "subResource", "operation", "dryRun")
    metadata = {"name": review.name, "namespace": review.namespace}
    told = {
        **{name: request[name] for name in known if name in request},
        "userInfo": {},
        "object": {"metadata": metadata},
    }
    return {"apiVersion": REVIEW_VERSION, "kind": REVIEW_KIND, "request": told}
