# SPDX-License-Identifier: Apache-2.0
"""The few verbs that our programs need, on objects as plain mappings.

The one idea: every kind is spoken to in the same way, by its place; how a call is sent, repeated
and refused stands in `calls`.
"""

import random
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import msgspec
from kubernetes.aio.client import ApiClient

from fodc_kube import kinds
from fodc_kube.calls import (
    JSON,
    Call,
    CallMetrics,
    Calls,
    Object,
    Patience,
    refusal,
)
from fodc_kube.errors import ClusterError, NotFoundError, UnavailableError
from fodc_kube.kinds import Kind
from fodc_kube.retrying import Backoff

__all__ = ["CallMetrics", "Cluster", "EventType", "Listed", "Object", "Watched"]

MERGE_PATCH: Final = "application/merge-patch+json"
_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
JSON_PATCH: Final = "application/json-patch+json"
PAGE: Final = 500
ATTEMPT_S: Final = 5.0
DEADLINE_S: Final = 15.0
WATCH_SLACK_S: Final = 5.0
LOG_S: Final = 15.0
_NOTE_LENGTH: Final = 1024
_SECRETS: Final = (kinds.SECRET, kinds.TOKEN_REVIEW)


class EventType(StrEnum):
    """The two types that Kubernetes knows."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Listed:
    """Objects and the version of the collection that they are of."""

    items: Sequence[Object]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Watched:
    """One event of a watch: ADDED, MODIFIED, DELETED, or BOOKMARK which only has a version."""

    type: str
    object: Object

    @property
    def resource_version(self) -> str:
        """Where a watch goes on after this event."""
        metadata = self.object.get("metadata")
        return str(metadata.get("resourceVersion", "")) if isinstance(metadata, dict) else ""


class Cluster:
    """The API server; every method may raise ClusterError and ends within `deadline_s`."""

    def __init__(
        self,
        api: ApiClient,
        *,
        manager: str = "fodc",
        identity: str = "",
        deadline_s: float = DEADLINE_S,
        attempt_s: float = ATTEMPT_S,
        backoff: Backoff | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._manager = manager
        self._identity = identity
        self._fence: Callable[[], str] = lambda: ""
        patience = Patience(deadline_s, attempt_s)
        self._calls = Calls(api, patience, backoff or Backoff(), chance)

    def fenced(self, fence: Callable[[], str]) -> "Cluster":
        """Return the same API server for one who may not always write.

        `fence` is asked before each write; what it returns is why it is not sent.
        """
        other = copy(self)
        other._fence = fence  # noqa: SLF001 - of the same class
        return other

    @property
    def metrics(self) -> CallMetrics:
        """How calls ended and how long they took."""
        return self._calls.metrics

    # ---- reading ------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return an object, None when there is none."""
        try:
            return await self._calls.send(_call("get", kind, namespace, name, method="GET"))
        except NotFoundError:
            return None

    async def exists(self, kind: Kind, namespace: str, name: str) -> bool:
        """Say whether there is an object, without asking for what is in it."""
        call = _call("get", kind, namespace, name, method="GET")
        try:
            await self._calls.send(replace(call, accept=_METADATA_ONLY))
        except NotFoundError:
            return False
        return True

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        keep: Callable[[Object], Object] | None = None,
        deadline_s: float | None = None,
    ) -> Listed:
        """Return all objects of a namespace, or of all namespaces, page by page.

        Each has its apiVersion and kind, which the server leaves out in lists; `keep` says what of
        it is kept in memory. `deadline_s` is of one page.
        """
        items: list[Object] = []
        rest = ""
        while True:
            query = _query(label_selector, field_selector, limit=str(PAGE), **{"continue": rest})
            call = _call("list", kind, namespace, method="GET", query=query)
            page = await self._calls.send(call, deadline_s=deadline_s)
            try:
                found = (_whole(kind, one) for one in page["items"] or ())
                items += found if keep is None else map(keep, found)
                rest = page["metadata"].get("continue", "")
                if not rest:
                    return Listed(items, page["metadata"].get("resourceVersion", ""))
            except (KeyError, TypeError, AttributeError) as error:
                raise ClusterError(f"{call.what}: the answer is no list of objects") from error

    @asynccontextmanager
    async def watch(
        self,
        kind: Kind,
        namespace: str | None,
        resource_version: str,
        *,
        label_selector: str = "",
        field_selector: str = "",
        lasts_s: int,
    ) -> AsyncIterator[AsyncIterator[Watched]]:
        """Own the events after a version; they end after `lasts_s` at the latest.

        Raises ClusterError when the connection breaks, ExpiredError when the version is forgotten.
        """
        query = _query(
            label_selector,
            field_selector,
            watch="true",
            resourceVersion=resource_version,
            allowWatchBookmarks="true",
            timeoutSeconds=str(lasts_s),
        )
        call = _call("watch", kind, namespace, method="GET", query=query)
        async with self._calls.lines(call, lasts_s=lasts_s + WATCH_SLACK_S) as lines:
            yield _events(call.what, lines)

    async def log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        is_previous: bool,
        lines: int,
        most_bytes: int,
    ) -> bytes:
        """Return the last lines that a container wrote, of the one before when `is_previous`.

        Raises NotFoundError and other ClusterErrors; what is more than `most_bytes` is not read.
        """
        query = {
            "container": container,
            "tailLines": str(lines),
            "limitBytes": str(most_bytes),
            **({"previous": "true"} if is_previous else {}),
        }
        path = kinds.POD.path(namespace, pod, "log")
        call = Call("get_log", kinds.POD.plural, "GET", path, query)
        read: list[bytes] = []
        async with self._calls.lines(call, lasts_s=LOG_S) as stream:
            async for block in stream.iter_chunked(65_536):
                read.append(block)
                if sum(map(len, read)) >= most_bytes:
                    break
        return b"".join(read)[:most_bytes]

    async def server_version(self) -> tuple[int, int]:
        """Return major and minor version of the API server."""
        call = Call("get", "version", "GET", "/version")
        told = await self._calls.send(call)
        return _number(told.get("major")), _number(told.get("minor"))

    # ---- writing ------------------------------------------------------------------------------

    async def create(
        self,
        kind: Kind,
        namespace: str,
        body: Mapping[str, Any],
        *,
        deadline_s: float | None = None,
    ) -> Object:
        """Create an object; ConflictError.already_exists when there is one of that name."""
        call = _call("create", kind, namespace, method="POST", body=_whole(kind, body))
        return await self._write(call, deadline_s=deadline_s)

    async def replace(
        self, kind: Kind, namespace: str, name: str, body: Mapping[str, Any]
    ) -> Object:
        """Put an object in the place of the one whose resourceVersion `body` names.

        Raises ConflictError when that has changed since.
        """
        return await self._write(
            _call("replace", kind, namespace, name, method="PUT", body=_whole(kind, body))
        )

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        resource_version: str | None = None,
    ) -> Object:
        """Merge a patch into an object: None removes a field.

        With `resource_version` a ConflictError is raised when the object has changed since.
        """
        merged = _versioned(body, resource_version)
        return await self._write(
            _call("patch", kind, namespace, name, method="PATCH", body=merged, content=MERGE_PATCH)
        )

    async def patch_status(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        resource_version: str | None = None,
    ) -> Object:
        """Merge `{"status": …}` into the status of a custom resource; as `patch`."""
        merged = _versioned(body, resource_version)
        return await self._write(
            _call(
                "patch_status",
                kind,
                namespace,
                name,
                "status",
                method="PATCH",
                body=merged,
                content=MERGE_PATCH,
            )
        )

    async def patch_steps(
        self, kind: Kind, namespace: str, name: str, steps: Sequence[Mapping[str, Any]]
    ) -> Object:
        """Apply the steps of an RFC 6902 patch; InvalidError when a `test` among them fails."""
        return await self._write(
            _call(
                "patch", kind, namespace, name, method="PATCH", body=list(steps), content=JSON_PATCH
            )
        )

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, resource_version: str | None = None
    ) -> None:
        """Delete an object; one that is gone already is fine.

        With `resource_version` a ConflictError is raised when it has changed since.
        """
        body = None
        if resource_version is not None:
            body = {"preconditions": {"resourceVersion": resource_version}}
        try:
            await self._write(_call("delete", kind, namespace, name, method="DELETE", body=body))
        except NotFoundError:
            return

    async def event(
        self,
        regarding: Mapping[str, Any],
        type: EventType,  # noqa: A002 - Kubernetes' word
        reason: str,
        message: str,
    ) -> None:
        """Tell people about an object, as `kubectl describe` shows it."""
        meta = regarding["metadata"]
        now = datetime.now(UTC)
        body = {
            # Distinct in the namespace: the time to the microsecond stands for an id.
            "metadata": {"name": f"{meta['name'][:230]}.{now.timestamp() * 1e6:016.0f}"},
            "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": self._manager,
            "reportingInstance": (self._identity or self._manager)[:128],
            "action": reason[:128],
            "reason": reason[:128],
            "type": type.value,
            "note": message[:_NOTE_LENGTH],
            "regarding": _reference(regarding),
        }
        await self.create(kinds.EVENT, meta["namespace"], body)

    async def _write(self, call: Call, *, deadline_s: float | None = None) -> Object:
        why = self._fence()
        if why:
            raise UnavailableError(f"{call.what}: not sent: {why}")
        query = {**call.query, "fieldManager": self._manager} if call.body is not None else {}
        return await self._calls.send(replace(call, query=query), deadline_s=deadline_s)


# ---- inside -----------------------------------------------------------------------------------


def _call(
    verb: str,
    kind: Kind,
    namespace: str | None,
    name: str = "",
    part: str = "",
    *,
    method: str,
    query: Mapping[str, str] | None = None,
    body: object = None,
    content: str = JSON,
) -> Call:
    return Call(
        verb,
        kind.plural,
        method,
        kind.path(namespace, name, part),
        dict(query or {}),
        body,
        content,
        is_secret=kind in _SECRETS,
    )


def _query(label_selector: str, field_selector: str, **more: str) -> dict[str, str]:
    asked = {"labelSelector": label_selector, "fieldSelector": field_selector, **more}
    return {name: value for name, value in asked.items() if value}


def _whole(kind: Kind, body: Mapping[str, Any]) -> Object:
    return {"apiVersion": kind.api_version, "kind": kind.kind, **body}


async def _events(what: str, lines: AsyncIterable[bytes]) -> AsyncIterator[Watched]:
    async for line in lines:
        try:
            event = msgspec.json.decode(line)
            kind, about = str(event["type"]), dict(event["object"])
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(f"{what}: the server sent what is no event") from error
        if kind == "ERROR":
            code, message = about.get("code"), str(about.get("message", ""))
            status = code if isinstance(code, int) else 0
            raise refusal(what, status, message, str(about.get("reason", "")))
        yield Watched(kind, about)


def _number(text: object) -> int:
    """Read a part of a version; some vendors write a sign after it, such as `29+`."""
    digits = "".join(one for one in str(text) if one.isdigit())
    return int(digits or 0)


def _versioned(body: Mapping[str, Any], resource_version: str | None) -> dict[str, Any]:
    if resource_version is None:
        return dict(body)
    metadata = {**body.get("metadata", {}), "resourceVersion": resource_version}
    return {**body, "metadata": metadata}


def _reference(regarding: Mapping[str, Any]) -> dict[str, Any]:
    meta = regarding["metadata"]
    found = {
        "apiVersion": regarding.get("apiVersion"),
        "kind": regarding.get("kind"),
        "namespace": meta.get("namespace"),
        "name": meta["name"],
        "uid": meta.get("uid"),
        "resourceVersion": meta.get("resourceVersion"),
    }
    return {key: value for key, value in found.items() if value}
