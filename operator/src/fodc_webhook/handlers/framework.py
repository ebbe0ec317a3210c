# SPDX-License-Identifier: Apache-2.0
"""kopf as our programs want it: nothing kept on objects, no wide rights, a quiet log."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiohttp
import kopf

from fodc_kube.access import Access
from fodc_kube.kinds import Kind

ANSWERS_S: Final = 15.0
_ROUNDS: Final = 20


def settings() -> kopf.OperatorSettings:
    """Return settings for handlers of plain events: nothing is kept on objects or posted."""
    found = kopf.OperatorSettings()
    found.peering.standalone = True
    found.posting.enabled = False
    # The watch is asked to end regularly; a silent one is noticed sooner.
    found.watching.server_timeout = 290
    found.watching.client_timeout = 300
    found.watching.connect_timeout = 10
    found.networking.request_timeout = ANSWERS_S
    found.networking.error_backoffs = (0.2, 1, 2, 5, 10)
    # Neither CRDs nor namespaces are scanned: no rights for that are needed.
    found.scanning.disabled = True
    # The configuration of the webhook is our manifest, by whose name nobody else writes.
    found.admission.managed = None
    # How long it may take to end is decided by whoever runs it.
    found.process.ultimate_exiting_timeout = None
    return found


def quiet() -> None:
    """Leave what kopf says of each event, and of where it runs, out of the log."""
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    logging.getLogger("kopf.activities").setLevel(logging.WARNING)
    logging.getLogger("kopf._core.engines.activities").setLevel(logging.WARNING)
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)


def on_event(kind: Kind, registry: kopf.OperatorRegistry) -> Callable[[Any], Any]:
    """Decorate the handler of a kind's events."""
    found: Callable[[Any], Any] = kopf.on.event(
        kind.group, kind.version, kind.plural, registry=registry, id=kind.kind
    )
    return found


class Login:
    """Gives kopf connections that are ours to close: its own outlive a cancelled start."""

    def __init__(self, registry: kopf.OperatorRegistry, access: Callable[[], Access]) -> None:
        """Log in for this registry's handlers; `access` is asked anew each time."""
        self._access = access
        self._sessions: list[aiohttp.ClientSession] = []
        kopf.on.login(registry=registry)(self._login)
        kopf.on.cleanup(registry=registry)(_end_watches)

    async def close(self) -> None:
        """Close what is left."""
        for session in self._sessions:
            await session.close()

    async def _login(self, **_: object) -> kopf.AiohttpSession:
        found = self._access()
        info = kopf.ConnectionInfo(
            server=found.server,
            ca_path=found.ca_file or None,
            token=found.token or None,
            scheme="Bearer" if found.token else None,
            certificate_path=found.certificate_file or None,
            private_key_path=found.key_file or None,
            insecure=found.insecure or None,
        )
        connector = aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context())
        session = aiohttp.ClientSession(connector=connector, headers=info.as_http_headers())
        # kopf has closed those whose token had run out.
        self._sessions = [*(one for one in self._sessions if not one.closed), session]
        return kopf.AiohttpSession(server=found.server, aiohttp_session=session)


async def _end_watches(**_: object) -> None:
    """Cancel kopf's watches before it does so itself, which some swallow, so that it never ends.

    kopf cancels a watch at once with the task whose end tells the watch to pause.
    """
    for _round in range(_ROUNDS):
        left = {one for one in asyncio.all_tasks() if one.get_name().startswith("watcher for ")}
        if not left:
            return
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=0.1)


async def operate(
    registry: kopf.OperatorRegistry,
    told: kopf.OperatorSettings,
    namespaces: Sequence[str],
    **more: Any,  # noqa: ANN401 - kopf's
) -> None:
    """Run kopf until it ends; no namespaces are all."""
    # Without it kopf names itself after its user, and the user of an image has no name.
    os.environ.setdefault("POD_ID", "fodc")
    await kopf.operator(
        registry=registry,
        settings=told,
        standalone=True,
        clusterwide=not namespaces,
        namespaces=tuple(namespaces),
        **more,
    )
