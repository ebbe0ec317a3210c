# SPDX-License-Identifier: Apache-2.0
"""Following a request to its end through cuts: long polls, and patience while the proxy is away.

The one idea: a request lives in the proxy, not in this program. Losing the connection is no
failure; only a proxy that stays away, or that no longer knows the request, is one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from fodc_api.requests import Request
from fodc_client.api import Answer, ProxyClient
from fodc_client.errors import ClientError, NotFoundError, UnreachableError
from fodc_client.output import Output

T = TypeVar("T")
_POLL_S: Final = 20
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 3.0
PATIENCE_S: Final = 120.0


class Patience:
    """Repeats an exchange while the proxy is away, at most `limit_s` at a stretch."""

    def __init__(self, output: Output, *, limit_s: float | None = None) -> None:
        self._output = output
        self._limit_s = PATIENCE_S if limit_s is None else limit_s

    async def insist(self, exchange: Callable[[], Awaitable[T]]) -> T:
        """Return what `exchange` returns; raises UnreachableError when patience is over."""
        lost_at: float | None = None
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                answer = await exchange()
            except UnreachableError as error:
                now = time.monotonic()
                if lost_at is None:
                    lost_at = now
                    self._tell(error)
                if now - lost_at + pause_s > self._limit_s:
                    raise
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                if lost_at is not None:
                    self._output.message("the proxy is back")
                return answer

    def _tell(self, error: ClientError) -> None:
        self._output.warning(
            f"lost the proxy: {error} Waiting for it, at most {self._limit_s:g} s."
        )


async def follow(
    client: ProxyClient,
    first: Answer[Request],
    *,
    patience: Patience,
    show: Callable[[Request], None],
) -> Answer[Request]:
    """Show each new state of a request and return the last one.

    Raises NotFoundError when the proxy no longer knows the request.
    """
    answer = first
    show(answer.value)
    while not answer.value.phase.ended:
        known = answer.value

        async def poll(known: Request = known) -> Answer[Request]:
            return await client.request(known.id, after_revision=known.revision, wait_s=_POLL_S)

        try:
            answer = await patience.insist(poll)
        except NotFoundError:
            raise NotFoundError(
                f"the proxy no longer knows request {known.id}: it restarted without its memory. "
                "What was stored: fodc artifacts list"
            ) from None
        show(answer.value)
        if answer.value.revision == known.revision and not answer.value.phase.ended:
            await asyncio.sleep(_FIRST_PAUSE_S)  # a proxy that answers at once must not be hammered
    return answer
