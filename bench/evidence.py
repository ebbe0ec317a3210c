# SPDX-License-Identifier: Apache-2.0
"""What evidence costs: a comparison of schemas over a fleet, and a large profile on its way.

The one idea: both are measured on real processes over real sockets; only the fleet is simulated,
in this process, which is why the proxy's processor time counts and not the time that passes.
"""

import asyncio
import contextlib
import http.server
import json
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import grpc
import grpc.aio

from bench.capture import finished, post, wait_online
from bench.figures import Figure
from bench.programs import fetch, proxy
from e2e import programs
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc
from fodc_wire.fodc.v1 import agent_link_pb2 as link

NODES, GROUPS, OBJECTS, ROUNDS = 20, 500, 10, 5
PIECE_BYTES = 128 * 1024
PROFILE_MB, PROFILES = 150, 2  # one artifact has 256 MiB at most
_CONNECT = "/fodc.v1.AgentLink/Connect"
_MIB = 1 << 20


# ---- schema -------------------------------------------------------------------------------------


def lifecycle_of(node: str) -> bytes:
    """What a node tells: each group with ten objects."""
    told = fodc.StreamLifecycleRequest(pod_name=node)
    for group in range(GROUPS):
        made = told.lifecycle_data.groups.add(name=f"group-{group}", catalog="CATALOG_MEASURE")
        made.resource_opts.shard_num = 2
        for number in range(OBJECTS):
            one = made.schema_consistency.objects.add(kind="measure", name=f"measure-{number}")
            value = group * 1_000_003 + number
            one.node_fingerprints.add(node=node, cache_fingerprint=value, runtime_fingerprint=value)
    return told.SerializeToString()


def registry() -> list[bytes]:
    """What a liaison tells of the registry: the same fingerprints."""
    told = []
    for group in range(GROUPS):
        made = fodc.StreamSchemaRegistryRequest()
        made.group.group = f"group-{group}"
        for number in range(OBJECTS):
            value = group * 1_000_003 + number
            made.group.objects.add(kind="measure", name=f"measure-{number}", fingerprint=value)
        told.append(made.SerializeToString())
    return [*told, fodc.StreamSchemaRegistryRequest(done=True).SerializeToString()]


def pieces(query_id: int, messages: Sequence[bytes]) -> Iterator[bytes]:
    for data in messages:
        for at in range(0, len(data), PIECE_BYTES):
            whole = at + PIECE_BYTES >= len(data)
            part = link.Evidence(query_id=query_id, data=data[at : at + PIECE_BYTES], whole=whole)
            yield link.AgentFrame(evidence=part).SerializeToString()
    end = link.Evidence(query_id=query_id, last=True)
    yield link.AgentFrame(evidence=end).SerializeToString()


async def agent(address: str, number: int, linked: asyncio.Semaphore) -> None:
    """One agent of the link, for as long as it is not cancelled."""
    name = f"node-{number}"
    answers = {"lifecycle_query": [lifecycle_of(name)], "registry_query": registry()}
    role = "ROLE_LIAISON" if number == 0 else "ROLE_DATA"
    hello = link.Hello(
        protocol_min=1,
        protocol_max=1,
        agent_version="bench",
        identity=link.Identity(pod_name=name),
        incarnation=f"i{number}",
        state=link.NodeState(node_role=role),
    )
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream(_CONNECT)()
        await call.write(link.AgentFrame(hello=hello).SerializeToString())
        while (data := await call.read()) is not grpc.aio.EOF:
            frame = link.ProxyFrame.FromString(data)
            kind = frame.WhichOneof("frame")
            if kind == "welcome":
                linked.release()
            elif kind in answers:
                for one in pieces(getattr(frame, kind).query_id, answers[kind]):
                    await call.write(one)
            elif kind.endswith("_query"):
                query_id = getattr(frame, kind).query_id
                failed = link.QueryFailed(query_id=query_id, reason="Unsupported")
                await call.write(link.AgentFrame(query_failed=failed).SerializeToString())


@contextlib.asynccontextmanager
async def fleet(address: str) -> AsyncIterator[None]:
    linked = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(agent(address, number, linked)) for number in range(NODES)]
    for _ in tasks:
        await linked.acquire()
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def schema_costs_s() -> list[float]:
    """Processor time of the proxy for each collection; the first one, which learns, is left out."""
    costs: list[float] = []
    with proxy("--insecure-http", "--insecure-agents") as (process, addresses):
        async with fleet(addresses["grpc"]):
            for _ in range(ROUNDS + 1):
                before_s = process.cpu_s()
                answer = await asyncio.to_thread(fetch, addresses["http"], "/cluster/lifecycle")
                costs.append(process.cpu_s() - before_s)
                found = json.loads(answer.body)["groups"]
                verdicts = {one["schema_consistency"]["status"] for one in found}
                if len(found) != GROUPS or verdicts != {"CONSISTENCY_STATUS_CONSISTENT"}:
                    raise RuntimeError(f"{len(found)} groups with {verdicts}: {found[0]['errors']}")
    return costs[1:]


def schema_check() -> Figure:
    costs = asyncio.run(schema_costs_s())
    method = (
        f"processor time of the proxy for one GET /cluster/lifecycle: {GROUPS} groups of {OBJECTS} "
        f"objects on {NODES} nodes, registry and nodes told over the link; median of {ROUNDS} "
        f"(all: {', '.join(f'{one:.2f}' for one in costs)})"
    )
    return Figure(round(statistics.median(costs), 2), "s", 1, method)


# ---- a large profile ----------------------------------------------------------------------------


class Large(http.server.BaseHTTPRequestHandler):
    """A node with a page, whose execution trace has 150 MB."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with the page, or with the trace."""
        if not self.path.startswith("/debug/pprof/trace"):
            self._answer(b"up 1\n", 1)
            return
        block = b"\0" * _MIB
        self._answer(b"go 1.22 trace\0\0\0" + block[16:], PROFILE_MB * 1_000_000 // _MIB, block)

    def _answer(self, first: bytes, count: int, block: bytes = b"") -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(first) + (count - 1) * len(block)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(first)
            for _ in range(count - 1):
                self.wfile.write(block)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def large_node() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Large)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def growths_mib(folder: Path) -> tuple[float, float]:
    """How far the agent and the proxy grow above what they were, while the profile passes."""
    limits = ("--capture-max-bytes=400MiB", "--capture-quota=800MiB")
    with (
        large_node() as port,
        programs.running(programs.start_proxy(folder)) as served,
        programs.running(
            programs.start_agent(
                folder,
                *limits,
                pod_name="pod-0",
                proxy=served.grpc,
                metrics_port=port,
                pprof_port=port,
            )
        ) as agent_,
    ):
        wait_online(served.http)
        time.sleep(2.0)  # what a start costs is over
        watched = (agent_, served)
        for one in watched:
            Path(f"/proc/{one.pid}/clear_refs").write_text("5")  # VmHWM begins anew
        before = [one.resident_mib() for one in watched]
        for _ in range(PROFILES):
            capture_trace(served.http)
        peaks = [one.resident_mib("VmHWM") for one in watched]
    agent_mib, proxy_mib = (peak - was for peak, was in zip(peaks, before, strict=True))
    return agent_mib, proxy_mib


def capture_trace(http: str) -> None:
    captures = [{"profile": "trace", "duration_seconds": 1}]
    asked = {"target": {"names": ["pod-0"]}, "captures": captures}
    made = post(f"{http}/diagnostics/requests", asked)
    done = finished(f"{http}/diagnostics/requests/{made['id']}")
    if done["phase"] != "Succeeded":
        raise RuntimeError(f"the capture ended as {done['phase']}: {json.dumps(done)}")


def large_profile() -> Figure:
    with tempfile.TemporaryDirectory(prefix="fodc-bench-") as name:
        agent_mib, proxy_mib = growths_mib(Path(name))
    method = (
        f"{PROFILES} execution traces of {PROFILE_MB} MB from the node into the store, one after "
        "the other: peak above what the "
        f"process had before, agent {agent_mib:.1f} MiB, proxy {proxy_mib:.1f} MiB; the larger one"
    )
    return Figure(round(max(agent_mib, proxy_mib), 1), "MiB", 16, method)


def run(names: Sequence[str] = ()) -> dict[str, Figure]:
    """Measure what is wanted, both without a name."""
    makers = {"schema_check_s": schema_check, "large_profile_growth_mib": large_profile}
    return {name: make() for name, make in makers.items() if not names or name in names}


if __name__ == "__main__":
    for found, figure in run().items():
        print(found, figure.told(), figure.method, sep="\n")
