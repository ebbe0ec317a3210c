# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - the methods of a load generator are named for what they do
"""Thousands of simulated agents in one process: `python bench/peers.py '{"address": ...}'`.

The one idea: the load must cost less than what is measured, so the client's side of HTTP/2 is
written out by hand: one asyncio protocol per agent, headers encoded once, nothing decoded that is
not needed. Commands come as JSON lines on standard input, answers go as JSON lines to output.
"""

import asyncio
import json
import random
import ssl
import struct
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence

from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc
from fodc_wire.fodc.v1 import agent_link_pb2 as link
from fodc_wire.fodc.view.v1 import metrics_pb2 as view

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
LINK_PATH = "/fodc.v1.AgentLink/Connect"
FODC_PATH = "/banyandb.fodc.v1.FODCService/"
BEAT_DEADLINE_S = 10.0
HANDSHAKES, MANY = 128, 1_000_000
DATA_STREAMS = (
    "StreamMetrics",
    "StreamClusterTopology",
    "StreamLifecycle",
    "StreamCrashDiagnostics",
    "StreamPressureProfiles",
    "StreamSchemaRegistry",
)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream)
    return head + payload


def text(value: str) -> bytes:
    data = value.encode()
    assert len(data) < 127
    return bytes((len(data),)) + data


def request_headers(path: str, agent_id: str = "") -> bytes:
    block = b"\x83\x86\x04" + text(path) + b"\x01" + text("proxy")
    block += b"\x00" + text("content-type") + text("application/grpc")
    block += b"\x00" + text("te") + text("trailers")
    return block + (b"\x00" + text("agent_id") + text(agent_id) if agent_id else b"")


class Connection(asyncio.Protocol):
    """The least of an HTTP/2 client that carries gRPC streams, with flow control both ways."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.opened = asyncio.get_running_loop().create_future()
        self.handlers: dict[int, Callable[[bytes], None]] = {}
        self.lost = False
        self._in = bytearray()
        self._messages: dict[int, bytearray] = {}
        self._next = 1
        self._initial = 65535
        self._room = 65535
        self._rooms: dict[int, int] = {}
        self._waiting: list[tuple[int, memoryview]] = []
        self._taken = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        # Our own windows are wide, so that updates are rare.
        settings = struct.pack(">HI", 4, 1 << 24)
        wide = struct.pack(">I", 1 << 24)
        transport.write(
            PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, wide)
        )
        self.opened.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.lost = True

    def open(self, path: str, handler: Callable[[bytes], None], agent_id: str = "") -> int:
        stream, self._next = self._next, self._next + 2
        self.handlers[stream] = handler
        self._rooms[stream] = self._initial
        self.transport.write(frame(HEADERS, 4, stream, request_headers(path, agent_id)))
        return stream

    def send(self, stream: int, message: bytes) -> None:
        data = b"\0" + struct.pack(">I", len(message)) + message
        self._waiting.append((stream, memoryview(data)))
        self._flush()

    def _flush(self) -> None:
        while self._waiting:
            stream, data = self._waiting[0]
            size = min(len(data), 16384, self._room, self._rooms.get(stream, 0))
            if size <= 0:
                return
            self.transport.write(frame(DATA, 0, stream, bytes(data[:size])))
            self._room -= size
            self._rooms[stream] -= size
            if size == len(data):
                self._waiting.pop(0)
            else:
                self._waiting[0] = (stream, data[size:])

    def data_received(self, data: bytes) -> None:
        buffer = self._in
        buffer += data
        while len(buffer) >= 9:
            length = int.from_bytes(buffer[:3], "big")
            if len(buffer) < 9 + length:
                return
            kind, flags = buffer[3], buffer[4]
            stream = int.from_bytes(buffer[5:9], "big")
            payload = bytes(buffer[9 : 9 + length])
            del buffer[: 9 + length]
            self._frame(kind, flags, stream, payload)

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            self._data(stream, payload)
        elif kind == SETTINGS and not flags & 1:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at : at + 6])
                if name == 4:
                    for known in self._rooms:
                        self._rooms[known] += value - self._initial
                    self._initial = value
            self.transport.write(frame(SETTINGS, 1, 0))
            self._flush()
        elif kind == PING and not flags & 1:
            self.transport.write(frame(PING, 1, 0, payload))
        elif kind == WINDOW_UPDATE:
            (room,) = struct.unpack(">I", payload)
            if stream:
                self._rooms[stream] = self._rooms.get(stream, 0) + room
            else:
                self._room += room
            self._flush()
        elif kind in (RST, GOAWAY):
            self.lost = True

    def _data(self, stream: int, payload: bytes) -> None:
        self._taken += len(payload)
        if self._taken > 1 << 20:
            self.transport.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._taken)))
            self._taken = 0
        whole = self._messages.setdefault(stream, bytearray())
        whole += payload
        while len(whole) >= 5 and len(whole) >= 5 + int.from_bytes(whole[1:5], "big"):
            size = int.from_bytes(whole[1:5], "big")
            message = bytes(whole[5 : 5 + size])
            del whole[: 5 + size]
            handler = self.handlers.get(stream)
            if handler is not None:
                handler(message)


# ---- what agents say ----------------------------------------------------------------------------


VARIANTS = 3
"""How many pages an agent has, given by turns: values change from one scrape to the next."""


def series_of(agent: int, count: int) -> list[tuple[str, int, dict[str, str]]]:
    """Name, type and labels, each agent's own: 45 in 100 belong to histograms of 15 components."""
    base = {"pod_name": f"pod-{agent}", "container_name": "data", "node_role": "ROLE_DATA"}
    made = []
    for i in range(count):
        family = i // 15
        if i % 100 < 45:
            own = {"le": str(0.005 * 2 ** (i % 15)), "group": f"g{agent}_{family % 7}"}
            made.append((f"banyandb_h_{family}_bucket", 3, {**base, **own}))
        else:
            own = {"group": f"g{agent}_{i % 15}", "kind": "x"}
            made.append((f"banyandb_g_{family}", 1, {**base, **own}))
    return made


def link_page(agent: int, count: int, variant: int = 0) -> bytes:
    chance = random.Random(agent * VARIANTS + variant)
    families: dict[str, link.Family] = {}
    for name, kind, labels in series_of(agent, count):
        base = name.removesuffix("_bucket")
        family = families.setdefault(base, link.Family(name=base, type=kind, help=base))
        pairs = ",".join(sorted(f'{k}="{v}"' for k, v in {**labels, "node_type": "hot"}.items()))
        family.text += f"{name}{{{pairs}}} {chance.random() * 1000}\n".encode()
        family.samples += 1
    page = link.MetricsPage(collected_at_ms=1, last=True, families=families.values())
    return page.SerializeToString()


def label_entry(name: str, value: str) -> bytes:
    return b"\x0a" + text(name) + b"\x12" + text(value)


def fodc_page(agent: int, count: int, variant: int = 0, times: list[int] | None = None) -> bytes:
    """Labels in random order, as the maps of Go give them."""
    chance = random.Random(agent * VARIANTS + variant)
    page = view.StreamMetricsRequest()
    page.timestamp.seconds = 1_795_000_000
    for name, kind, labels in series_of(agent, count):
        for at in times or [0]:
            entries = [label_entry(k, v) for k, v in labels.items()]
            chance.shuffle(entries)
            metric = page.metrics.add(name=name, type=kind, labels=entries, description=name)
            metric.value = chance.random() * 1000
            if at:
                metric.timestamp.seconds = at
    return page.SerializeToString()


def window_part(agent: int, count: int, times: list[int]) -> bytes:
    chance = random.Random(agent)
    series = [
        link.WindowSeries(name=n, type=t, labels=[x for pair in ls.items() for x in pair])
        for n, t, ls in series_of(agent, count)
    ]
    values = array("d", [chance.random() * 1000 for _ in range(count * len(times))])
    stamps = [second * 1000 for second in times]
    part = link.WindowPart(schema_id=1, series=series, timestamps_ms=stamps, last=True)
    part.values = values.tobytes()
    return part.SerializeToString()


def state_of(role: str) -> link.NodeState:
    """What an agent of ours tells with every beat."""
    names = ("cpu", "heap", "goroutine", "block", "mutex", "trace", "process", "cgroup")
    return link.NodeState(
        node_role=role,
        labels={"type": "hot"},
        capabilities=[link.Capability(kind=name, state="Supported") for name in names],
        window=link.WindowExtent(oldest_ms=1, newest_ms=3_600_000, series=3000, bytes=6 << 20),
        configuration_hash="0123456789abcdef",
    )


class LinkPeer:
    """One agent of our contract."""

    def __init__(self, fleet: "Fleet", number: int) -> None:
        self.fleet, self.number = fleet, number
        self.connection: Connection | None = None
        self.stream = 0
        self.ready = asyncio.get_running_loop().create_future()
        self.sent: dict[int, float] = {}
        self.sequence = 0
        self.state = state_of(fleet.role)

    async def start(self) -> None:
        self.connection = await self.fleet.dial()
        self.stream = self.connection.open(LINK_PATH, self.heard)
        pod = f"{self.fleet.prefix}-{self.number}"
        identity = link.Identity(pod_name=pod, namespace=str(self.fleet.told.get("namespace", "n")))
        hello = link.Hello(
            protocol_min=1, protocol_max=1, identity=identity, incarnation="i", state=self.state
        )
        self.say(hello=hello)

    def say(self, **one: object) -> None:
        self.connection.send(self.stream, link.AgentFrame(**one).SerializeToString())

    def beat(self, due: float) -> None:
        self.sequence += 1
        self.sent[self.sequence] = due
        self.say(heartbeat=link.Heartbeat(sequence=self.sequence, state=self.state))

    def heard(self, data: bytes) -> None:
        said = link.ProxyFrame.FromString(data)
        kind = said.WhichOneof("frame")
        if kind == "heartbeat_ack":
            due = self.sent.pop(said.heartbeat_ack.sequence)
            self.fleet.latencies.append(time.perf_counter() - due)
        elif kind == "welcome":
            self.ready.set_result(True)
        elif kind == "refusal" and not self.ready.done():
            self.ready.set_result(False)
        elif kind == "metrics_query":
            page = link.MetricsPage.FromString(self.fleet.page(self.number))
            page.query_id, page.last = said.metrics_query.query_id, True
            self.say(metrics_page=page)
        elif kind == "window_query":
            part = link.WindowPart.FromString(self.fleet.window(self.number))
            part.query_id = said.window_query.query_id
            self.say(window_part=part)


def told_of(latencies_s: Sequence[float], sent: int) -> dict[str, object]:
    """Return what so many beats came to: one without an answer took the whole deadline."""
    missing = sent - len(latencies_s)
    got = sorted([*latencies_s, *[BEAT_DEADLINE_S] * missing])
    return {
        "sent": sent,
        "missing": missing,
        "p50_ms": got[len(got) // 2] * 1000,
        "p99_ms": got[min(len(got) - 1, int(len(got) * 0.99))] * 1000,
    }


class FodcPeer:
    """One agent of the existing contract with its seven streams."""

    def __init__(self, fleet: "Fleet", number: int) -> None:
        self.fleet, self.number = fleet, number
        self.connection: Connection | None = None
        self.ready = asyncio.get_running_loop().create_future()
        self.stream = self.metrics = 0
        self.hello = fodc.RegisterAgentRequest(
            node_role=fleet.role,
            pod_name=f"{fleet.prefix}-{number}",
            labels={"type": "hot"},
            container_names=["data"],
        ).SerializeToString()

    async def start(self) -> None:
        self.connection = await self.fleet.dial()
        self.stream = self.connection.open(FODC_PATH + "RegisterAgent", self.registered)
        self.connection.send(self.stream, self.hello)

    def beat(self, due: float) -> None:  # noqa: ARG002 - this contract has no answer to time
        self.connection.send(self.stream, self.hello)

    def registered(self, data: bytes) -> None:
        reply = fodc.RegisterAgentResponse.FromString(data)
        if reply.success:
            for name in DATA_STREAMS:
                handler = self.asked if name == "StreamMetrics" else self.ignored
                stream = self.connection.open(FODC_PATH + name, handler, reply.agent_id)
                if name == "StreamMetrics":
                    self.metrics = stream
        self.ready.set_result(reply.success)

    def ignored(self, data: bytes) -> None:
        """Other commands have no place in this load."""

    def asked(self, data: bytes) -> None:
        said = fodc.StreamMetricsResponse.FromString(data)
        is_window = said.HasField("start_time")
        page = self.fleet.window(self.number) if is_window else self.fleet.page(self.number)
        self.connection.send(self.metrics, page)


def tls_by(ca: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2"])
    return context


class Fleet:
    """All agents of this process and what they share."""

    def __init__(self, told: dict[str, object]) -> None:
        self.told = told
        self.tls = tls_by(str(told["ca"])) if "ca" in told else None
        # One process plays all agents: each would have its own processor time for its handshake.
        self.dialing = asyncio.Semaphore(HANDSHAKES if self.tls else MANY)
        self.prefix = str(told.get("prefix", "pod"))
        self.role = str(told.get("role", "ROLE_DATA"))
        self.latencies: list[float] = []
        self.peers: list[LinkPeer | FodcPeer] = []
        self._pages: dict[int, deque[bytes]] = {}
        self._windows: dict[int, bytes] = {}

    async def dial(self) -> Connection:
        host, _, port = str(self.told["address"]).rpartition(":")
        loop = asyncio.get_running_loop()
        for attempt in range(50):
            try:
                async with self.dialing:
                    made = loop.create_connection(Connection, host, int(port), ssl=self.tls)
                    return (await made)[1]
            except OSError:
                await asyncio.sleep(0.05 * (attempt + 1))
        raise ConnectionError("cannot connect")

    def page(self, number: int) -> bytes:
        if number not in self._pages:
            return b""  # without series: what makes a page is sent all the same
        self._pages[number].rotate()
        return self._pages[number][0]

    def window(self, number: int) -> bytes:
        return self._windows[number]

    def prepare(self) -> None:
        """Make all answers beforehand, so that answering costs the send alone."""
        count, is_link = int(self.told["series"]), self.told["contract"] == "link"
        points = int(self.told.get("points", 0))
        times = [1_795_000_000 + 10 * i for i in range(points)]
        for number in range(int(self.told["agents"])):
            if points:
                self._windows[number] = (
                    window_part(number, count, times)
                    if is_link
                    else fodc_page(number, count, times=times)
                )
            elif count:
                make = link_page if is_link else fodc_page
                self._pages[number] = deque(make(number, count, one) for one in range(VARIANTS))

    async def connect(self) -> dict[str, object]:
        kind = LinkPeer if self.told["contract"] == "link" else FodcPeer
        self.peers = [kind(self, number) for number in range(int(self.told["agents"]))]
        started = time.perf_counter()
        await asyncio.gather(*(peer.start() for peer in self.peers))
        waiting = asyncio.wait_for(asyncio.gather(*(p.ready for p in self.peers)), 60)
        try:
            outcomes = await waiting
        except TimeoutError:
            outcomes = [p.ready.done() and not p.ready.cancelled() for p in self.peers]
        took_s = time.perf_counter() - started
        return {"registered": sum(map(bool, outcomes)), "seconds": took_s}

    async def beats(self, seconds: float, period_s: float) -> dict[str, object]:
        """Beat evenly spread; a latency counts from when the beat was due to its answer.

        A beat that is not answered within the deadline counts as the deadline.
        """
        self.latencies.clear()
        started = time.perf_counter()
        step_s = period_s / len(self.peers)
        total = int(seconds / step_s)
        for number in range(total):
            due = started + number * step_s
            pause_s = due - time.perf_counter()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            self.peers[number % len(self.peers)].beat(due)
        await self._answered(total)
        return told_of(self.latencies, total)

    async def _answered(self, total: int) -> None:
        ends = time.perf_counter() + BEAT_DEADLINE_S
        while len(self.latencies) < total and time.perf_counter() < ends:
            await asyncio.sleep(0.05)

    async def silent_beats(self, seconds: float, period_s: float) -> dict[str, object]:
        """Beat evenly spread where the contract has no answer."""
        started = time.perf_counter()
        step_s = period_s / len(self.peers)
        total = int(seconds / step_s)
        for number in range(total):
            pause_s = started + number * step_s - time.perf_counter()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            self.peers[number % len(self.peers)].beat(0)
        return {"sent": total}

    def lost(self) -> dict[str, object]:
        return {"lost": sum(peer.connection.lost for peer in self.peers)}


async def main() -> None:
    fleet = Fleet(json.loads(sys.argv[1]))
    fleet.prepare()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        match command["do"]:
            case "connect":
                answer = await fleet.connect()
            case "beats":
                answer = await fleet.beats(command["seconds"], command["period_s"])
            case "silent_beats":
                answer = await fleet.silent_beats(command["seconds"], command["period_s"])
            case _:
                answer = fleet.lost()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
