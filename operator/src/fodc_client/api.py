# SPDX-License-Identifier: Apache-2.0
"""The proxy's HTTP interface with types: one method per route, one error class per kind of failure.

The one idea: what is asked and answered are the Structs of `fodc_api`, which the proxy itself
answers with; the bytes are kept beside them for `-o json`, and every failure is already a sentence
for people, in the words of the command line.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar
from urllib.parse import quote

import msgspec

from fodc_api.artifacts import Artifact, Artifacts, ArtifactsQuery
from fodc_api.cluster import Cluster, ClusterQuery
from fodc_api.configuration import ConfigurationQuery, Configurations
from fodc_api.flows import Flows
from fodc_api.incidents import IncidentRecord, Incidents, IncidentsQuery
from fodc_api.proxy import Readiness, Version
from fodc_api.requests import (
    CancelQuery,
    Request,
    RequestQuery,
    Requests,
    RequestSpec,
    RequestsQuery,
)
from fodc_api.values import Query
from fodc_api.windows import WindowSeries, WindowsQuery
from fodc_api.words import CancelMode, IncidentCause, IncidentPhase, RequestPhase
from fodc_client.addresses import OTHER_PRODUCT
from fodc_client.errors import BadAnswerError, ClientError, NotFoundError, UnknownNodeError
from fodc_client.names import no_such_node, node_names
from fodc_client.output import Json
from fodc_client.ways import Way

if TYPE_CHECKING:
    from fodc_client.exchange import Exchange

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What the proxy said, read (`value`) and as it came (`data`)."""

    value: T
    data: bytes

    @property
    def document(self) -> Json:
        """The whole answer, with what a newer proxy says beyond our types."""
        document: Json = msgspec.json.decode(self.data)
        return document


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many nodes an aggregated answer is made of; None where the proxy does not say."""

    asked: int | None
    answered: int | None
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Windows:
    """GET /metrics-windows: the series and who is in them."""

    series: tuple[WindowSeries, ...]
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

    def __init__(self, way: Way, *, timeout_s: float) -> None:
        """Take the way to the proxy and the longest wait for one answer in seconds."""
        self._way = way
        self._timeout_s = timeout_s
        self._opened: Exchange | None = None

    async def __aenter__(self) -> Self:
        """Open the pool of connections; nothing is sent yet."""
        # Help and completion load every verb; only what asks pays for the library that asks.
        from fodc_client.exchange import Exchange  # noqa: PLC0415 - see above

        self._opened = Exchange(self._way, timeout_s=self._timeout_s)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections."""
        await self._exchange.close()

    @property
    def _exchange(self) -> "Exchange":
        assert self._opened is not None, "used outside of its with-block"
        return self._opened

    # ---- fleet and configuration

    async def cluster(self, *, role: str = "", node: str = "") -> Answer[Cluster]:
        """GET /cluster, the whole fleet or one role or node of it."""
        return await self._read("GET", "/cluster", Cluster, ClusterQuery(role, node))

    async def configurations(self, query: ConfigurationQuery) -> Answer[Configurations]:
        """GET /cluster/config: what the nodes were told, as it was, or compared."""
        return await self._read("GET", "/cluster/config", Configurations, query)

    async def flows(self) -> Answer[Flows]:
        """GET /cluster/flows: who writes to and queries whom."""
        return await self._read("GET", "/cluster/flows", Flows, Query())

    async def windows(self, node: str, *, start: str = "") -> Windows:
        """GET /metrics-windows of one node, from an RFC 3339 time on or the whole of it."""
        query = WindowsQuery(pod_name=node, start_time=start)
        async with self._exchange.send("GET", "/metrics-windows", query) as response:
            data = await response.read()
            coverage = _coverage(response.headers)
            where = self._exchange.where(response)
        return Windows(_read_as(tuple[WindowSeries, ...], data, where), coverage)

    # ---- requests

    async def create_request(self, spec: RequestSpec) -> Answer[Request]:
        """POST /diagnostics/requests; the same id with an equal spec may be sent again."""
        return await self._read("POST", "/diagnostics/requests", Request, body=spec)

    async def requests(
        self, *, phase: RequestPhase | None = None, node: str = ""
    ) -> Answer[Requests]:
        """GET /diagnostics/requests, without their targets."""
        return await self._read(
            "GET", "/diagnostics/requests", Requests, RequestsQuery(phase, node)
        )

    async def request(
        self, request_id: str, *, after_revision: int | None = None, wait_s: int = 0
    ) -> Answer[Request]:
        """GET one request; with `after_revision` wait up to `wait_s` for a newer one."""
        waiting = after_revision is not None
        query = RequestQuery(wait_s, after_revision or 0) if waiting else RequestQuery()
        path = f"/diagnostics/requests/{quote(request_id, safe='')}"
        return await self._read("GET", path, Request, query, extra_wait_s=wait_s)

    async def cancel_request(self, request_id: str, mode: CancelMode) -> Answer[Request]:
        """DELETE one request: `stop` fetches what nodes have finished, `abort` discards it."""
        path = f"/diagnostics/requests/{quote(request_id, safe='')}"
        return await self._read("DELETE", path, Request, CancelQuery(mode))

    # ---- artifacts

    async def artifacts(
        self, *, node: str = "", request_id: str = "", profile: str = ""
    ) -> Answer[Artifacts]:
        """GET /artifacts."""
        query = ArtifactsQuery(node, request_id, profile)
        return await self._read("GET", "/artifacts", Artifacts, query)

    async def artifact(self, artifact_id: str) -> Answer[Artifact]:
        """GET the manifest of one artifact."""
        path = f"/artifacts/{quote(artifact_id, safe='')}/manifest"
        return await self._read("GET", path, Artifact)

    async def delete_artifact(self, artifact_id: str) -> None:
        """DELETE one artifact."""
        async with self._exchange.send("DELETE", f"/artifacts/{quote(artifact_id, safe='')}"):
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
        async with self._exchange.send("GET", path, headers=headers, endless=True) as response:
            resumed = response.status == 206
            start = offset_bytes if resumed else 0
            length = response.content_length
            yield Download(
                start_bytes=start,
                size_bytes=None if length is None else start + length,
                sha256=_etag_sha256(response.headers.get("ETag", "")),
                chunks=response.content.iter_chunked(1 << 16),
            )

    # ---- incidents

    async def incidents(
        self,
        *,
        node: str = "",
        phase: IncidentPhase | None = None,
        cause: IncidentCause | None = None,
        limit: int = 200,
    ) -> Answer[Incidents]:
        """GET /incidents."""
        query = IncidentsQuery(node, phase, cause, limit)
        return await self._read("GET", "/incidents", Incidents, query)

    async def incident(self, incident_id: str) -> Answer[IncidentRecord]:
        """GET all that is known of one incident."""
        path = f"/incidents/{quote(incident_id, safe='')}"
        return await self._read("GET", path, IncidentRecord)

    @asynccontextmanager
    async def bundle(self, incident_id: str) -> AsyncIterator[Download]:
        """Open the tar of one incident; there is no limit on the whole, as for `download`."""
        path = f"/incidents/{quote(incident_id, safe='')}/bundle"
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        async with self._exchange.send("GET", path, headers=headers, endless=True) as response:
            length = response.content_length
            yield Download(0, length, "", response.content.iter_chunked(1 << 16))

    # ---- the proxy itself

    async def readiness(self) -> Answer[Readiness]:
        """GET /readyz; "not ready" is an answer too."""
        return await self._read("GET", "/readyz", Readiness, also_fine=503)

    async def version(self) -> Answer[Version]:
        """GET /version."""
        return await self._read("GET", "/version", Version)

    # ---- one exchange

    async def _read(
        self,
        method: str,
        path: str,
        kind: type[T],
        query: Query | None = None,
        *,
        body: RequestSpec | None = None,
        extra_wait_s: float = 0,
        also_fine: int = 0,
    ) -> Answer[T]:
        try:
            async with self._exchange.send(
                method, path, query, body=body, extra_wait_s=extra_wait_s, also_fine=also_fine
            ) as response:
                data, where = await response.read(), self._exchange.where(response)
        except UnknownNodeError as error:
            raise await self._with_suggestions(error) from None
        return Answer(_read_as(kind, data, where), data)

    async def _with_suggestions(self, error: UnknownNodeError) -> NotFoundError:
        """Return the error with the names that come close, where the proxy tells names at all."""
        try:
            nodes = (await self.cluster()).value.nodes
        except ClientError:
            return error
        return no_such_node([error.name], node_names(nodes))


def _read_as(kind: type[T], data: bytes, where: str) -> T:
    """Read an answer; the error has the address and what could not be read."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise BadAnswerError(
            f"{where}: {error}. Do the versions differ? See `fodc version`."
        ) from None
    except (msgspec.DecodeError, ValueError):
        begin = data[:60].decode("utf-8", "replace")
        raise BadAnswerError(
            f"{where}: the answer is no JSON but {begin!r}. {OTHER_PRODUCT}"
        ) from None


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
