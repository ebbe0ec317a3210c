# SPDX-License-Identifier: Apache-2.0
"""The program `fodc-webhook`."""

import asyncio
import gc
import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Final, TextIO

from fodc_protocol.errors import OptionError
from fodc_protocol.options import Resolved, describe, wants_help
from fodc_protocol.version import VERSION
from fodc_webhook import settings as own
from fodc_webhook.log import set_up_log

_THRESHOLDS: Final = (5_000, 10, 10)
"""For the collector: some 150 reviews leave so much, and each look costs the one that meets it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; returns 0, 2 for wrong settings, 1 when it cannot listen."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if wants_help(arguments):
        _say(own.help_text())
        return 0
    try:
        values = own.resolved(arguments, os.environ)
        settings = own.settings_of(values)
    except OptionError as error:
        _say(f"{own.PROGRAM}: {error.message}\n", sys.stderr)
        return 2
    if values.flag("version"):
        _say(f"{own.PROGRAM} {VERSION}\n")
        return 0
    set_up_log(settings.log_level, settings.log_format)
    return asyncio.run(_run(settings, values))


async def _run(settings: own.Settings, values: Resolved) -> int:
    # Most of a start, which help, version and wrong settings do without.
    from fodc_kube.access import api_client  # noqa: PLC0415 - see above
    from fodc_webhook.program import Program  # noqa: PLC0415 - see above

    for line in describe(values):
        logging.getLogger(__name__).info("setting %s", line)
    try:
        async with api_client(settings.kubeconfig, "fodc-webhook") as api:
            program = Program(settings, api)
            await program.listen()
            # Keep the collector from walking all that was imported while pods wait.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*_THRESHOLDS)
            if settings.print_addresses:
                addresses = {"webhook": program.listener.address, "http": program.probes.address}
                _say(json.dumps(addresses) + "\n")
            await program.run()
    except OptionError as error:
        _say(f"{own.PROGRAM}: {error.message}\n", sys.stderr)
        return 2
    except OSError as error:
        _say(f"{own.PROGRAM}: {error}\n", sys.stderr)
        return 1
    return 0


def _say(text: str, stream: TextIO | None = None) -> None:
    out = stream or sys.stdout
    out.write(text)
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
