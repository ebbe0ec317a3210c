# SPDX-License-Identifier: Apache-2.0
"""What it costs a request that its caller is looked at, with answers of the API server remembered.

Two proxies in one other process, one that lets everybody in and one that asks; the same route is
asked in turn, so that whatever else the machine does meets both alike.
"""

import asyncio
import http.client
import json
import sys
import tempfile
import time
from collections.abc import Sequence

from bench.figures import Figure
from bench.programs import Process
from fodc_protocol.options import Address
from fodc_proxy.access.access_reviews import Allowed, Decision
from fodc_proxy.access.settings import AccessSettings
from fodc_proxy.access.token_reviews import Review, Reviewed
from fodc_proxy.hosting import Host
from fodc_proxy.runtime import Proxy
from fodc_proxy.settings import Settings

ROUNDS = 3_000
WARM = 200
TOKEN = "the-token-of-the-benchmark"
PATH = "/diagnostics/requests"
TEXT = (
    f"p99 of {ROUNDS} GET {PATH} by TokenReview and SubjectAccessReview, both remembered, less "
    "that of a proxy that lets everybody in; asked in turn"
)


class Everybody:
    """An API server that knows and permits everybody."""

    async def review(self, *_asked: object) -> Review:
        """Say that it is anna."""
        return Reviewed("anna", groups=("system:authenticated", "dev"))


class Everything:
    """Permits all."""

    async def review(self, *_asked: object) -> Decision:
        """Say yes."""
        return Allowed()


def settings(folder: str, *, is_insecure: bool = False) -> Settings:
    anywhere = Address("127.0.0.1", 0)
    access = AccessSettings(is_insecure=is_insecure)
    return Settings(anywhere, anywhere, data_dir=folder, access=access)


async def serve() -> None:
    """Run both proxies until the input ends."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        host = Host(token_reviewer=Everybody(), access_reviewer=Everything())
        proxies = [Proxy(settings(one, is_insecure=True)), Proxy(settings(two), host)]
        for proxy in proxies:
            await proxy.start()
        print(json.dumps([proxy.http_address for proxy in proxies]), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for proxy in proxies:
            await proxy.stop()


def took_ms(connection: http.client.HTTPConnection) -> float:
    """Ask once, on a connection that stays."""
    began_s = time.perf_counter()
    connection.request("GET", PATH, headers={"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
    return (time.perf_counter() - began_s) * 1000


def added_ms(addresses: Sequence[str]) -> tuple[float, float]:
    """Return how much the 99th and the 50th of a hundred takes longer."""
    connections = [http.client.HTTPConnection(one, timeout=30) for one in addresses]
    times: list[list[float]] = [[] for _ in connections]
    for number in range(WARM + ROUNDS):
        for connection, taken in zip(connections, times, strict=True):
            found = took_ms(connection)
            if number >= WARM:
                taken.append(found)
    for connection in connections:
        connection.close()
    everybody, guarded = (sorted(taken) for taken in times)
    at = [guarded[int(ROUNDS * part)] - everybody[int(ROUNDS * part)] for part in (0.99, 0.5)]
    return at[0], at[1]


def run(wanted: Sequence[str] = ()) -> dict[str, Figure]:
    """Measure the one figure of this file, some seconds."""
    del wanted
    process = Process("-m", "bench.authorized")
    try:
        p99, p50 = added_ms(process.read())
    finally:
        process.child.stdin.close()
        process.end()
    text = f"{TEXT}; p50 {p50:.3f} ms"
    return {"authorized_request_added_ms": Figure(round(p99, 3), "ms", 2, text)}


if __name__ == "__main__":
    asyncio.run(serve())
