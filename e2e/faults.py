# SPDX-License-Identifier: Apache-2.0
"""An API server with faults: a small proxy before the real one that refuses, delays and cuts.

The one idea: it passes requests on as they are and spoils those that a test names; it runs in a
thread of its own, so that tests stay plain functions.
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from e2e.controlplane.cluster import ControlPlane

EXPIRED = "too old resource version: 1 (2)"
_HOP_BY_HOP = {"transfer-encoding", "connection", "content-encoding", "content-length"}


@dataclass(slots=True)
class Fault:
    """Answers instead of right ones: to requests of this method whose path holds `path`.

    With `body`, only to those whose body holds that text.
    """

    status: int
    method: str = ""
    path: str = ""
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "made up by the test"
    body: str = ""

    def fits(self, request: web.Request, body: bytes) -> bool:
        """Say whether this request is to be spoiled."""
        meant = self.method in {"", request.method} and self.path in request.path
        return self.times > 0 and meant and self.body.encode() in body


@dataclass(slots=True)
class Seen:
    """One request that came by; seconds of the loop's clock."""

    method: str
    path: str
    at_s: float
    status: int


@dataclass(slots=True)
class FaultyServer:
    """The proxy; `kubeconfig` leads to it."""

    plane: ControlPlane
    kubeconfig: Path
    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    expired_watches: int = 0
    """So many of the next watches end at once with 410 Gone, as an event: the server's way."""
    _streams: set[asyncio.Task[object]] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None

    def writes(self, path: str = "fodcnodes") -> list[Seen]:
        """Return the requests so far that changed something below such a path."""
        return [one for one in self.seen if one.method != "GET" and path in one.path]

    def cut_watches(self) -> int:
        """Break every watch that is open; return how many."""
        assert self._loop is not None
        streams = tuple(self._streams)
        for task in streams:
            self._loop.call_soon_threadsafe(task.cancel)
        return len(streams)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Spoil the request or pass it on."""
        body = await request.read()
        fault = next((one for one in self.faults if one.fits(request, body)), None)
        at_s = asyncio.get_running_loop().time()
        if fault is not None:
            fault.times -= 1
            self.seen.append(Seen(request.method, request.path, at_s, fault.status))
            return _refusal(fault.status, fault.message, fault.headers)
        if "watch" in request.query:
            return await self._watch(request)
        async with self._pass_on(request, body) as answer:
            told = await answer.read()
            self.seen.append(Seen(request.method, request.path, at_s, answer.status))
            return web.Response(body=told, status=answer.status, headers=_headers(answer))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        if self.expired_watches > 0:
            self.expired_watches -= 1
            return web.json_response({"type": "ERROR", "object": _status(410, EXPIRED, "Expired")})
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            async with self._pass_on(request, b"") as answer:
                response = web.StreamResponse(status=answer.status, headers=_headers(answer))
                await response.prepare(request)
                async for piece in answer.content.iter_any():
                    await response.write(piece)
            return response
        finally:
            self._streams.discard(task)

    def _pass_on(self, request: web.Request, body: bytes) -> aiohttp.client._RequestContextManager:
        session = request.app[_SESSION]
        headers = {k: v for k, v in request.headers.items() if k.lower() != "host"}
        return session.request(
            request.method,
            f"{self.plane.url}{request.rel_url}",
            headers=headers,
            data=body or None,
        )


_SESSION: web.AppKey[aiohttp.ClientSession] = web.AppKey("session", aiohttp.ClientSession)


def _headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}


def _refusal(status: int, message: str, headers: dict[str, str]) -> web.Response:
    return web.json_response(_status(status, message, "Injected"), status=status, headers=headers)


def _status(status: int, message: str, reason: str) -> dict[str, object]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": status,
    }


@contextlib.contextmanager
def faulty(plane: ControlPlane, folder: Path) -> Iterator[FaultyServer]:
    """Run the proxy before this control plane for the length of a with-block."""
    folder.mkdir(parents=True, exist_ok=True)
    server = FaultyServer(plane, folder / "kubeconfig-with-faults")
    ready, ended = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(server, ready, ended)), name="faults", daemon=True
    )
    thread.start()
    try:
        assert ready.wait(10), "the proxy with faults did not start"
        _write_kubeconfig(server)
        yield server
    finally:
        ended.set()
        thread.join(10)


async def _serve(server: FaultyServer, ready: threading.Event, ended: threading.Event) -> None:
    server._loop = asyncio.get_running_loop()
    context = ssl.create_default_context(cafile=str(server.plane.ca_file))
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        app = web.Application(client_max_size=2**24)
        app[_SESSION] = session
        app.router.add_route("*", "/{path:.*}", server.answer)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        while not ended.is_set():
            await asyncio.sleep(0.02)
        for task in tuple(server._streams):
            task.cancel()
        await runner.cleanup()


def _write_kubeconfig(server: FaultyServer) -> None:
    config = yaml.safe_load(server.plane.kubeconfig.read_text())
    for one in config["clusters"]:
        one["cluster"] = {"server": server.url}
    server.kubeconfig.write_text(yaml.safe_dump(config))
