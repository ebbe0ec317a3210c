# SPDX-License-Identifier: Apache-2.0
"""What the webhook tells of itself: /healthz, /readyz and /metrics, without TLS."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from aiohttp import web

from fodc_protocol.metrics.families import blocks_of
from fodc_protocol.metrics.page import render_page
from fodc_protocol.metrics.samples import Sample

_METRICS = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold before API servers are sent here."""

    name: str
    ok: bool
    message: str


class Probes:
    """One listener; `start`, and at the end `stop`."""

    def __init__(
        self, checks: Callable[[], Iterable[Check]], samples: Callable[[], Iterable[Sample]]
    ) -> None:
        self.address = ""
        self._checks = checks
        self._samples = samples
        app = web.Application(client_max_size=1024)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)

    async def start(self, host: str, port: int) -> None:
        """Listen; raises OSError for an address that cannot be had."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host or None, port).start()
        self.address = f"{host or '127.0.0.1'}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Listen no more."""
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        checks = list(self._checks())
        ready = all(one.ok for one in checks)
        body = {"ready": ready, "checks": [asdict(one) for one in checks]}
        return web.json_response(body, status=200 if ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=render_page(blocks_of(self._samples())), headers=_METRICS)
