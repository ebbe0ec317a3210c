# SPDX-License-Identifier: Apache-2.0
"""Admission webhooks of other people: one that hangs, one that fails, a mesh that adds a container.

The one idea: a thread with a listener of its own and a certificate of the CA that it is given.
"""

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

from fodc_webhook import certificates
from fodc_webhook.certificates import Held, Rules, Step

NAMES = certificates.names_of("fodc-webhook", "fodc-system", ("127.0.0.1",))


class QuietServer(ThreadingHTTPServer):
    """Whoever asks gives up on some answers, or is killed; that is no news."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class Files:
    """A chain on disk."""

    folder: Path

    @property
    def ca(self) -> bytes:
        """Return the CA as PEM."""
        return (self.folder / "ca.crt").read_bytes()


def write_certificates(folder: Path, now: datetime | None = None, **rules: timedelta) -> Files:
    """Make a CA and a leaf for 127.0.0.1 as of `now`."""
    folder.mkdir(parents=True, exist_ok=True)
    made_at = now or datetime.now(UTC)
    parts = certificates.carried_out(Step.START_ANEW, Held(), NAMES, made_at, Rules(**rules))
    for name, content in parts.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)
    return Files(folder)


Review: TypeAlias = dict[str, Any]


@dataclass
class Foreign:
    """A running server and what it was asked."""

    address: str
    asked: list[Review] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)


@contextmanager
def foreign(files: Files, behave: Callable[[Foreign, Review], Any]) -> Iterator[Foreign]:
    """Run a webhook; `behave` returns (status, body)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            one.asked.append(body)
            status, answer = behave(one, body)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = QuietServer(("127.0.0.1", 0), Handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.folder / "tls.crt", files.folder / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    one = Foreign(f"127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="foreign webhook")
    thread.start()
    try:
        yield one
    finally:
        one.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def hangs(one: Foreign, review: Review) -> tuple[int, dict[str, Any]]:
    """Answer when the test is over."""
    one.ended.wait(30)
    return 503, {}


def fails(one: Foreign, review: Review) -> tuple[int, dict[str, Any]]:
    """Answer 500."""
    return 500, {"message": "no"}


def adds_a_proxy(one: Foreign, review: Review) -> tuple[int, dict[str, Any]]:
    """Do what a service mesh does."""
    request = review["request"]
    answer = {"uid": request["uid"], "allowed": True}
    if all(c["name"] != "mesh-proxy" for c in request["object"]["spec"]["containers"]):
        container = {"name": "mesh-proxy", "image": "mesh/proxy:1"}
        steps = [{"op": "add", "path": "/spec/containers/-", "value": container}]
        patch = base64.b64encode(json.dumps(steps).encode()).decode("ascii")
        answer |= {"patchType": "JSONPatch", "patch": patch}
    head = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    return 200, {**head, "response": answer}


def shown_certificate(address: str) -> bytes:
    """Return the certificate that a listener shows now, as PEM."""
    host, _, port = address.rpartition(":")
    return ssl.get_server_certificate((host, int(port)), timeout=5).encode()
