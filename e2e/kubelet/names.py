# SPDX-License-Identifier: Apache-2.0
"""The name server of the pods: a Service's name is answered with its ready endpoints.

The one idea: with the addresses of the pods themselves nothing has to translate those of Services,
so there is neither a kube-proxy nor CoreDNS; the API server is asked at each question.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from e2e.controlplane.cluster import ControlPlane

DOMAIN: Final = "cluster.local"
PORT: Final = 53
TTL_S: Final = 0
_LONGEST_QUESTION: Final = 4096


@contextlib.contextmanager
def answering(plane: ControlPlane, host: str) -> Iterator[None]:
    """Answer at this address for the length of a with-block."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((host, PORT))
        thread = threading.Thread(target=_serve, args=(server, plane), name="names", daemon=True)
        thread.start()
        try:
            yield
        finally:
            # An empty question ends the thread.
            server.sendto(b"", (host, PORT))
            thread.join(5)


def _serve(server: socket.socket, plane: ControlPlane) -> None:
    """Answer until an empty datagram comes."""
    while True:
        question, sender = server.recvfrom(_LONGEST_QUESTION)
        if not question:
            return
        with contextlib.suppress(dns.exception.DNSException, OSError):
            server.sendto(reply(question, plane), sender)


def reply(question: bytes, plane: ControlPlane) -> bytes:
    """Return the answer to one question; raises DNSException when it is none."""
    asked = dns.message.from_wire(question)
    told = dns.message.make_response(asked, recursion_available=True)
    told.flags |= dns.flags.AA
    (wanted,) = asked.question
    addresses = _addresses(plane, wanted.name.to_text(omit_final_dot=True))
    if addresses is None:
        told.set_rcode(dns.rcode.NXDOMAIN)
    elif addresses and wanted.rdtype == dns.rdatatype.A:
        told.answer.append(dns.rrset.from_text(wanted.name, TTL_S, "IN", "A", *addresses))
    return told.to_wire()


def _addresses(plane: ControlPlane, name: str) -> list[str] | None:
    """Return the addresses behind a Service's full name, None when there is no such Service."""
    labels = name.removesuffix(f".{DOMAIN}").split(".")
    if not name.endswith(f".svc.{DOMAIN}") or len(labels) != 3:
        return None
    service, namespace, _ = labels
    if plane.api().get(f"/api/v1/namespaces/{namespace}/services/{service}").status != 200:
        return None
    selector = f"labelSelector=kubernetes.io/service-name={service}"
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?{selector}"
    return ready(plane.api().get(path).body["items"])


def ready(slices: Sequence[dict[str, Any]]) -> list[str]:
    """Return the addresses of the endpoints that are ready, in a fixed order."""
    found = [
        address
        for one in slices
        for endpoint in one.get("endpoints") or ()
        if endpoint["conditions"].get("ready")
        for address in endpoint["addresses"]
    ]
    return sorted(found)
