# SPDX-License-Identifier: Apache-2.0
"""A small fleet of real processes for the integration cases: pages we write, agents, one proxy."""

import contextlib
import json
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self, TypeVar

from e2e import programs
from e2e.https_servers import QuietServer

T = TypeVar("T")


def until(what: str, ask: Callable[[], T], deadline_s: float = 20.0) -> T:
    """Ask again until the answer is true, and give it; raises with the name of what never came."""
    end = time.monotonic() + deadline_s
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"{what}: still {answer!r} after {deadline_s:.0f} s")
        time.sleep(0.03)


@contextlib.contextmanager
def kept_port() -> Iterator[int]:
    """A loopback port that is given to nobody else; connections are refused until one listens."""
    with socket.socket() as kept:
        # A second socket with this option may listen on what is bound and not listened on.
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


@dataclass
class PageNode:
    """A node that is nothing but a metrics page which the test writes."""

    page: str
    delay_s: float = 0.0
    scrapes: int = 0
    port: int = 0

    @contextlib.contextmanager
    def served(self) -> Iterator["PageNode"]:
        """Listen on a free loopback port for the length of the block."""
        node = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                node.scrapes += 1
                if self.path != "/metrics":
                    self.send_error(404)
                    return
                body = node.page.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = QuietServer(("127.0.0.1", 0), Handler)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def get(url: str, timeout_s: float = 20.0) -> bytes:
    """The body of a 200."""
    with urllib.request.urlopen(url, timeout=timeout_s) as answer:
        body: bytes = answer.read()
        return body


def get_json(url: str, **query: str) -> Any:
    """A JSON body."""
    suffix = f"?{urllib.parse.urlencode(query)}" if query else ""
    return json.loads(get(url + suffix))


def nodes(proxy: programs.Program) -> list[dict[str, Any]]:
    """What /cluster says of the nodes."""
    found: list[dict[str, Any]] = get_json(f"{proxy.http}/cluster")["nodes"]
    return found


def phases(proxy: programs.Program) -> dict[str, str]:
    """Phase by pod."""
    return {node["pod_name"]: node["phase"] for node in nodes(proxy)}


def rfc3339(at_s: float) -> str:
    """Whole UTC seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))


class Fleet:
    """Owns every process that a case starts."""

    def __init__(self, folder: Path, contract: str) -> None:
        self.folder = folder
        self.contract = contract
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def proxy(self, *arguments: str, name: str = "proxy") -> programs.Program:
        """Start a proxy with short times."""
        short = (
            "--heartbeat-interval=1s",
            "--agent-heartbeat-timeout=3s",
            "--agent-cleanup-timeout=6s",
        )
        started = programs.start_proxy(self.folder, *short, *arguments, name=name)
        return self._stack.enter_context(programs.running(started))

    def node(self, page: str) -> PageNode:
        """Serve a page."""
        return self._stack.enter_context(PageNode(page).served())

    def agent(
        self, proxy: str, node: PageNode, pod_name: str, role: str, *arguments: str
    ) -> programs.Program:
        """Start an agent that scrapes five times a second."""
        started = programs.start_agent(
            self.folder / f"{pod_name}-{role}",
            f"--contract={self.contract}",
            "--poll-metrics-interval=200ms",
            "--reconnect-interval=200ms",
            *arguments,
            pod_name=pod_name,
            proxy=proxy,
            metrics_port=node.port,
            pprof_port=node.port,
            node_role=role,
        )
        return self._stack.enter_context(programs.running(started))
