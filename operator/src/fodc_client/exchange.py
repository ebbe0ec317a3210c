# SPDX-License-Identifier: Apache-2.0
"""One exchange with the proxy over HTTP: a good answer, or an error that is a sentence for people.

The one idea: whatever goes wrong between here and the proxy is told where it is known, once for all
routes, in the words of the command line. Only what talks to the proxy pays for loading this.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import msgspec

from fodc_api.problems import Problem, ProblemDetail
from fodc_api.requests import RequestSpec
from fodc_api.values import Query
from fodc_client import wording
from fodc_client.addresses import OTHER_PRODUCT, UNREACHABLE_HINT
from fodc_client.errors import (
    BadAnswerError,
    BadUsageError,
    ClientError,
    DownloadError,
    LostError,
    NotFoundError,
    RefusedError,
    UnknownNodeError,
    UnreachableError,
)
from fodc_client.names import role_hint
from fodc_client.reasons import with_advice
from fodc_client.ways import Way

_CONNECT_TIMEOUT_S: Final = 10.0
_LONGEST_MESSAGE: Final = 500
_THROUGH: Final = (
    "To reach the proxy through it, the role fodc-proxy-access is needed in the proxy's namespace."
)
_OTHER_WAY: Final = {
    "malformed HTTP response": (
        "The proxy's port may speak TLS: give --service NAMESPACE/https:NAME"
    ),
    "server gave HTTP response to HTTPS client": (
        "The proxy's port is in the clear: give --service NAMESPACE/NAME"
    ),
}
"""What an API server says when it asks in the clear or by TLS and the port speaks the other."""
_TOLD_AS_TEXT: Final = frozenset({400, 401, 403, 503})
_NODE_FIELDS: Final = frozenset({"node_id", "pod_name"})


class Exchange:
    """A pool of connections to one proxy; belongs to the event loop in which it is made."""

    def __init__(self, way: Way, *, timeout_s: float) -> None:
        """Take the way to the proxy and the longest wait for one answer; nothing is sent yet."""
        self._url, self._timeout_s = way.url, timeout_s
        connector = None if way.tls is None else aiohttp.TCPConnector(ssl=way.tls)
        self._session = aiohttp.ClientSession(
            headers={"Accept": "application/json", **way.headers},
            auto_decompress=True,
            connector=connector,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def where(self, response: aiohttp.ClientResponse) -> str:
        """Return method and address of an answer."""
        return f"{response.method} {self._url}{response.url.path}"

    @asynccontextmanager
    async def send(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: RequestSpec | None = None,
        headers: Mapping[str, str] | None = None,
        extra_wait_s: float = 0,
        also_fine: int = 0,
        endless: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request and yield its good response; translate every failure on the way."""
        limit = aiohttp.ClientTimeout(
            total=None if endless else self._timeout_s + extra_wait_s,
            sock_connect=min(_CONNECT_TIMEOUT_S, self._timeout_s),
            sock_read=self._timeout_s + extra_wait_s,
        )
        asked = _parameters(query)
        json = {"Content-Type": "application/json"} if body else {}
        try:
            async with self._session.request(
                method,
                self._url + path,
                params=asked,
                data=msgspec.json.encode(body) if body else None,
                headers={**json, **(headers or {})},
                timeout=limit,
                allow_redirects=False,
            ) as response:
                if not response.ok and response.status != also_fine:
                    data = await response.read()
                    raise _refusal(response, data, self.where(response), asked)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> UnreachableError:
        hint = UNREACHABLE_HINT
        match error:
            case aiohttp.ClientConnectorError():
                why = _os_reason(error)
                return UnreachableError(f"cannot reach the proxy at {self._url}: {why}. {hint}")
            case aiohttp.ConnectionTimeoutError():
                return UnreachableError(f"the proxy at {self._url} does not answer. {hint}")
            case TimeoutError():
                return LostError(
                    f"the proxy at {self._url} did not answer within {self._timeout_s:g} s. "
                    "It may be busy: try again or raise --timeout."
                )
            case aiohttp.ClientPayloadError():
                return LostError(f"the proxy at {self._url} ended its answer too early.")
            case aiohttp.ClientResponseError():
                return UnreachableError(f"what answers at {self._url} is no HTTP server. {hint}")
            case _:
                return LostError(f"the connection to {self._url} broke: {_broken(error)}.")


def _parameters(query: Query | None) -> dict[str, str]:
    """Spell out a query; what has its default is left out."""
    given: dict[str, object] = {} if query is None else msgspec.to_builtins(query)
    return {name: str(value) for name, value in given.items()}


def _broken(error: Exception) -> str:
    """Say how a connection ended; a system's error without its number."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:].rstrip(".")


def _os_reason(error: aiohttp.ClientConnectorError) -> str:
    """Say in lower case why the connection failed, without the address that asyncio adds."""
    cause = error.os_error
    text = cause.strerror or str(cause)
    if text.startswith(("Connect call failed", "Multiple exceptions")):
        text = "connection refused"
    return text[:1].lower() + text[1:]


def _refusal(
    response: aiohttp.ClientResponse, data: bytes, where: str, asked: Mapping[str, str]
) -> ClientError:
    """Return the error that a bad status means; our proxy says which field, others only a text."""
    told = _problem(data)
    if told is None and (message := _of_api_server(data)):
        return RefusedError(f"the API server refused: {message}. {_THROUGH}")
    if told is None:
        return _text_refusal(response, data, where)
    message = told.message[:_LONGEST_MESSAGE]
    match response.status:
        case 404 if told.field in _NODE_FIELDS:
            return UnknownNodeError(asked.get(told.field, ""))
        case 404:
            return NotFoundError(message)
        case 410:
            return DownloadError(message)
        case 400 | 413 | 422:
            hint = role_hint(asked.get("role", "")) if told.field == "role" else ""
            return BadUsageError(wording.of_option(told.field, message) + hint)
        case _:
            advised = with_advice(message, told.reason)
            return RefusedError(f"the proxy refused ({told.reason}): {advised}")


def _text_refusal(response: aiohttp.ClientResponse, data: bytes, where: str) -> ClientError:
    """Return the error of a plain text, as the routes of the existing contract write it."""
    text = data[:_LONGEST_MESSAGE].decode("utf-8", "replace").strip()
    is_told = response.headers.get("X-Content-Type-Options") == "nosniff"
    if is_told and response.content_type == "text/plain" and response.status in _TOLD_AS_TEXT:
        return RefusedError(f"the proxy refused: {text}")
    return BadAnswerError(f"{where}: HTTP {response.status} {text!r}. {OTHER_PRODUCT}")


def _of_api_server(data: bytes) -> str:
    """Return what an API server between says of itself, empty when it is not it that speaks."""
    try:
        said = msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError):
        return ""
    is_status = isinstance(said, dict) and said.get("kind") == "Status"
    message = str(said.get("message", ""))[:_LONGEST_MESSAGE].rstrip(".") if is_status else ""
    hints = (hint for words, hint in _OTHER_WAY.items() if words in message)
    return ". ".join((message, *hints))


def _problem(data: bytes) -> ProblemDetail | None:
    try:
        return msgspec.json.decode(data, type=Problem).error
    except (msgspec.MsgspecError, ValueError):
        return None
