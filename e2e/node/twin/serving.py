# SPDX-License-Identifier: Apache-2.0
"""The two listeners of the Python node: metrics with the controls, and profiles.

The one idea: a route computes an Answer; how the answer is sent, whole or spoiled by a fault, is
decided in one place afterwards.
"""

from __future__ import annotations

import json
import select
import socket
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import sampling
from faults import (
    GARBAGE_PROFILE,
    SLOW_PAUSE_S,
    SLOW_PIECE_BYTES,
    Fault,
    FaultBoard,
    Kind,
    huge_blocks,
    malformed_page,
    read_order,
)
from growing import MAX_GROWTH, grow
from live_values import measured
from page import Page
from panicking import panic_soon
from work import MAX_LOAD, Workload

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
TEXT_TYPE = "text/plain; charset=utf-8"
BYTES_TYPE = "application/octet-stream"
CONTROLS = ("/sample/load", "/sample/fault", "/sample/grow", "/sample/panic")
PROFILES = ("allocs", "block", "goroutine", "heap", "mutex", "threadcreate")
DEFAULT_PROFILE_S = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route says, before it is sent."""

    body: bytes
    content_type: str = TEXT_TYPE
    status: int = 200
    from_pprof: bool = False


@dataclass(slots=True)
class Node:
    """What the handlers share."""

    page: Page
    start: float
    began: float
    command_line: tuple[str, ...]
    faults: FaultBoard
    work: Workload

    def page_blocks(self) -> Iterator[str]:
        """Yield the page of this moment, family by family."""
        return self.page.blocks(time.monotonic() - self.began, self.start, measured(self.start))


def refused(text: str, status: int) -> Answer:
    return Answer(f"{text}\n".encode(), status=status)


def profile_error(text: str, status: int) -> Answer:
    return Answer(f"{text}\n".encode(), status=status, from_pprof=True)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection; which of the two listeners it is, the subclass knows."""

    protocol_version = "HTTP/1.1"
    place = ""
    node: Node

    def log_message(self, *arguments: object) -> None:
        """Stay silent; standard error is for what ends the node."""

    def do_GET(self) -> None:
        """Answer any method; only the controls ask which one it is."""
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        if self.place == "metrics" and parts.path in CONTROLS:
            self._send(self._control(parts.path, query))
        else:
            self._send_or_spoil(parts.path, query)

    def do_POST(self) -> None:
        """Answer as to GET."""
        self.do_GET()

    def do_HEAD(self) -> None:
        """Answer as to GET, without the body."""
        self.do_GET()

    def client_left(self) -> bool:
        """Tell whether the other side has closed the connection."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _control(self, path: str, query: dict[str, str]) -> Answer:
        if self.command != "POST":
            return refused("use POST", 405)
        try:
            said = {
                "/sample/load": self._set_load,
                "/sample/fault": self._set_fault,
                "/sample/grow": self._set_growth,
                "/sample/panic": self._panic,
            }[path](query)
        except ValueError as error:
            return refused(str(error), 400)
        return Answer(json.dumps(said).encode() + b"\n", "application/json")

    def _set_growth(self, query: dict[str, str]) -> dict[str, object]:
        text = query.get("mib_per_s", "")
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_GROWTH:
            raise ValueError("mib_per_s: want a whole number from 1 to 1024")
        grow(int(text))
        return {"mib_per_s": int(text)}

    def _panic(self, _query: dict[str, str]) -> dict[str, object]:
        panic_soon()
        return {"panics": True}

    def _set_load(self, query: dict[str, str]) -> dict[str, object]:
        text = query.get("n", "")
        if not text.isascii() or not text.isdigit() or int(text) > MAX_LOAD:
            raise ValueError(f"n: want a whole number from 0 to {MAX_LOAD}")
        self.node.work.set_load(int(text))
        return {"load": int(text)}

    def _set_fault(self, query: dict[str, str]) -> dict[str, object]:
        order = read_order(query)
        self.node.faults.set(order.place, order.kind, order.seconds)
        return {"kind": order.kind, "where": order.place, "for_s": order.seconds}

    def _send_or_spoil(self, path: str, query: dict[str, str]) -> None:
        fault = self.node.faults.current(self.place)
        match fault.kind:
            case Kind.HANG:
                if fault.wait(fault.until, self.client_left):
                    self._send(self.answer(path, query))
            case Kind.ERROR500:
                self._send(refused("the sample node was asked to fail", 500))
            case Kind.MALFORMED:
                self._send(self._malformed())
            case Kind.HUGE:
                self._send_chunks(huge_blocks(self.place), self._own_type())
            case Kind.SLOW:
                answer = self.answer(path, query)
                self._send_chunks(self._pieces(answer.body, fault), answer.content_type)
            case Kind.TRUNCATE:
                self._send_half(self.answer(path, query))
            case Kind.NONE:
                self._send(self.answer(path, query))

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        """Return what the path says without a fault."""
        raise NotImplementedError

    def _own_type(self) -> str:
        return METRICS_TYPE if self.place == "metrics" else BYTES_TYPE

    def _malformed(self) -> Answer:
        if self.place == "pprof":
            return Answer(GARBAGE_PROFILE, BYTES_TYPE)
        return Answer(malformed_page(self.node.page_blocks()), METRICS_TYPE)

    def _head(self, answer: Answer, length: int | None) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        if answer.from_pprof:
            self.send_header("X-Go-Pprof", "1")
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, answer: Answer) -> None:
        self._head(answer, len(answer.body))
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _send_half(self, answer: Answer) -> None:
        self._head(answer, len(answer.body))
        self.wfile.write(answer.body[: len(answer.body) // 2])
        self.close_connection = True

    def _send_chunks(self, pieces: Iterator[bytes], content_type: str) -> None:
        self._head(Answer(b"", content_type), None)
        for piece in pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _pieces(self, body: bytes, fault: Fault) -> Iterator[bytes]:
        for position in range(0, len(body), SLOW_PIECE_BYTES):
            yield body[position : position + SLOW_PIECE_BYTES]
            if not fault.wait(time.monotonic() + SLOW_PAUSE_S, self.client_left):
                return


class MetricsHandler(Handler):
    """Serves the page."""

    place = "metrics"

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        """Return the page of this moment."""
        if path != "/metrics":
            return refused("404 page not found", 404)
        return Answer("".join(self.node.page_blocks()).encode(), METRICS_TYPE)


class PprofHandler(Handler):
    """Serves profiles under the names and in the formats of Go."""

    place = "pprof"

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        """Return the profile that the path names."""
        name = path.removeprefix("/debug/pprof/")
        if name == path:
            return refused("404 page not found", 404)
        match name:
            case "":
                return Answer(index_page(), "text/html; charset=utf-8")
            case "cmdline":
                return Answer("\0".join(self.node.command_line).encode())
            case "profile":
                return self._cpu(query)
            case "trace":
                return profile_error("trace: Python has no execution trace", 501)
            case _ if name in PROFILES:
                return lookup(name, query)
            case _:
                return profile_error("Unknown profile", 404)

    def _cpu(self, query: dict[str, str]) -> Answer:
        text = query.get("seconds", "")
        seconds = int(text) if text.isascii() and text.isdigit() else 0
        try:
            body = sampling.cpu_profile(seconds or DEFAULT_PROFILE_S, self.client_left)
        except sampling.BusyError:
            return profile_error("Could not enable CPU profiling: already in use", 500)
        return Answer(body, BYTES_TYPE)


def lookup(name: str, query: dict[str, str]) -> Answer:
    """Return one of the profiles that need no time."""
    if "seconds" in query:
        return profile_error(f"{name}: no delta profiles from the Python node", 501)
    if query.get("debug", "0") != "0":
        return as_text(name)
    match name:
        case "heap" | "allocs":
            body = sampling.memory_profile()
        case "goroutine" | "threadcreate":
            body = sampling.counted_profile(name, sampling.thread_stacks())
        case _:
            body = sampling.empty_contention_profile()
    return Answer(body, BYTES_TYPE)


def as_text(name: str) -> Answer:
    if name != "goroutine":
        return profile_error(f"{name}: the Python node has no text form", 501)
    return Answer(sampling.thread_text(sampling.thread_stacks()).encode())


def index_page() -> bytes:
    names = sorted((*PROFILES, "cmdline", "profile", "trace"))
    items = "".join(f'<li><a href="{name}">{name}</a></li>\n' for name in names)
    return f"<html><body><ul>\n{items}</ul></body></html>\n".encode()


class Server(ThreadingHTTPServer):
    """A listener whose threads end with the process."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent about clients that leave in the middle of an answer."""


def listen(address: str, flag: str, handler: type[Handler], node: Node) -> Server:
    """Return a listener that is bound; OSError names the flag."""
    host, _, port = address.rpartition(":")
    bound = type(handler.__name__, (handler,), {"node": node})
    try:
        return Server((host, int(port)), bound)
    except (OSError, ValueError) as error:
        raise OSError(f"--{flag}: cannot listen on {address}: {error}") from error
