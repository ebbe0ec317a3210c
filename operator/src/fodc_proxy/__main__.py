# SPDX-License-Identifier: Apache-2.0
"""The program `fodc-proxy`: settings, log, then everything else.

What is imported at the start is memory for as long as it runs: see `doors`.
"""

import os
import sys

from fodc_proxy import doors

doors.shut()

# ruff: noqa: E402 - the line above comes first on purpose
from collections.abc import Mapping, Sequence

from fodc_protocol.errors import OptionError
from fodc_protocol.options import Resolved, describe, wants_help
from fodc_protocol.version import VERSION
from fodc_proxy import log
from fodc_proxy import settings as own
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
        print(f"{own.PROGRAM} {VERSION}")
        return 0
    if settings.uses_tls:
        doors.unlock()
    from fodc_proxy import program  # noqa: PLC0415 - what it imports looks for `ssl`

    log.set_up_log(settings.log_level, settings.log_format)
    log.log_settings(describe(values))
    return program.run(settings)


def _values(arguments: Sequence[str], environ: Mapping[str, str]) -> Resolved:
    """Resolve twice when there is a file: first to learn its name."""
    values = own.resolved(arguments, environ)
    path = values.text("config")
    return own.resolved(arguments, environ, settings_file(path)) if path else values


if __name__ == "__main__":
    sys.exit(main())
