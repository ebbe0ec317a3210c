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
ENDING = {signal.SIGTERM, signal.SIGINT}


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
    # Blocked in every thread and waited for in this one: a handler would run only when the
    # interpreter gets around to it, which a waiting main thread may never do.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
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
    announce(metrics, profiles)
    wait_for_end()


def announce(metrics: Server, profiles: Server) -> None:
    """Print the one line that tells a starter where the node listens."""
    addresses = {"metrics": address_of(metrics), "pprof": address_of(profiles)}
    print(json.dumps({**addresses, "pid": os.getpid()}), flush=True)


def address_of(server: Server) -> str:
    return f"{server.server_address[0]!s}:{server.server_address[1]}"


def wait_for_end() -> None:
    """Wait until the node is told to stop or the starter that watches over it is gone."""
    if os.environ.get("FODC_SAMPLE_NODE_STDIN") == "watch":
        threading.Thread(target=wait_for_starter, daemon=True).start()
    signal.sigwait(ENDING)
    end()


def wait_for_starter() -> None:
    """Read standard input, on which nothing ever comes, to its end."""
    while os.read(0, 4096):
        pass
    end()


def end() -> None:
    # Requests under way end with the process, as they do in the Go program.
    os._exit(0)


if __name__ == "__main__":
    main()
