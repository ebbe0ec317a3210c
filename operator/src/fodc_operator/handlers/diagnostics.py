# SPDX-License-Identifier: Apache-2.0
"""DiagnosticRequests from kopf's watch to the controller.

The one idea: events only, no state of kopf's on the objects: no annotation, no finalizer, no
progress. The controller compares what is with what should be, so an event says "look again" and
an object can be deleted while no operator runs.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, Protocol

import kopf

from fodc_operator.handlers.bridge import BridgeError
from fodc_operator.resources.kinds import DIAGNOSTIC_REQUEST as KIND
from fodc_protocol.errors import Reason

BUSY_ATTEMPTS: Final = 20
BUSY_PAUSE_S: Final = 0.25


class Requests(Protocol):
    """Who carries the requests out, on the main loop (`diagnostics.controller.Controller`)."""

    async def seen(self, body: Mapping[str, Any]) -> None:
        """An object is there."""

    async def gone(self, body: Mapping[str, Any]) -> None:
        """An object was deleted."""


class Caller(Protocol):
    """The way to the main loop (`handlers.bridge.Bridge`)."""

    async def call(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run on the main loop; raises BridgeError."""


def register(registry: kopf.OperatorRegistry, requests: Requests, bridge: Caller) -> None:
    """Let the controller know of every DiagnosticRequest that appears, changes or goes."""

    @kopf.on.event(
        KIND.group, KIND.version, KIND.plural, registry=registry, id="diagnostic-request"
    )
    async def changed(event: kopf.RawEvent, **_: object) -> None:
        tell = requests.gone if event["type"] == "DELETED" else requests.seen
        await _call(bridge, partial(tell, dict(event["object"])))


async def _call(bridge: Caller, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Wait for room when a flood of events fills the bridge; what is lost a resync finds.

    An event that comes while this operator stops is the next leader's, and no error.
    """
    for left in reversed(range(BUSY_ATTEMPTS)):
        try:
            return await bridge.call(make)
        except BridgeError as error:
            if error.reason is Reason.CANCELLED:
                return None
            if error.reason is not Reason.BUSY or not left:
                raise
        await asyncio.sleep(BUSY_PAUSE_S)
    return None
