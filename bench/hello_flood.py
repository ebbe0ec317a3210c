# SPDX-License-Identifier: Apache-2.0
"""What a proxy keeps after peers that greet it with labels of 16 MiB each.

The peers are a process of their own, all at once; memory is what the kernel says of the proxy
before them and some seconds after the last has gone.
"""

import asyncio
import sys
import time
from collections.abc import Sequence

import grpc

from bench.figures import Figure
from bench.programs import Process, proxy
from fodc_wire.fodc.v1 import agent_link_pb2 as link

PEERS = 40
LABEL_BYTES = 16 * 1024 * 1024
SETTLED_S = 5.0
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1))
TEXT = f"{PEERS} peers at once, a label of 16 MiB each; resident memory {SETTLED_S:g} s afterwards"


async def greet(address: str, number: int) -> bool:
    """Say Hello with one huge label; return whether it was refused."""
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        stream = channel.stream_stream("/fodc.v1.AgentLink/Connect")()
        labels = {"k": chr(ord("a") + number % 26) * LABEL_BYTES}
        hello = link.Hello(
            protocol_min=1,
            protocol_max=1,
            identity=link.Identity(pod_name=f"pod-{number}"),
            state=link.NodeState(node_role="ROLE_DATA", labels=labels),
        )
        try:
            await stream.write(link.AgentFrame(hello=hello).SerializeToString())
            answer = await stream.read()
        except grpc.aio.AioRpcError:
            return True
    return answer is grpc.aio.EOF or not link.ProxyFrame.FromString(answer).HasField("welcome")


async def flood(address: str) -> int:
    """Greet from all peers at once; return how many were refused."""
    return sum(await asyncio.gather(*(greet(address, number) for number in range(PEERS))))


def growth_mib() -> float:
    """Return what the proxy has kept, in MiB; raises AssertionError when a peer was let in."""
    with proxy() as (process, addresses):
        before_mib = process.memory_mib("VmRSS")
        peers = Process("-m", "bench.hello_flood", addresses["grpc"])
        assert peers.read() == PEERS
        peers.end()
        time.sleep(SETTLED_S)
        return process.memory_mib("VmRSS") - before_mib


def run(wanted: Sequence[str] = ()) -> dict[str, Figure]:
    """Measure the one figure of this file, a quarter of a minute."""
    del wanted
    return {"hello_flood_growth_mib": Figure(round(growth_mib(), 1), "MiB", 16, TEXT)}


if __name__ == "__main__":
    print(asyncio.run(flood(sys.argv[1])), flush=True)
