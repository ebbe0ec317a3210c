# SPDX-License-Identifier: Apache-2.0
"""The proxy's HTTP interface with types: one method per route, one error class per kind of failure.

The one idea: each answer comes twice, as the document that the proxy sent (for `-o json`) and as
frozen values (for everything else), and every failure is already a sentence for people.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, Self, TypeVar
from urllib.parse import quote

import aiohttp

from fodc_client import resources
from fodc_client.addresses import UNREACHABLE_HINT, normal_url
from fodc_client.errors import (
    BadAnswerError,
    BadUsageError,
    ClientError,
    LostError,
    NotFoundError,
    RefusedError,
    UnreachableError,
)
from fodc_client.reading import Fields, Json
from fodc_client.reasons import with_advice

T = TypeVar("T")
Query = Mapping[str, str | int | None]
_CONNECT_TIMEOUT_S: Final = 10.0
_LONGEST_MESSAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What the proxy said, read (`value`) and as it came (`document`)."""

    value: T
    document: Json


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many nodes an aggregated answer is made of; None where the proxy does not say."""

    asked: int | None
    answered: int | None
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Windows:
    """GET /metrics-windows: the series and who is in them."""

    series: tuple[resources.WindowSeries, ...]
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class Download:
    """An open download: `start_bytes` is where its first byte belongs in the whole."""

    start_bytes: int
    size_bytes: int | None
    sha256: str
    chunks: AsyncIterator[bytes]


class ProxyClient:
    """A connection to one proxy; use it as an async context manager."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """Take the proxy's URL and the longest wait for one answer in seconds."""
        self.url = normal_url(url)
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the pool of connections; nothing is sent yet."""
        self._session = aiohttp.ClientSession(
            headers={"Accept": "application/json"}, auto_decompress=True
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections."""
        assert self._session is not None
        await self._session.close()

    # ---- fleet and configuration

    async def cluster(
        self, *, role: str | None = None, node: str | None = None
    ) -> Answer[resources.Cluster]:
        """GET /cluster, the whole fleet or one role or node of it."""
        query: Query = {"role": role, "node_id": node}
        return await self._read("GET", "/cluster", resources.read_cluster, query=query)

    async def configurations(
        self, *, node: str | None = None, role: str | None = None, diff: bool = False
    ) -> Answer[resources.Configurations]:
        """GET /cluster/config, or its comparison within each role."""
        query: Query = {"node_id": node, "role": role, "diff": "role" if diff else None}
        return await self._read(
            "GET", "/cluster/config", resources.read_configurations, query=query
        )

    async def windows(self, node: str, metric: str, start: str, end: str) -> Answer[Windows]:
        """GET /metrics-windows of one pod between two RFC 3339 times.

        `name` is a hint for proxies that know it; others send everything.
        """
        query: Query = {"start_time": start, "end_time": end, "pod_name": node, "name": metric}
        async with self._exchange("GET", "/metrics-windows", query=query) as response:
            document = await _json(response, self._where(response))
            coverage = _coverage(response.headers)
        series = _understood(resources.read_windows, {"series": document}, self._where(response))
        return Answer(Windows(series, coverage), document)

    # ---- requests

    async def create_request(self, spec: Json) -> Answer[resources.Request]:
        """POST /diagnostics/requests; the same id with an equal spec may be sent again."""
        return await self._read("POST", "/diagnostics/requests", resources.read_request, body=spec)

    async def requests(
        self, *, phase: str | None = None, node: str | None = None
    ) -> Answer[tuple[resources.Request, ...]]:
        """GET /diagnostics/requests, without their targets."""
        query: Query = {"phase": phase, "node_id": node}
        return await self._read(
            "GET", "/diagnostics/requests", resources.read_requests, query=query
        )

    async def request(
        self, request_id: str, *, after_revision: int | None = None, wait_s: float = 0
    ) -> Answer[resources.Request]:
        """GET one request; with `after_revision` wait up to `wait_s` for a newer one."""
        query: Query = {}
        if after_revision is not None:
            query = {"after_revision": after_revision, "wait_seconds": f"{wait_s:g}"}
        path = f"/diagnostics/requests/{quote(request_id, safe='')}"
        return await self._read(
            "GET", path, resources.read_request, query=query, extra_wait_s=wait_s
        )

    async def cancel_request(self, request_id: str, mode: str) -> Answer[resources.Request]:
        """DELETE one request: `stop` keeps what was recorded, `abort` discards it."""
        path = f"/diagnostics/requests/{quote(request_id, safe='')}"
        return await self._read("DELETE", path, resources.read_request, query={"mode": mode})

    # ---- artifacts

    async def artifacts(
        self,
        *,
        node: str | None = None,
        request_id: str | None = None,
        profile: str | None = None,
    ) -> Answer[tuple[resources.Artifact, ...]]:
        """GET /artifacts."""
        query: Query = {"node_id": node, "request_id": request_id, "profile": profile}
        return await self._read("GET", "/artifacts", resources.read_artifacts, query=query)

    async def artifact(self, artifact_id: str) -> Answer[resources.Artifact]:
        """GET the manifest of one artifact."""
        path = f"/artifacts/{quote(artifact_id, safe='')}/manifest"
        return await self._read("GET", path, resources.read_artifact)

    async def delete_artifact(self, artifact_id: str) -> None:
        """DELETE one artifact."""
        async with self._exchange("DELETE", f"/artifacts/{quote(artifact_id, safe='')}"):
            return

    @asynccontextmanager
    async def download(self, artifact_id: str, *, offset_bytes: int = 0) -> AsyncIterator[Download]:
        """Open the bytes of one artifact, from `offset_bytes` on if the proxy can do that.

        There is no limit on the whole, only on each wait for more bytes. Raises UnreachableError
        when the connection ends early.
        """
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if offset_bytes:
            headers["Range"] = f"bytes={offset_bytes}-"
        path = f"/artifacts/{quote(artifact_id, safe='')}"
        async with self._exchange("GET", path, headers=headers, endless=True) as response:
            resumed = response.status == 206
            start = offset_bytes if resumed else 0
            length = response.content_length
            yield Download(
                start_bytes=start,
                size_bytes=None if length is None else start + length,
                sha256=_etag_sha256(response.headers.get("ETag", "")),
                chunks=response.content.iter_chunked(1 << 16),
            )

    # ---- the proxy itself

    async def readiness(self) -> Answer[resources.Readiness]:
        """GET /readyz; "not ready" is an answer too."""
        return await self._read("GET", "/readyz", resources.read_readiness, also_fine=503)

    async def version(self) -> Answer[str]:
        """GET /version."""
        return await self._read("GET", "/version", resources.read_version)

    # ---- one exchange

    async def _read(
        self,
        method: str,
        path: str,
        read: Callable[[Fields], T],
        *,
        query: Query | None = None,
        body: Json = None,
        extra_wait_s: float = 0,
        also_fine: int = 0,
    ) -> Answer[T]:
        async with self._exchange(
            method, path, query=query, body=body, extra_wait_s=extra_wait_s, also_fine=also_fine
        ) as response:
            document = await _json(response, self._where(response))
        return Answer(_understood(read, document, self._where(response)), document)

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
        extra_wait_s: float = 0,
        also_fine: int = 0,
        endless: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request and yield its good response; translate every failure on the way."""
        assert self._session is not None
        limit = aiohttp.ClientTimeout(
            total=None if endless else self._timeout_s + extra_wait_s,
            sock_connect=min(_CONNECT_TIMEOUT_S, self._timeout_s),
            sock_read=self._timeout_s + extra_wait_s,
        )
        try:
            async with self._session.request(
                method,
                self.url + path,
                params=_parameters(query or {}),
                json=body,
                headers=headers,
                timeout=limit,
                allow_redirects=False,
            ) as response:
                if not response.ok and response.status != also_fine:
                    raise _refusal(response.status, await response.read(), self._where(response))
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> UnreachableError:
        hint = UNREACHABLE_HINT
        match error:
            case aiohttp.ClientConnectorError():
                why = _os_reason(error)
                return UnreachableError(f"cannot reach the proxy at {self.url}: {why}. {hint}")
            case aiohttp.ConnectionTimeoutError():
                return UnreachableError(f"the proxy at {self.url} does not answer. {hint}")
            case TimeoutError():
                return LostError(
                    f"the proxy at {self.url} did not answer within {self._timeout_s:g} s. "
                    "It may be busy: try again or raise --timeout."
                )
            case aiohttp.ClientPayloadError():
                return LostError(f"the proxy at {self.url} ended its answer too early.")
            case aiohttp.ClientResponseError():
                return UnreachableError(f"what answers at {self.url} is no HTTP server. {hint}")
            case _:
                return LostError(f"the connection to {self.url} broke: {_broken(error)}.")

    def _where(self, response: aiohttp.ClientResponse) -> str:
        return f"{response.method} {self.url}{response.url.path}"


def _parameters(query: Query) -> list[tuple[str, str]]:
    """Spell out a query; None leaves a name out."""
    return [(name, str(value)) for name, value in query.items() if value is not None]


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


async def _json(response: aiohttp.ClientResponse, where: str) -> Json:
    data = await response.read()
    try:
        document: Json = await asyncio.to_thread(json.loads, data)
    except ValueError:
        begin = data[:60].decode("utf-8", "replace")
        raise BadAnswerError(f"{where}: the answer is no JSON but {begin!r}. {_OTHER}") from None
    return document


_OTHER: Final = "Is --proxy the address of a FODC proxy of this product?"


def _understood(read: Callable[[Fields], T], document: Json, where: str) -> T:
    """Read a document; put the address in front of what could not be read."""
    try:
        return read(Fields(document, ""))
    except BadAnswerError as error:
        raise BadAnswerError(
            f"{where}: {error}. Do the versions differ? See `fodc version`."
        ) from None


def _refusal(status: int, data: bytes, where: str) -> ClientError:
    """Return the error that a bad status means; our proxy says which field, others only a text."""
    reason, field, message = _read_error(data)
    if not reason:
        text = data[:_LONGEST_MESSAGE].decode("utf-8", "replace").strip()
        return BadAnswerError(f"{where}: HTTP {status} {text!r}. {_OTHER}")
    named = f"{field}: {message}" if field and field not in message else message
    match status:
        case 400 | 413 | 422:
            return BadUsageError(f"the proxy refused: {named}")
        case 404:
            return NotFoundError(named)
        case _:
            return RefusedError(f"the proxy refused ({reason}): {with_advice(named, reason)}")


def _read_error(data: bytes) -> tuple[str, str, str]:
    try:
        error = Fields(json.loads(data), "").child("error")
        return (
            error.text("reason"),
            error.text_or("field"),
            error.text_or("message")[:_LONGEST_MESSAGE],
        )
    except (ValueError, BadAnswerError):
        return "", "", ""


def _coverage(headers: Mapping[str, str]) -> Coverage:
    missing = headers.get("X-FODC-Missing", "")
    return Coverage(
        _count(headers.get("X-FODC-Asked")),
        _count(headers.get("X-FODC-Answered")),
        tuple(name.strip() for name in missing.split(",") if name.strip()),
    )


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _etag_sha256(etag: str) -> str:
    found = re.fullmatch(r'"([0-9a-f]{64})"', etag)
    return found[1] if found else ""
