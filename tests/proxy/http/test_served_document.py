# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document against what is served: generated calls, real answers."""

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Self

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from fodc_api.requests import MAX_WAIT_S
from fodc_protocol.artifacts import Manifest
from fodc_protocol.configuration import ConfigEntry, Source
from fodc_protocol.link import frames
from fodc_proxy.access.door import Door
from fodc_proxy.access.tokens_file import TokensFile
from fodc_proxy.captures.assembly import Diagnostics, DiagnosticsSettings, assemble
from fodc_proxy.evidence.configurations.assembly import assemble as configurations_of
from fodc_proxy.evidence.gathering import Findings
from fodc_proxy.evidence.incidents.assembly import assemble as incidents_of
from fodc_proxy.evidence.incidents.engine import Incidents
from fodc_proxy.evidence.incidents.retention import IncidentRetention
from fodc_proxy.evidence.keeping import Keeper
from fodc_proxy.evidence.views import Views
from fodc_proxy.fleet.membership import Contract, Registration
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.http.edge import Edge
from fodc_proxy.http.listener import WebServer
from fodc_proxy.queries.plan import Kind, Window
from fodc_proxy.queries.results import Answer, RoundResult, Selection

from ..incidents.told import pod_told  # noqa: TID252 - one folder's tests
from ..served import DOCUMENT, app_of  # noqa: TID252 - as above

NOW_MS = 1_800_000_000_000
TOKEN = "a-token-of-the-document"


class Nobody:
    """A link over which nobody is reached."""

    def send(self, pod_name: str, frame: frames.ProxyFrame) -> bool:
        return False


class Unasked:
    """Agents that have no stream for what they left behind."""

    def ask_crashes(self, agent_id: str) -> str:
        return "no stream"

    def ask_events(self, agent_id: str, request_id: str) -> str:
        return "no stream"


class SameForAll:
    """Every agent answers with the same configuration, and has neither metrics nor a window."""

    collection_timeout_s = 8.0

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def configuration(self, selection: Selection) -> RoundResult[frames.Configuration]:
        entries = (ConfigEntry("flush", "5s", Source.FLAG),)
        value = frames.Configuration(1, 1, "h", NOW_MS, entries)
        members = [m for m in self._registry.members() if selection.covers(m)]
        return RoundResult(tuple(Answer(member, value) for member in members), ())

    async def evidence(
        self, selection: Selection, kind: Kind, patience_s: float | None = None
    ) -> RoundResult:
        return RoundResult((), ())

    async def metrics(self, selection: Selection, timeout_s: float | None = None) -> RoundResult:
        return RoundResult((), ())

    async def windows(self, selection: Selection, window: Window) -> RoundResult:
        return RoundResult((), ())


class ServedProxy:
    """The HTTP side of a proxy in a thread of its own, with one artifact and a few nodes."""

    def __init__(self, folder: Path) -> None:
        self.url = ""
        self._folder = folder
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="served proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _serve(self) -> None:
        registry = Registry(clock_ms=lambda: NOW_MS)
        for pod, contract in (("pod-0", Contract.LINK), ("pod-1", Contract.FODC)):
            state = frames.NodeState("ROLE_DATA")
            registry.register(Registration(frames.Identity(pod), state, contract))
        parts = assemble(
            DiagnosticsSettings(self._folder),
            registry=registry,
            link=Nobody(),
            clock_ms=lambda: NOW_MS,
        )
        await parts.open()
        await self._put_artifact(parts.store)
        tokens = self._folder / "tokens"
        tokens.write_text(f"anna admin {TOKEN}\n")
        tokens.chmod(0o600)
        rounds = SameForAll(registry)
        keeper = Keeper(parts.store, parts.partials, lambda: True)
        self.app = app_of(
            Edge(door=Door([TokensFile(str(tokens))])),
            registry=registry,
            rounds=rounds,
            views=Views(registry, rounds, check_interval_s=0),
            configurations=configurations_of(parts, registry, rounds, clock_ms=lambda: NOW_MS),
            findings=Findings(registry, Unasked(), keeper),
            incidents=await self._incidents(parts, registry),
            engine=parts.engine,
            store=parts.store,
        )
        server = WebServer(self.app)
        await server.start("127.0.0.1", 0)
        self.url = f"http://{server.address}"
        self._ready.set()
        await self._over.wait()
        await server.stop()
        await parts.stop()

    async def _incidents(self, parts: Diagnostics, registry: Registry) -> Incidents:
        limits = IncidentRetention()
        incidents = incidents_of(parts, registry, limits, clock_ms=lambda: NOW_MS)
        await incidents.open()
        await incidents.pod_ended(pod_told(log="the end"))
        return incidents

    async def _put_artifact(self, store) -> None:
        content = self._folder / "content"
        content.write_bytes(b"abc")
        sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        about = ("art-1", "r1", "cmd-1", "pod-0", "pod-0", "ROLE_DATA", "cpu", "pprof")
        manifest = Manifest(*about, 3, sha256, 1, NOW_MS, NOW_MS, 0)
        await store.commit(manifest, content)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with ServedProxy(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture(scope="module")
def document(proxy):
    return schemathesis.openapi.from_url(f"{proxy.url}/openapi.json")


# Rules between fields (one cpu capture per request, a deadline longer than the longest capture),
# words that the fleet decides on (roles), types of profiles, and times are more than a schema says.
BEYOND_SCHEMAS = {
    "/diagnostics/requests",
    "/cluster",
    "/cluster/config",
    "/metrics",
    "/metrics-windows",
    "/diagnostics",
    "/pressure-profiles",
    "/pressure-profiles/{pod_name}/{profile_id}/{type}",
    "/artifacts/{id}/links",  # 1.0 is a whole number to a schema
}


def number(told):
    """Return a parameter as a number, 0 for what is none."""
    try:
        return float(told)
    except (TypeError, ValueError):
        return 0.0


EXAMPLES = int(os.environ.get("FODC_FUZZ_EXAMPLES", "12"))
"""Of each operation; 120 take a minute, 1,200 ten."""


@pytest.mark.slow
@pytest.mark.timeout(2 * EXAMPLES + 120)
def test_every_call_is_answered_as_documented(document):
    """Defects P14, P15, T4: error bodies that were not listed, a null where a text was promised."""
    operations = [found.ok() for found in document.get_all_operations()]
    methods = {(path, method) for path, item in DOCUMENT["paths"].items() for method in item}
    # The tool leaves out where it has the document from.
    assert methods - {(one.path, one.method.lower()) for one in operations} == {
        ("/openapi.json", "get")
    }
    for operation in operations:

        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def call(case):
            excluded = [positive_data_acceptance] if case.path in BEYOND_SCHEMAS else []
            headers = {"Authorization": f"Bearer {TOKEN}"}
            if case.query and 1 < number(case.query.get("wait_seconds")) <= MAX_WAIT_S:
                case.query["wait_seconds"] = 0  # it would keep what it promises
            case.call_and_validate(timeout=10, excluded_checks=excluded, headers=headers)

        call()


def test_every_row_of_the_table_is_served_and_documented(proxy):
    served = {
        (route.resource.canonical, route.method.lower())
        for route in proxy.app.router.routes()
        if route.resource is not None
    }
    documented = {(path, method) for path, item in DOCUMENT["paths"].items() for method in item}
    assert served == documented


def test_every_reference_of_the_document_leads_somewhere():
    names = {
        piece.split('"')[0] for piece in json.dumps(DOCUMENT).split("#/components/schemas/")[1:]
    }
    assert names <= set(DOCUMENT["components"]["schemas"])


def test_every_json_error_is_the_one_problem():
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            for code, answer in operation["responses"].items():
                content = answer.get("content", {}).get("application/json")
                if int(code) >= 400 and content and path != "/readyz":
                    assert content["schema"] == {"$ref": "#/components/schemas/Problem"}, method
