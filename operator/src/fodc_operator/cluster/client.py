# SPDX-License-Identifier: Apache-2.0
"""The few verbs that the operator needs, on objects as plain mappings.

The one idea: a call either answers within its deadline or raises an error that says what the
caller can do; 429, 500 and broken connections are repeated here and nowhere else.
"""

import asyncio
import json
import logging
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias

import aiohttp
from kubernetes.aio.client import (
    ApiClient,
    CoreV1Api,
    CustomObjectsApi,
    V1DeleteOptions,
    V1Preconditions,
)
from kubernetes.aio.client.exceptions import ApiException

from fodc_operator.cluster.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from fodc_operator.cluster.kinds import Kind
from fodc_operator.cluster.retrying import RETRIED_STATUSES, Backoff, retry_after_s

Object: TypeAlias = dict[str, Any]
"""An object as the API server gives it: foreign data, read by `resources`."""

MERGE_PATCH: Final = "application/merge-patch+json"
PAGE: Final = 500
ATTEMPT_S: Final = 5.0
DEADLINE_S: Final = 15.0
COMPONENT: Final = "fodc-operator"
_NOTE_LENGTH: Final = 1024
_log = logging.getLogger(__name__)


class EventType(StrEnum):
    """The two types that Kubernetes knows."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Listed:
    """Objects and the version of the collection that they are of."""

    items: Sequence[Object]
    resource_version: str


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


Attempt: TypeAlias = Callable[[], Awaitable[Any]]


class Cluster:
    """The API server; every method may raise ClusterError and ends within `deadline_s`."""

    def __init__(
        self,
        api: ApiClient,
        *,
        identity: str = "",
        deadline_s: float = DEADLINE_S,
        attempt_s: float = ATTEMPT_S,
        backoff: Backoff | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.metrics = CallMetrics()
        self.identity = identity
        self._api = api
        self._custom = CustomObjectsApi(api)
        self._core = CoreV1Api(api)
        self._deadline_s = deadline_s
        self._attempt_s = attempt_s
        self._backoff = backoff or Backoff()
        self._chance = chance

    # ---- reading ------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return an object, None when there is none."""
        try:
            return await self._call("get", kind, partial(self._read, kind, namespace, name))
        except NotFoundError:
            return None

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Listed:
        """Return all objects of a namespace, or of all namespaces, page by page."""
        items: list[Object] = []
        rest = ""
        while True:
            selectors = {
                "label_selector": label_selector or None,
                "field_selector": field_selector or None,
                "limit": PAGE,
                "_continue": rest or None,
            }
            page = await self._call("list", kind, partial(self._list, kind, namespace, selectors))
            items += page["items"]
            rest = page["metadata"].get("continue", "")
            if not rest:
                return Listed(items, page["metadata"].get("resourceVersion", ""))

    # ---- writing ------------------------------------------------------------------------------

    async def create(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Object:
        """Create an object; ConflictError.already_exists when there is one of that name."""
        place = kind.value
        whole = {"apiVersion": place.api_version, "kind": place.kind, **body}

        def send() -> Awaitable[Any]:
            return self._custom.create_namespaced_custom_object(
                *self._collection(kind, namespace), whole, **self._writing
            )

        return await self._call("create", kind, send)

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

        def send() -> Awaitable[Any]:
            options = {**self._writing, "_content_type": MERGE_PATCH}
            if kind is Kind.POD:
                return self._core.patch_namespaced_pod(name, namespace, merged, **options)
            return self._custom.patch_namespaced_custom_object(
                *self._collection(kind, namespace), name, merged, **options
            )

        return await self._call("patch", kind, send)

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

        def send() -> Awaitable[Any]:
            return self._custom.patch_namespaced_custom_object_status(
                *self._collection(kind, namespace),
                name,
                merged,
                **self._writing,
                _content_type=MERGE_PATCH,
            )

        return await self._call("patch_status", kind, send)

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, resource_version: str | None = None
    ) -> None:
        """Delete an object; one that is gone already is fine.

        With `resource_version` a ConflictError is raised when it has changed since.
        """
        body = None
        if resource_version is not None:
            body = V1DeleteOptions(preconditions=V1Preconditions(resource_version=resource_version))

        def send() -> Awaitable[Any]:
            return self._custom.delete_namespaced_custom_object(
                *self._collection(kind, namespace),
                name,
                body=body,
                _request_timeout=self._attempt_s,
            )

        try:
            await self._call("delete", kind, send)
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
            "reportingController": f"{COMPONENT}.fodc.banyandb.dev",
            "reportingInstance": (self.identity or COMPONENT)[:128],
            "action": reason[:128],
            "reason": reason[:128],
            "type": type.value,
            "note": message[:_NOTE_LENGTH],
            "regarding": _reference(regarding),
        }
        await self.create(Kind.EVENT, meta["namespace"], body)

    # ---- inside -------------------------------------------------------------------------------

    @property
    def _writing(self) -> dict[str, Any]:
        return {"field_manager": COMPONENT, "_request_timeout": self._attempt_s}

    @staticmethod
    def _collection(kind: Kind, namespace: str) -> tuple[str, str, str, str]:
        place = kind.value
        return place.group, place.version, namespace, place.plural

    def _read(self, kind: Kind, namespace: str, name: str) -> Awaitable[Any]:
        timeout: dict[str, Any] = {"_request_timeout": self._attempt_s}
        if kind is Kind.POD:
            return self._core.read_namespaced_pod(name, namespace, **timeout)
        return self._custom.get_namespaced_custom_object(
            *self._collection(kind, namespace), name, **timeout
        )

    def _list(
        self, kind: Kind, namespace: str | None, options: Mapping[str, Any]
    ) -> Awaitable[Any]:
        place = kind.value
        told: dict[str, Any] = {**options, "_request_timeout": self._attempt_s}
        if kind is Kind.POD and namespace is None:
            return self._core.list_pod_for_all_namespaces(**told)
        if kind is Kind.POD:
            return self._core.list_namespaced_pod(namespace or "", **told)
        if namespace is None:
            return self._custom.list_cluster_custom_object(
                place.group, place.version, place.plural, **told
            )
        return self._custom.list_namespaced_custom_object(
            *self._collection(kind, namespace), **told
        )

    async def _call(self, verb: str, kind: Kind, attempt: Attempt) -> Object:
        """Attempt until it is answered, refused for good, or the deadline would pass."""
        what = f"{verb} {kind.value.plural}"
        ends_at = time.monotonic() + self._deadline_s
        number = 0
        while True:
            try:
                return await self._attempt(verb, kind, attempt)
            except ClusterError as error:
                if error.status not in RETRIED_STATUSES and error.status != 0:
                    raise
                asked_s = retry_after_s(error.word) if error.status else None
                wait_s = self._backoff.wait_s(number, asked_s, self._chance)
                if time.monotonic() + wait_s >= ends_at:
                    raise UnavailableError(
                        f"{what}: given up after {number + 1} attempts: {error.message}",
                        status=error.status,
                    ) from error
                _log.debug("%s: again in %.2f s: %s", what, wait_s, error.message)
            self.metrics.retries += 1
            number += 1
            await asyncio.sleep(wait_s)

    async def _attempt(self, verb: str, kind: Kind, attempt: Attempt) -> Object:
        what, began, code = f"{verb} {kind.value.plural}", time.monotonic(), "ok"
        try:
            async with asyncio.timeout(self._attempt_s):
                answer = await attempt()
            # The client's own way from its models to plain values; ours are plain already.
            plain: Object = self._api.sanitize_for_serialization(answer)  # type: ignore[no-untyped-call]
        except ApiException as error:
            code = str(error.status)
            _refused(what, error)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            code = type(error).__name__
            raise ClusterError(f"{what}: {code}: {str(error) or 'no answer in time'}") from error
        else:
            return plain
        finally:
            self.metrics.note(verb, kind.value.plural, code, time.monotonic() - began)


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


_BY_STATUS: Final[Mapping[int, type[ClusterError]]] = {
    400: InvalidError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidError,
}


def _refused(what: str, error: ApiException) -> NoReturn:
    """Raise the error of ours for a refusal; the message is the server's own."""
    status = int(error.status or 0)
    try:
        said = json.loads(error.body or "")
        message, word = str(said["message"]), str(said.get("reason", ""))
    except (ValueError, KeyError, TypeError):
        message, word = str(error.body or error.reason or "")[:300], ""
    if status in RETRIED_STATUSES:
        word = str((error.headers or {}).get("Retry-After", ""))
    kind = _BY_STATUS.get(status, ClusterError)
    raise kind(f"{what}: {status} {message}", status=status, word=word) from error
