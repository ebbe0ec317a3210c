# SPDX-License-Identifier: Apache-2.0
"""kmock's API server with what it lacks: versions, conflicts, a status of its own, watches.

The one idea: kmock answers discovery and records requests; objects are kept in `store`. Failures
are given out by rule, watches can be cut, history can be forgotten.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import attrs
import kmock
from aiohttp import web
from kmock._internal import parsing

from tests.operator.memory_api.store import Clock, Object, RefusalError, Resource, Store

GROUP = "fodc.banyandb.dev"
REQUESTS = Resource(GROUP, "v1alpha1", "diagnosticrequests", "DiagnosticRequest")
NODES = Resource(GROUP, "v1alpha1", "fodcnodes", "FodcNode")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event", has_status=False)
SERVED = (REQUESTS, NODES, EVENTS)
VERBS = {"list", "watch", "get", "create", "patch", "update", "delete"}


@dataclass
class Fault:
    """An answer instead of the right one, for some requests."""

    matches: Callable[[kmock.Request], bool]
    status: int
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    reason: str = "Injected"
    after: bool = False
    """The request is carried out first: the answer is what is lost."""

    @property
    def refusal(self) -> RefusalError:
        return RefusalError(self.status, self.reason, "injected", **self.headers)


@attrs.define(kw_only=True)
class MemoryApi(kmock.KubernetesScaffold):
    """An API server in this process; use it with `serving`."""

    clock: Clock = attrs.field(factory=Clock)
    stores: dict[tuple[str | None, str | None], Store] = attrs.field(factory=dict)
    faults: list[Fault] = attrs.field(factory=list)
    watches: set[asyncio.Event] = attrs.field(factory=set)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        for one in SERVED:
            self.stores[one.group, one.plural] = Store(one, self.clock)
            info = self.resources[f"{one.group}/{one.version}/{one.plural}"]
            info.namespaced, info.kind, info.verbs = True, one.kind, set(VERBS)
            info.subresources = {"status"} if one.has_status else set()
        # kopf asks what there is and waits for these two, though it then does not read them.
        for name in ("v1/namespaces", "apiextensions.k8s.io/v1/customresourcedefinitions"):
            info = self.resources[name]
            info.namespaced, info.kind, info.verbs = False, name.rpartition("/")[2], {"list"}

    def store(self, resource: Resource) -> Store:
        return self.stores[resource.group, resource.plural]

    # ---- trouble ------------------------------------------------------------------------------

    def fail(
        self, status: int, method: str, path: str = "", times: int = 1, who: str = "", **more: Any
    ) -> Fault:
        """Fail the next requests whose method, path and user agent hold these."""

        def matches(request: kmock.Request) -> bool:
            asks = who in request.headers.get("User-Agent", "")
            return asks and request.method.value == method and path in request.url.path

        fault = Fault(matches, status, times, **more)
        self.faults.append(fault)
        return fault

    def cut_watches(self) -> None:
        """End every watch, as a broken connection does."""
        for cut in self.watches:
            cut.set()

    def count(self, method: str, path: str = "") -> int:
        """How many requests of this method held `path` in theirs."""
        return sum(
            request.method.value == method and path in request.url.path for request in self.requests
        )

    @property
    def requests(self) -> list[kmock.Request]:
        return list(self._requests)

    # ---- answering ----------------------------------------------------------------------------

    async def _handle(self, request: kmock.Request) -> web.StreamResponse:
        resource = request.resource
        store = None if resource is None else self.stores.get((resource.group, resource.plural))
        if store is None:
            return await super()._handle(request)
        fault = self._fault(request)
        try:
            if fault is not None and not fault.after:
                return _refused(fault.refusal)
            if request.action is kmock.action.WATCH:
                return await self._watch(store, request)
            answer = self._answer(store, request)
        except RefusalError as refusal:
            return _refused(refusal)
        if fault is not None:
            return _refused(fault.refusal)
        status = 201 if request.method.value == "POST" else 200
        return web.json_response(answer, status=status)

    def _fault(self, request: kmock.Request) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.matches(request):
                fault.times -= 1
                return fault
        return None

    def _answer(self, store: Store, request: kmock.Request) -> Object:
        namespace, name = request.namespace or "", request.name or ""
        subresource = request.subresource or ""
        content_type = request.headers.get("Content-Type", "")
        match request.method.value:
            case "GET" if name:
                return store.get(namespace, name)
            case "GET":
                return self._list(store, request)
            case "POST":
                return store.create(namespace, _parsed(request))
            case "PUT":
                return store.put(namespace, name, _parsed(request), subresource=subresource)
            case "PATCH":
                body = _parsed(request)
                return store.patch(namespace, name, content_type, body, subresource=subresource)
            case "DELETE":
                options = _parsed(request) if request.body else None
                return store.delete(namespace, name, options)
            case method:
                raise RefusalError(405, "MethodNotAllowed", f"{method} is not served here")

    def _list(self, store: Store, request: kmock.Request) -> Object:
        query = request.params
        items = store.listed(
            request.namespace, query.get("labelSelector", ""), query.get("fieldSelector", "")
        )
        start = int(query.get("continue") or 0)
        limit = int(query.get("limit") or 0) or len(items)
        page = items[start : start + limit]
        meta = {"resourceVersion": str(self.clock.version), "continue": ""}
        if start + limit < len(items):
            meta["continue"] = str(start + limit)
        kind = f"{store.resource.kind}List"
        return {
            "apiVersion": store.resource.api_version,
            "kind": kind,
            "metadata": meta,
            "items": page,
        }

    async def _watch(self, store: Store, request: kmock.Request) -> web.StreamResponse:
        assert request._raw_request is not None
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request._raw_request)
        with contextlib.suppress(ConnectionError):
            async for event in self._events(store, request):
                line = getattr(event, "line", None) or json.dumps(event).encode()
                await response.write(line + b"\n")
            await response.write_eof()
        return response

    async def _events(self, store: Store, request: kmock.Request) -> AsyncIterator[Object]:
        query = request.params
        version = int(query.get("resourceVersion") or 0)
        if not version:
            version = self.clock.version
            for one in store.listed(request.namespace):
                yield {"type": "ADDED", "object": one}
        cut = asyncio.Event()
        self.watches.add(cut)
        timeout_s = float(query.get("timeoutSeconds") or 300)
        ends = asyncio.get_running_loop().time() + timeout_s
        try:
            while not cut.is_set():
                changed = store.changed
                for event in store.after(version, request.namespace):
                    version = event.version
                    yield {"type": event.type, "object": event.object}
                if not await _either(changed, cut, ends):
                    return
        except RefusalError as refusal:
            yield {"type": "ERROR", "object": _status(refusal)}
        finally:
            self.watches.discard(cut)


async def _either(changed: asyncio.Event, cut: asyncio.Event, ends: float) -> bool:
    """Wait for one of them; False when time is over."""
    tasks = [asyncio.create_task(changed.wait()), asyncio.create_task(cut.wait())]
    left_s = ends - asyncio.get_running_loop().time()
    try:
        done, _ = await asyncio.wait(tasks, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _parsed(request: kmock.Request) -> Any:
    try:
        return json.loads(request.body)
    except ValueError:
        raise RefusalError(400, "BadRequest", "the body is no JSON") from None


def _status(refusal: RefusalError) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "code": refusal.status,
        "reason": refusal.reason,
        "message": refusal.message,
    }


def _refused(refusal: RefusalError) -> web.Response:
    headers = {name.replace("_", "-"): value for name, value in refusal.headers.items()}
    return web.json_response(_status(refusal), status=refusal.status, headers=headers)


def _parsed_path(path: str) -> parsing.ParsedPath:
    """Read what kmock reads as objects in a namespace without a kind: namespaces themselves."""
    match path.strip("/").split("/"):
        case ["api", version, "namespaces"]:
            return parsing.ParsedPath("", version, "namespaces")
        case ["api", version, "namespaces", name]:
            return parsing.ParsedPath("", version, "namespaces", None, name)
        case _:
            return _KMOCKS(path)


_KMOCKS = parsing.parse_path
parsing.parse_path = _parsed_path


@contextlib.asynccontextmanager
async def serving(api: MemoryApi | None = None) -> AsyncIterator[tuple[MemoryApi, str]]:
    """Serve on a free loopback port; gives the API and its URL."""
    one = MemoryApi() if api is None else api
    async with one, kmock.Server(one) as server:
        try:
            yield one, str(server.url).rstrip("/")
        finally:
            one.cut_watches()
            await _stop_listening(server)


async def _stop_listening(server: kmock.Server) -> None:
    runner = server.server.runner
    assert runner is not None
    for site in list(runner.sites):
        await site.stop()
    await until_taken()


async def until_taken() -> None:
    """Let every connection that was taken come to life, so that its server can close it.

    asyncio makes a transport of it in a task; one that is cancelled before its first step, with
    its loop, leaves an open socket behind.
    """
    taking = [task for task in asyncio.all_tasks() if "_accept_connection" in str(task.get_coro())]
    await asyncio.gather(*taking, return_exceptions=True)
