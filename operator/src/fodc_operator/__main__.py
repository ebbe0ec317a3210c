# SPDX-License-Identifier: Apache-2.0
"""The program `fodc-operator`."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from fodc_operator import settings as own
from fodc_protocol.errors import FodcError, OptionError
from fodc_protocol.options import Address, Resolved, describe, wants_help
from fodc_protocol.version import VERSION
from fodc_proxy import log
from fodc_proxy.settings_file import settings_file

if TYPE_CHECKING:
    from fodc_operator.runtime import Operator


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; returns 0, 2 for wrong settings, 1 when something ended it."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if wants_help(arguments):
        _say(own.help_text())
        return 0
    try:
        values = _values(arguments, os.environ)
        settings = own.settings_of(values)
    except OptionError as error:
        _say(f"{own.PROGRAM}: {error.message}\n", sys.stderr)
        return 2
    if values.flag("version"):
        _say(f"{own.PROGRAM} {VERSION}\n")
        return 0
    log.set_up_log(settings.proxy.log_level, settings.proxy.log_format)
    return asyncio.run(_run(settings, values))


def _values(arguments: Sequence[str], environ: Mapping[str, str]) -> Resolved:
    """Resolve twice when there is a file: first to learn its name."""
    values = own.resolved(arguments, environ)
    path = values.text("config")
    return own.resolved(arguments, environ, settings_file(path)) if path else values


async def _run(settings: own.Settings, values: Resolved) -> int:
    # Most of a start, which help, version and wrong settings do without.
    from fodc_kube.access import api_client  # noqa: PLC0415 - see above
    from fodc_operator.runtime import Operator  # noqa: PLC0415 - see above

    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop.set)
    log.log_settings(describe(values))
    try:
        async with api_client(settings.kubeconfig, "fodc-operator") as api:
            operator = Operator(settings, api)
            await operator.listen()
            if settings.proxy.print_addresses:
                _print_addresses(operator, settings.proxy.grpc_listen)
            return await operator.run(asked_to_stop)
    except OptionError as error:
        _say(f"{own.PROGRAM}: {error.message}\n", sys.stderr)
        return 2
    except (OSError, FodcError) as error:
        _say(f"{own.PROGRAM}: {error}\n", sys.stderr)
        return 1


def _print_addresses(operator: "Operator", grpc: Address) -> None:
    """Tell where it listens; agents are let in there only while this replica leads."""
    addresses = {
        "grpc": f"{grpc.host or '127.0.0.1'}:{grpc.port}",
        "http": operator.proxy.http_address,
    }
    _say(json.dumps(addresses) + "\n")


def _say(text: str, stream: TextIO | None = None) -> None:
    out = stream or sys.stdout
    out.write(text)
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
