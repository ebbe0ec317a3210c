# SPDX-License-Identifier: Apache-2.0
"""The program `fodc-proxy`."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from fodc_protocol.errors import FodcError, OptionError
from fodc_protocol.options import Resolved, describe, wants_help
from fodc_proxy import log
from fodc_proxy import settings as own
from fodc_proxy.runtime import Proxy, version
from fodc_proxy.settings_file import settings_file


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; returns 0, or 2 for wrong settings, or 1 when it cannot run."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if wants_help(arguments):
        print(own.help_text(), end="")
        return 0
    try:
        values = _values(arguments, os.environ)
        settings = own.settings_of(values)
    except OptionError as error:
        print(f"{own.PROGRAM}: {error.message}", file=sys.stderr)
        return 2
    if values.flag("version"):
        print(f"{own.PROGRAM} {version()}")
        return 0
    log.set_up_log(settings.log_level, settings.log_format)
    return asyncio.run(_run(settings, values))


def _values(arguments: Sequence[str], environ: Mapping[str, str]) -> Resolved:
    """Resolve twice when there is a file: first to learn its name."""
    values = own.resolved(arguments, environ)
    path = values.text("config")
    return own.resolved(arguments, environ, settings_file(path)) if path else values


async def _run(settings: own.Settings, values: Resolved) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    log.log_settings(describe(values))
    try:
        proxy = Proxy(settings)
        await proxy.start()
    except (OSError, FodcError) as error:
        print(f"{own.PROGRAM}: {error}", file=sys.stderr)
        return 1
    if settings.print_addresses:
        addresses = {"grpc": proxy.grpc_address, "http": proxy.http_address}
        print(json.dumps(addresses), flush=True)
    await ended.wait()
    await proxy.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
