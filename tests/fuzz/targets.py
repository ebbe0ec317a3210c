# SPDX-License-Identifier: Apache-2.0
"""Everything that reads what others send: how it is fed, what it may say, and good inputs of it."""

import gzip
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from fodc_agent.recorder.columns import Columns
from fodc_agent.recorder.parser import PageParser
from fodc_operator.resources import diagnostic_request
from fodc_protocol import protobuf
from fodc_protocol.errors import FodcError
from fodc_protocol.fields import FieldError
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.samples import MetricType
from fodc_protocol.metrics.soundness import Gate
from fodc_protocol.pprof import inspect, inspect_trace
from fodc_protocol.redaction import redact_text
from fodc_protocol.steps import run_through
from fodc_proxy.access.agents.token_lines import parse_tokens
from fodc_proxy.access.tokens import callers_by_digest
from fodc_proxy.wire import codec
from fodc_proxy.wire.existing import codec as existing
from fodc_proxy.wire.http2.connection import Connection
from fodc_webhook.resources.fodc_injection import Defaults, policy_of
from fodc_webhook.review import ReviewError, read_review
from fodc_webhook.server import json_of

ROOT: Final = Path(__file__).parents[2]
DATA: Final = ROOT / "tests" / "data"
DEFAULTS: Final = Defaults("agent:1", "proxy:17912")
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass(frozen=True)
class Target:
    """`feed` returns or raises one of `says`; anything else is a fault."""

    name: str
    feed: Callable[[bytes], object]
    says: tuple[type[Exception], ...]
    seeds: Sequence[bytes]

    def __call__(self, data: bytes) -> None:
        with suppress(*self.says):
            self.feed(data)


def golden(prefix: str) -> list[bytes]:
    found = sorted((ROOT / "proto" / "golden").glob(f"{prefix}*.hex"))
    return [bytes.fromhex(path.read_text()) for path in found]


def pages() -> list[bytes]:
    found = [path.read_bytes() for path in sorted(DATA.glob("pages/*.txt"))]
    return [page[:20_000] for page in found] + [b'up{a="b"} 1\n# TYPE x counter\nx_total 0x1p3\n']


def profiles() -> list[bytes]:
    found = [path.read_bytes() for path in sorted(DATA.glob("pprof/*.pb.gz"))]
    cases = [path.read_bytes() for path in sorted(DATA.glob("pprof-cases/*"))]
    return [*found, *(gzip.decompress(one) for one in found), *cases]


def resources(kind: str) -> list[bytes]:
    metadata = {
        "namespace": "db",
        "uid": "u-1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "resourceVersion": "7",
    }
    found = []
    for path in sorted((ROOT / "crds" / "examples").glob("**/*.yaml")):
        for one in yaml.safe_load_all(path.read_text()):
            if one and one.get("kind") == kind:
                one["metadata"] = {**metadata, **one["metadata"]}
                found.append(json.dumps(one).encode())
    assert found, kind
    return found


def object_of(data: bytes) -> dict[str, Any]:
    """As the API server's answer is read: JSON, and an object."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise FieldError("body", "is no JSON") from None
    if not isinstance(found, dict):
        raise FieldError("body", "is no object")
    return found


def request_of(data: bytes) -> object:
    body = object_of(data)
    return (
        diagnostic_request.identity_of(body),
        diagnostic_request.version_of(body),
        diagnostic_request.status_of(body),
        diagnostic_request.spec_of(body),
    )


def review(data: bytes) -> object:
    return read_review(json_of(data))


def reviews() -> list[bytes]:
    head = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    told = {"uid": "u", "operation": "CREATE", "namespace": "db", "userInfo": {"username": "anna"}}
    pod = {"kind": {"group": "", "kind": "Pod"}, "object": {"metadata": {"name": "a"}, "spec": {}}}
    asked = {
        "kind": {"group": "fodc.banyandb.dev", "kind": "DiagnosticRequest"},
        "object": {"metadata": {"name": "a", "annotations": {"a": "b"}}},
    }
    return [json.dumps({**head, "request": {**told, **one}}).encode() for one in (pod, asked)]


def http2(data: bytes) -> object:
    connection, at = Connection(), 0
    for end in (*range(0, len(data), 16_000), len(data)):
        at += connection.receive(memoryview(data)[at:end])
    return connection.events


def frames() -> list[bytes]:
    call = b"\x83\x86\x04\x01/\x0f\x10\x10application/grpc"
    settings = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
    headers = len(call).to_bytes(3, "big") + bytes((1, 4, 0, 0, 0, 1)) + call
    data = bytes((0, 0, 7, 0, 1, 0, 0, 0, 1)) + b"\x00\x00\x00\x00\x02ab"
    ping = bytes((0, 0, 8, 6, 0, 0, 0, 0, 0)) + bytes(8)
    return [PREFACE + settings + headers + data + ping, PREFACE + settings]


def family(data: bytes) -> object:
    block = FamilyBlock("up", MetricType.GAUGE, "", data, data.count(b"\n"))
    return run_through(Gate((("pod_name", "data-0"),)).steps([block]))


def text(feed: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: feed(data.decode("utf-8", "replace"))


TARGETS: Final = (
    Target("frames of the link", codec.decode_agent_frame, (FodcError,), golden("fodc.v1.")),
    Target(
        "existing contract",
        existing.decode_register_request,
        (FodcError,),
        golden("banyandb.fodc.v1."),
    ),
    Target(
        "protobuf",
        lambda data: list(protobuf.fields(data)),
        (protobuf.WireError,),
        golden(""),
    ),
    Target("http/2", http2, (), frames()),
    Target("pages", lambda data: PageParser(Columns(limit=4_000)).parse(data), (), pages()),
    Target("families", family, (), [b'up{a="b"} 1\n' * 20, b'up 1\nup{x="\\n"} NaN 17\n']),
    Target("profiles", lambda data: inspect(data, max_fields=200_000), (FodcError,), profiles()),
    Target("traces", inspect_trace, (FodcError,), [(DATA / "pprof" / "trace.head").read_bytes()]),
    Target("DiagnosticRequest", request_of, (FieldError,), resources("DiagnosticRequest")),
    Target(
        "FodcInjection",
        lambda data: policy_of(object_of(data), DEFAULTS),
        (FieldError,),
        resources("FodcInjection"),
    ),
    Target("reviews", review, (ReviewError,), reviews()),
    Target(
        "tokens of people",
        text(callers_by_digest),
        (FodcError,),
        [b"anna viewer sesame-open-sesame\n# a comment\n"],
    ),
    Target(
        "tokens of agents",
        text(parse_tokens),
        (FodcError,),
        [b"rack-1 db-0,test/data-* sesame-open-sesame\n"],
    ),
    Target(
        "words of failures",
        text(redact_text),
        (),
        [b"password=hunter2 https://a:b@c/?token=x -----BEGIN PRIVATE KEY-----", b"%70ass=1"],
    ),
)
