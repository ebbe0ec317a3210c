# SPDX-License-Identifier: Apache-2.0
"""Starts the agent: settings, log, port, then everything else.

The one idea: OpenSSL is 7 MiB of a 30 MiB budget, so its two doors are closed before anything else
is imported, and `ssl` is opened again only when the settings ask for TLS - before asyncio looks
for it. All users of both are prepared for their absence; hashlib then uses the interpreter's own
code.
"""

import os
import sys

for _door in ("ssl", "_hashlib"):
    # None is how an import is forbidden, which the type of the dictionary does not know.
    sys.modules.setdefault(_door, None)  # type: ignore[arg-type]

# ruff: noqa: E402 - the lines above come first on purpose
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fodc_agent.budget import memory_limit_bytes, window_bytes
from fodc_agent.settings import Settings, help_text, load, wants_help
from fodc_protocol.errors import FodcError, OptionError
from fodc_protocol.version import VERSION

if TYPE_CHECKING:
    from fodc_agent.web.server import WebServer

BAD_USAGE: Final = 2
FAILED: Final = 1
_LOOK_S: Final = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with its arguments; return its exit code: 2 for bad settings."""
    arguments = sys.argv[1:] if argv is None else argv
    if wants_help(arguments):
        print(help_text(), end="")
        return 0
    if "--version" in arguments:
        print(f"fodc-agent {VERSION}")
        return 0
    try:
        settings = load(arguments, os.environ)
    except OptionError as error:
        for line in str(error).splitlines():
            print(f"fodc-agent: {line}", file=sys.stderr)
        return BAD_USAGE
    if settings.proxy_tls is not None:
        _let_tls_in()
    return _start(settings)


def _let_tls_in() -> None:
    """Make `import ssl` work again."""
    if sys.modules.get("ssl", ...) is None:
        del sys.modules["ssl"]


def _start(settings: Settings) -> int:
    from fodc_agent.telemetry import set_up_log  # noqa: PLC0415 - see the module's docstring
    from fodc_agent.web.server import WebServer  # noqa: PLC0415 - as well

    if problem := _mistyped(settings):
        print(f"fodc-agent: {problem}", file=sys.stderr)
        return BAD_USAGE
    set_up_log(settings.log_level, settings.log_format)
    web = WebServer(settings.listen)
    try:
        address = web.bind()
    except FodcError as error:
        print(f"fodc-agent: {error}", file=sys.stderr)
        return FAILED
    if settings.print_addresses:
        print(f'{{"http": "{address}"}}', flush=True)
    settings = _fitted(replace(settings, window_budget_bytes=window_bytes(settings)))
    import asyncio  # noqa: PLC0415 - it looks for ssl

    return asyncio.run(_run(settings, web, str(address)))


def _fitted(told: Settings) -> Settings:
    """Return the settings with files that fit into memory, where that is where they lie."""
    from fodc_agent.files_in_memory import fitted, read_mounts  # noqa: PLC0415 - after the port

    settings = fitted(told, memory_limit_bytes(), read_mounts())
    if settings != told:
        import logging  # noqa: PLC0415 - as well

        logging.getLogger("fodc_agent").warning(
            "files_in_memory reason='the folders lie in a tmpfs, which counts as memory' "
            "capture_quota_bytes=%d recorder_max_bytes=%d",
            settings.capture_quota_bytes,
            settings.recorder_max_bytes,
        )
    return settings


def _mistyped(settings: Settings) -> str:
    """Return which folder can never be one; a disk that hangs is left to those who report it."""
    from threading import Thread  # noqa: PLC0415 - only once it is needed

    from fodc_agent.own_folder import in_the_way_of  # noqa: PLC0415 - as well

    folders = {"recorder-dir": settings.recorder_dir, "capture-dir": settings.capture_dir}
    found: list[str] = []

    def look() -> None:
        for name, folder in folders.items():
            if folder is not None and (path := in_the_way_of(folder)):
                found.append(f"--{name} {folder}: {path} is no folder; name one, or one to be made")

    looking = Thread(target=look, daemon=True)
    looking.start()
    looking.join(_LOOK_S)
    return "; ".join(found)


async def _run(settings: Settings, web: "WebServer", address: str) -> int:
    import logging  # noqa: PLC0415 - only once it is needed

    from fodc_agent.runtime import Program  # noqa: PLC0415 - after the port is open

    log = logging.getLogger("fodc_agent")
    log.info("starting version=%s pid=%d listen=%s", VERSION, os.getpid(), address)
    log.info("settings %s", " ".join(settings.lines))
    for line in settings.dormant:
        log.warning("not_active %s", line)
    return await Program(settings, web).run()


if __name__ == "__main__":
    sys.exit(main())
