# SPDX-License-Identifier: Apache-2.0
"""kopf in the main loop of the webhook: its handlers, its admission, its end."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Protocol

import kopf

from fodc_kube.access import Access
from fodc_webhook.handlers import namespaces, pods, policies, requests
from fodc_webhook.handlers.framework import Login, operate, quiet, settings
from fodc_webhook.memory import Memory
from fodc_webhook.reviews import Reviews


class Server(Protocol):
    """What kopf's admission is served by (`server.Admission`)."""

    def serve(self, fn: Callable[..., Any]) -> AsyncGenerator[Mapping[str, Any], None]:
        """Take reviews to `fn` until kopf ends."""


class Handlers:
    """`run` in a task; it may be run again when kopf has ended."""

    def __init__(
        self,
        access: Callable[[], Access],
        memory: Memory,
        reviews: Reviews,
        server: Server,
        *,
        watched: tuple[str, ...],
        began: Callable[[], None],
    ) -> None:
        """Watch policies of the `watched` namespaces, of all for none; tell `began` each time."""
        self._registry = registry = kopf.OperatorRegistry()
        self._login = Login(registry, access)
        self._memory = memory
        self._server = server
        self._watched = watched
        self._began = began
        policies.register(registry, memory.policies)
        namespaces.register(registry, memory.namespaces)
        pods.register(registry, reviews.decide)
        requests.register(registry)
        quiet()

    async def run(self) -> None:
        """Let kopf work until it ends: by a signal, or by trouble that it does not know."""
        told = settings()
        told.admission.server = self._serve
        # What was deleted while no watch was there, only a list tells.
        self._memory.look_now()
        try:
            await operate(self._registry, told, self._watched)
        finally:
            await self._login.close()

    async def _serve(self, fn: kopf.WebhookFn) -> AsyncGenerator[kopf.WebhookClientConfig, None]:
        self._began()
        async with aclosing(self._server.serve(fn)) as serving:
            async for _ in serving:
                yield kopf.WebhookClientConfig()
