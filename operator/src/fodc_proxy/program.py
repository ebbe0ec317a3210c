# SPDX-License-Identifier: Apache-2.0
"""Runs a proxy by itself, until it is told to end."""

import asyncio
import json
import signal
import sys

from fodc_protocol.errors import FodcError
from fodc_proxy.runtime import Proxy
from fodc_proxy.settings import PROGRAM, Settings


def run(settings: Settings) -> int:
    """Run until SIGINT or SIGTERM; returns 0, or 1 when it cannot run."""
    return asyncio.run(_run(settings))


async def _run(settings: Settings) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        proxy = Proxy(settings)
        await proxy.start()
    except (OSError, FodcError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    if settings.print_addresses:
        addresses = {"grpc": proxy.grpc_address, "http": proxy.http_address}
        print(json.dumps(addresses), flush=True)
    await ended.wait()
    await proxy.stop()
    return 0
