# SPDX-License-Identifier: Apache-2.0
"""One call of the API server through the official client: its deadline, repeats and refusals.

The one idea: a call either answers within its deadline or raises an error that says what the
caller can do; 429, 500 and broken connections are repeated here and nowhere else. Objects stay
what the server sent, so that a field that the client's models do not know is not lost.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeAlias

import aiohttp
import msgspec
from kubernetes.aio.client import ApiClient

from fodc_kube.errors import (
    ClusterError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from fodc_kube.retrying import RETRIED_STATUSES, Backoff, retry_after_s

Object: TypeAlias = dict[str, Any]
"""An object as the API server gives it: foreign data, read by `resources`."""

JSON: Final = "application/json"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class CallMetrics:
    """How many attempts ended how, by verb and kind; and how long they took."""

    calls: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    seconds: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    retries: int = 0

    def note(self, verb: str, kind: str, code: str, took_s: float) -> None:
        """Count one attempt; `code` is ok, the HTTP status or the name of the failure."""
        self.calls[verb, kind, code] += 1
        self.seconds[verb, kind] += took_s


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent; `verb` and `plural` are for metrics and errors."""

    verb: str
    plural: str
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    content_type: str = JSON
    accept: str = JSON
    is_secret: bool = False
    """Whether the server's words could hold what nobody should read in a log."""

    @property
    def what(self) -> str:
        """How an error names it."""
        return f"{self.verb} {self.plural}"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: all attempts together, and one."""

    deadline_s: float
    attempt_s: float


class Calls:
    """Sends calls; owns what was measured of them."""

    def __init__(
        self, api: ApiClient, patience: Patience, backoff: Backoff, chance: Callable[[], float]
    ) -> None:
        self.metrics = CallMetrics()
        self._api = api
        self._patience = patience
        self._backoff = backoff
        self._chance = chance

    async def send(self, call: Call, *, deadline_s: float | None = None) -> Object:
        """Attempt until it is answered, refused for good, or the deadline would pass."""
        ends_at = time.monotonic() + (deadline_s or self._patience.deadline_s)
        number = 0
        while True:
            try:
                return await self._attempt(call, ends_at - time.monotonic())
            except ClusterError as error:
                if error.status not in RETRIED_STATUSES and error.status != 0:
                    raise
                asked_s = retry_after_s(error.word) if error.status else None
                wait_s = self._backoff.wait_s(number, asked_s, self._chance)
                if time.monotonic() + wait_s >= ends_at:
                    raise UnavailableError(
                        f"{call.what}: given up after {number + 1} attempts: {error.message}",
                        status=error.status,
                    ) from error
                _log.debug("%s: again in %.2f s: %s", call.what, wait_s, error.message)
            self.metrics.retries += 1
            number += 1
            await asyncio.sleep(wait_s)

    @asynccontextmanager
    async def lines(self, call: Call, *, lasts_s: float) -> AsyncIterator[aiohttp.StreamReader]:
        """Own the lines of an answer that goes on; raises ClusterError when it breaks.

        The connection is given up after `lasts_s` in any case.
        """
        began, code = time.monotonic(), "ok"
        times = aiohttp.ClientTimeout(total=lasts_s, sock_connect=self._patience.attempt_s)
        try:
            answer = await self._response(call, times)
            try:
                if answer.status >= 400:
                    code = str(answer.status)
                    _refuse(call, answer, await answer.read())
                yield answer.content
            finally:
                answer.close()
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            code = type(error).__name__
            raise ClusterError(f"{call.what}: {code}: {error}") from error
        finally:
            self.metrics.note(call.verb, call.plural, code, time.monotonic() - began)

    async def _attempt(self, call: Call, left_s: float) -> Object:
        began, code = time.monotonic(), "ok"
        attempt_s = max(0.001, min(self._patience.attempt_s, left_s))
        try:
            async with asyncio.timeout(attempt_s):
                answer = await self._response(call, aiohttp.ClientTimeout(total=attempt_s))
                text = await answer.read()
            if answer.status >= 300:
                code = str(answer.status)
                _refuse(call, answer, text)
            plain: Object = msgspec.json.decode(text)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            code = type(error).__name__
            said = "" if call.is_secret else str(error)
            raise ClusterError(f"{call.what}: {code}: {said or 'no answer in time'}") from error
        else:
            return plain
        finally:
            self.metrics.note(call.verb, call.plural, code, time.monotonic() - began)

    async def _response(self, call: Call, times: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """Send by the client's own serializer, which knows the host and the credentials."""
        sent = await self._api.param_serialize(
            call.method,
            call.path,
            query_params=list(call.query.items()),
            header_params={"Accept": call.accept, "Content-Type": call.content_type},
            body=call.body,
            auth_settings=["BearerToken"],
        )
        answer = await self._api.call_api(*sent, _request_timeout=times)
        response: aiohttp.ClientResponse = answer.response
        return response


_BY_STATUS: Final[Mapping[int, type[ClusterError]]] = {
    400: InvalidError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
    422: InvalidError,
}


def refusal(what: str, status: int, message: str, word: str) -> ClusterError:
    """Return the error of ours for a status."""
    kind = _BY_STATUS.get(status, ClusterError)
    return kind(f"{what}: {status} {message}", status=status, word=word)


def _refuse(call: Call, answer: aiohttp.ClientResponse, text: bytes) -> NoReturn:
    """Raise the error of ours for a refusal; the message is the server's own."""
    try:
        said = msgspec.json.decode(text)
        message, word = str(said["message"]), str(said.get("reason", ""))
    except (ValueError, KeyError, TypeError):
        message, word = text.decode("utf-8", "replace")[:300] or str(answer.reason), ""
    if answer.status in RETRIED_STATUSES:
        word = str(answer.headers.get("Retry-After", ""))
    if call.is_secret:
        message = str(answer.reason)
    raise refusal(call.what, answer.status, message, word)
