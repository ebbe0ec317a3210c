# SPDX-License-Identifier: Apache-2.0
"""The only place of the webhook that wires: memory, certificate, listener, probes and kopf.

The one idea: a replica knows nothing of the others and keeps nothing. What must go on is begun
again when it ends; when it is asked to end it first says so, and answers until nobody comes.
"""

import asyncio
import logging
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from kubernetes.aio.client import ApiClient

from fodc_kube.access import access_of
from fodc_kube.client import Cluster
from fodc_kube.events import Events
from fodc_kube.keeping import keep
from fodc_protocol.metrics.samples import Sample
from fodc_tls.serving import ServingCertificate, folder_source
from fodc_webhook import audit
from fodc_webhook.figures import Figures
from fodc_webhook.handlers.running import Handlers
from fodc_webhook.listener import Listener
from fodc_webhook.memory import Memory
from fodc_webhook.probes import Check, Probes
from fodc_webhook.reviews import Reviews
from fodc_webhook.secret_source import secret_source
from fodc_webhook.server import Admission
from fodc_webhook.settings import PROGRAM, Settings

STOP_S: Final = 3.0
AGAIN_S: Final = 1.0
_log = logging.getLogger(__name__)


class Program:
    """One replica: build in its loop, `listen`, then `run`."""

    def __init__(self, settings: Settings, api: ApiClient) -> None:
        self._settings = settings
        self.ends: Counter[str] = Counter()
        """How often what must go on has ended, by name."""
        cluster = Cluster(api, manager=PROGRAM, identity=settings.pod_name)
        self.figures = Figures()
        self.memory = Memory(cluster, settings.namespaces, settings.defaults)
        self._events = Events(cluster)
        source = secret_source(cluster, settings.own_namespace, settings.secret_name)
        if settings.cert_dir:
            source = folder_source(Path(settings.cert_dir))
        self._certificate = ServingCertificate(source, self.figures.certificate_loads)
        tell = self._events.tell_seldom
        self._admission = Admission(
            self.figures, tell, lambda: self.memory.missing, audit=audit.Lines(audit.to_stdout).note
        )
        self.listener = Listener(self._admission.handle)
        self.probes = Probes(self._checks, self._samples)
        self._asked = asyncio.Event()
        self._handlers = Handlers(
            lambda: access_of(api),
            self.memory,
            Reviews(self.memory, tell),
            self._admission,
            watched=settings.namespaces,
            began=self._hear_signals,
        )

    # ---- what it tells of itself --------------------------------------------------------------

    def _checks(self) -> Iterator[Check]:
        """Say what keeps this replica from answering; each in words."""
        yield _check("lists", self.memory.missing, "policies and namespaces are read")
        handlers = "" if self._admission.is_connected else "the handlers have not begun yet"
        yield _check("handlers", handlers, "are connected")
        listener = "" if self.listener.address else "does not listen"
        yield _check("listener", listener, f"answers on {self.listener.address}")
        yield _check("certificate", self._certificate.fault, "can be trusted")
        leaves = "this replica is about to end" if self._admission.is_draining else ""
        yield _check("stays", leaves, "is not asked to end")

    def _samples(self) -> Iterator[Sample]:
        ends_at = self._certificate.expires_at
        yield from self.figures.samples(
            certificate_expiry_s=0.0 if ends_at is None else ends_at.timestamp(),
            ready=all(one.ok for one in self._checks()),
            connections=len(self.listener),
            connections_dropped=self.listener.dropped,
            events_dropped=self._events.dropped,
            restarts=self.ends,
        )

    # ---- life ---------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Answer probes and API servers; raises OSError for an address that cannot be had."""
        await self._certificate.refresh()
        told, http = self._settings.listen, self._settings.http_listen
        await self.listener.start(told.host, told.port, self._certificate.context)
        try:
            await self.probes.start(http.host, http.port)
        except OSError:
            await self.listener.stop(0)
            raise
        _log.info("pods are answered on %s", self.listener.address)

    def ask_to_end(self) -> None:
        """Begin to end."""
        self._asked.set()

    async def run(self) -> None:
        """Work until asked to end."""
        self._hear_signals()
        # kopf, the last, cancels at its end the tasks that are younger than it is.
        works = {**self._works, "handlers": self._handle_once}
        tasks = [asyncio.create_task(self._kept(*one), name=one[0]) for one in works.items()]
        await self._asked.wait()
        self._admission.is_draining = True
        _log.info("asked to end; pods are answered for %g s more", self._settings.drain_s)
        await asyncio.sleep(self._settings.drain_s)
        await self.listener.stop(STOP_S)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=STOP_S)
        await self.probes.stop()

    @property
    def _works(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        return {
            **self.memory.works,
            "certificate": self._certificate.run,
            "events": self._events.run,
        }

    async def _kept(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        await keep(name, work, self.ends, again_s=AGAIN_S)

    async def _handle_once(self) -> None:
        """Let kopf work; without an exception it ends by a signal that came before ours was set."""
        await self._handlers.run()
        self.ask_to_end()
        await asyncio.Event().wait()

    def _hear_signals(self) -> None:
        """Take the signals back from kopf, which would end at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.ask_to_end)


def _check(name: str, fault: str, well: str) -> Check:
    return Check(name, not fault, fault or well)
