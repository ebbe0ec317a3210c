# SPDX-License-Identifier: Apache-2.0
"""Objects from kopf's watch to whoever looks after them on the main loop.

The one idea: events only, no state of kopf's on the objects: no annotation, no finalizer, no
progress. Whoever hears compares what is with what should be, so an event says "look again" and an
object can be deleted while no operator runs.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol

import kopf

from fodc_kube.kinds import Kind
from fodc_kube.store import Object
from fodc_operator.handlers.bridge import BridgeError
from fodc_protocol.errors import Reason
from fodc_webhook.handlers.framework import on_event

BUSY_ATTEMPTS: Final = 20
BUSY_PAUSE_S: Final = 0.25


class Listener(Protocol):
    """Who looks after the objects of a kind, on the main loop."""

    async def seen(self, body: Object) -> None:
        """An object is there."""

    async def gone(self, body: Object) -> None:
        """An object was deleted."""


class Caller(Protocol):
    """The way to the main loop (`handlers.bridge.Bridge`)."""

    async def call(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run on the main loop; raises BridgeError."""


def tell(kind: Kind, registry: kopf.OperatorRegistry, listener: Listener, bridge: Caller) -> None:
    """Let the listener know of every object of the kind that appears, changes or goes."""

    @on_event(kind, registry)
    async def changed(event: kopf.RawEvent, **_: object) -> None:
        take = listener.gone if event["type"] == "DELETED" else listener.seen
        await _call(bridge, partial(take, dict(event["object"])))


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
