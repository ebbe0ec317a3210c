# SPDX-License-Identifier: Apache-2.0
"""The sample node in Python, for machines without Go.

The one idea: same command line, page, controls and faults as the Go program beside it; profiles
are those of this process, and what Python cannot measure it refuses with 501.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

from command_line import OptionError, Options, parse_options
from faults import FaultBoard
from page import TABLE_PATH, Page
from serving import MetricsHandler, Node, PprofHandler, Server, listen
from work import MAX_LOAD, Workload

# The start and runtime that the subcommand page assumes, so that its output is reproducible.
PAGE_START = 1.7e9
PAGE_RUNTIME = "go1.24"


def main() -> None:
    """Run the node or print a page; a wrong command line or address ends with status 2."""
    try:
        options = parse_options(sys.argv[1:])
        print_page(options) if options.page_only else run(options)
    except (OptionError, OSError) as error:
        print(f"sample node: {error}", file=sys.stderr)
        sys.exit(2)


def make_page(options: Options, runtime_version: str) -> Page:
    return Page(
        table=TABLE_PATH.read_text(encoding="utf-8"),
        role=options.role,
        series=options.series,
        runtime_version=runtime_version,
    )


def print_page(options: Options) -> None:
    page = make_page(options, PAGE_RUNTIME)
    sys.stdout.write(page.text(options.at, PAGE_START, {}))


def run(options: Options) -> None:
    """Serve until SIGTERM, SIGINT or the end of the starter."""
    if options.load > MAX_LOAD:
        raise OptionError(f"--load: the Python node goes up to {MAX_LOAD}")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    node = Node(
        page=make_page(options, version),
        start=time.time(),
        began=time.monotonic(),
        command_line=("banyand", *sys.argv[1:]),
        faults=FaultBoard(),
        work=Workload(),
    )
    metrics = listen(options.metrics_address, "observability-listener-addr", MetricsHandler, node)
    profiles = listen(options.pprof_address, "pprof-listener-addr", PprofHandler, node)
    for server in (metrics, profiles):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    node.work.set_load(options.load)
    end_when_told()
    announce(metrics, profiles)
    threading.Event().wait()


def announce(metrics: Server, profiles: Server) -> None:
    """Print the one line that tells a starter where the node listens."""
    addresses = {"metrics": address_of(metrics), "pprof": address_of(profiles)}
    print(json.dumps({**addresses, "pid": os.getpid()}), flush=True)


def address_of(server: Server) -> str:
    return f"{server.server_address[0]!s}:{server.server_address[1]}"


def end_when_told() -> None:
    """End the process on a signal, and when the starter that watches over it is gone."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: end())
    if os.environ.get("FODC_SAMPLE_NODE_STDIN") == "watch":
        threading.Thread(target=wait_for_starter, daemon=True).start()


def wait_for_starter() -> None:
    """Read standard input, on which nothing ever comes, to its end."""
    while os.read(0, 4096):
        pass
    end()


def end() -> None:
    # At once and without locks, for this runs inside a signal handler too; requests under way
    # end with the process, as they do in the Go program.
    os._exit(0)


if __name__ == "__main__":
    main()
