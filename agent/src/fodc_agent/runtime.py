# SPDX-License-Identifier: Apache-2.0
"""Puts the program together and runs it: the only place where its parts meet.

The one idea: the port opens first and everything else may fail. What runs behind it is the agent
of one node, or those of many that are reached over the network; signals, port and end are alike.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from fodc_agent.node_agent import NodeAgent
from fodc_agent.node_uplink import token_warning
from fodc_agent.settings import Settings
from fodc_agent.web.replies import Route
from fodc_agent.web.routes import Check, routes_of
from fodc_agent.web.server import WebServer
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.page import render_page
from fodc_protocol.version import VERSION

_log: Final = logging.getLogger(__name__)

_STOP_WITHIN_S: Final = 1.8


class Attached(Protocol):
    """What is attached to one node or to many."""

    incarnation: str

    async def start(self) -> None:
        """Begin everything; returns when it runs."""

    async def close(self) -> None:
        """End everything within about a second and a half."""

    async def failed(self) -> None:
        """Wait until only a restart of the program helps."""

    def blocks(self) -> Iterable[FamilyBlock]:
        """Return the newest values."""

    def checks(self) -> Sequence[Check]:
        """Return what is ready and what is not."""


def attached_to(settings: Settings) -> Attached:
    """Return what the settings ask for, not started."""
    if settings.targets_file is None:
        return NodeAgent(settings)
    from fodc_agent.remote.fleet import RemoteNodes  # noqa: PLC0415 - sidecars never need it

    return RemoteNodes(settings, settings.targets_file, NodeAgent)


class Program:
    """The whole program in one event loop; `run` returns its exit code."""

    def __init__(self, settings: Settings, web: WebServer) -> None:
        """Make the parts; `web` is bound already, nothing else is touched."""
        self._web = web
        self._stopping = asyncio.Event()
        self._attached = attached_to(settings)
        if warning := token_warning(settings):
            _log.warning("proxy_token_not_sent reason=%r", warning)

    async def run(self) -> int:
        """Run until a signal; return 0, or 1 when a task had to be given up."""
        loop = asyncio.get_running_loop()
        # For names that are looked up and nothing else; each thread more is memory.
        loop.set_default_executor(ThreadPoolExecutor(2, thread_name_prefix="names"))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        await self._web.start(self._routes())
        await self._attached.start()
        failed = asyncio.create_task(self._attached.failed(), name="failed")
        stopping = asyncio.create_task(self._stopping.wait(), name="signal")
        await asyncio.wait({failed, stopping}, return_when=asyncio.FIRST_COMPLETED)
        code = 1 if failed.done() else 0
        failed.cancel()
        stopping.cancel()
        # Whatever hangs now must not keep the pod from ending.
        loop.call_later(_STOP_WITHIN_S, os._exit, code)
        await self._attached.close()
        await self._web.aclose()
        _log.info("stopped code=%d", code)
        return code

    def _signalled(self, number: signal.Signals) -> None:
        """End politely at the first signal, at once at the second."""
        if self._stopping.is_set():
            os._exit(128 + number)
        _log.info("stopping signal=%s", number.name)
        self._stopping.set()

    def _routes(self) -> dict[str, Route]:
        version = {"version": VERSION, "incarnation": self._attached.incarnation}
        return routes_of(page=self._page, checks=self._attached.checks, version=version)

    def _page(self) -> Iterable[bytes]:
        return (render_page(self._attached.blocks()),)
