# SPDX-License-Identifier: Apache-2.0
"""What the webhook grows by under 300 slow and large bodies, and whether others are answered.

The flood is a process of its own: connections by TLS that promise a body of 2.5 MiB, send a half of
it at once and go on byte by byte, as long as each is let. Beside it pods are created through the
real API server, which asks the same webhook.
"""

import asyncio
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from bench.figures import MALLOC, Figure
from bench.webhook_latency import new_namespace, pod, policies
from e2e import operators, webhooks
from e2e.controlplane import installing
from e2e.controlplane.cluster import ControlPlane, control_plane

PEERS = 300
BODY_BYTES = 2560 * 1024
HALF = b"x" * (BODY_BYTES // 2)
HANDSHAKES = 8
FLOOD_S = 20.0
PAUSE_S = 0.25
NAME = "webhook_flood_growth_mib"
GOAL_MIB = 32


async def dribble(
    address: str, until_s: float, turns: asyncio.Semaphore, context: ssl.SSLContext
) -> int:
    """Send one large and slow body after the other; return how many were begun.

    Handshakes take turns: of 300 at once none would end before the next ones took its place.
    """
    host, _, port = address.rpartition(":")
    head = (
        f"POST /inject HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {BODY_BYTES}\r\n\r\n"
    )
    begun = 0
    while time.monotonic() < until_s:
        try:
            async with asyncio.timeout(max(until_s - time.monotonic(), 0)), turns:
                _, writer = await asyncio.open_connection(host, int(port), ssl=context)
                writer.write(head.encode() + b'{"request": {"uid": "u", "object": "' + HALF)
                begun += 1
            while time.monotonic() < until_s and not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(PAUSE_S)
            writer.close()
        except OSError:  # TimeoutError among them
            await asyncio.sleep(PAUSE_S)
    return begun


async def flood(address: str) -> int:
    """Flood from all peers at once; return how many bodies were begun."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # a stranger trusts anybody
    until_s, turns = time.monotonic() + FLOOD_S, asyncio.Semaphore(HANDSHAKES)
    peers = (dribble(address, until_s, turns, context) for _ in range(PEERS))
    return sum(await asyncio.gather(*peers))


def asked_meanwhile(plane: ControlPlane, namespace: str, flooding: subprocess.Popen[str]) -> str:
    """Create pods until the flood ends; return how many got their agent and the slowest of them."""
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    took_s, injected = [], 0
    while flooding.poll() is None:
        began = time.monotonic()
        made = plane.api().create(path, pod(f"pod-{len(took_s)}"))
        took_s.append(time.monotonic() - began)
        assert made.status == 201, made.body
        injected += "initContainers" in made.body["spec"]
        time.sleep(PAUSE_S)
    return (
        f"{injected} of {len(took_s)} pods created meanwhile got their agent, none was refused, "
        f"the slowest took {max(took_s):.2f} s of the 2 s after which a server goes on alone"
    )


def measured(plane: ControlPlane, folder: Path) -> Figure:
    """Flood a webhook that has answered before; memory is the highest that the kernel saw."""
    home, namespace = installing.new_namespace(plane), new_namespace(plane)
    for body in policies(namespace):
        plane.api().create(installing.collection(namespace, "fodcinjections"), body)
    told = ("--log-level=error",)
    with webhooks.injecting(folder, plane, home=home, namespace=namespace, both=told) as site:
        path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        for number in range(50):
            operators.wait_for(
                "an agent",
                lambda n=number: (
                    "initContainers" in plane.api().create(path, pod(f"warm-{n}")).body["spec"]
                ),
            )
        before_mib = site.webhook.resident_mib()
        Path(f"/proc/{site.webhook.pid}/clear_refs").write_text("5")  # VmHWM from here
        with subprocess.Popen(  # our own program
            [sys.executable, "-m", "bench.webhook_flood", site.address],
            stdout=subprocess.PIPE,
            text=True,
        ) as flooding:
            others = asked_meanwhile(plane, namespace, flooding)
            assert flooding.stdout is not None
            begun = json.loads(flooding.stdout.read())
        growth_mib = site.webhook.resident_mib("VmHWM") - before_mib
    text = (
        f"{PEERS} connections at a time for {FLOOD_S:g} s, each a body of {BODY_BYTES >> 20}.5 MiB "
        f"half of which comes at once and the rest byte by byte ({begun} were begun, {HANDSHAKES} "
        f"handshakes at a time); the highest "
        f"resident memory above the one before; {others}"
    )
    return Figure(round(growth_mib, 1), "MiB", GOAL_MIB, text)


def run(names: Sequence[str] = ()) -> dict[str, Figure]:
    """Measure the one figure of this file."""
    del names
    with (
        patch.dict(os.environ, MALLOC),
        tempfile.TemporaryDirectory(prefix="fodc-bench-") as folder,
        control_plane(Path(folder) / "run") as plane,
    ):
        installing.install_crds(plane)
        return {NAME: measured(plane, Path(folder))}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(flood(sys.argv[1]))), flush=True)
