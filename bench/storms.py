# SPDX-License-Identifier: Apache-2.0
"""Agents that all register at once, what each costs afterwards, and what an idle proxy takes."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import trustme

from bench.figures import Figure
from bench.programs import Process, fetch, peers, proxy

AGENTS = 5000
TLS_AGENTS = 2000


@dataclass(frozen=True, slots=True)
class Storm:
    """How one storm went."""

    took_s: float
    cpu_s: float
    lost: int
    kib: float


@cache
def storm(contract: str) -> Storm:
    """Let 5,000 agents register at once."""
    with proxy() as running:
        return _storm(running, AGENTS, contract=contract)


@cache
def sealed_storm() -> Storm:
    """Let 2,000 agents of our link register at once, each with a handshake."""
    with tempfile.TemporaryDirectory() as folder:
        authority = trustme.CA()
        certificate, key, ca = (f"{folder}/{name}" for name in ("tls.crt", "tls.key", "ca.crt"))
        issued = authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        authority.cert_pem.write_to_path(ca)
        files = (f"--grpc-tls-cert-file={certificate}", f"--grpc-tls-key-file={key}")
        with proxy(*files) as running:
            return _storm(running, TLS_AGENTS, contract="link", ca=ca)


def _storm(running: tuple[Process, dict[str, str]], agents: int, **told: str) -> Storm:
    process, addresses = running
    with peers(addresses["grpc"], agents=agents, series=0, **told) as fleet:
        before_mib, before_s = process.memory_mib("VmRSS"), process.cpu_s()
        outcome = fleet.ask(do="connect")
        time.sleep(2)
        cpu_s = process.cpu_s() - before_s
        lost = agents - int(str(outcome["registered"])) + int(str(fleet.ask(do="lost")["lost"]))
        kib = (process.memory_mib("VmRSS") - before_mib) * 1024 / agents
    return Storm(float(str(outcome["seconds"])), cpu_s, lost, kib)


def _idle() -> Figure:
    with proxy():
        pass  # once for nothing, so that all bytecode is there
    with proxy() as (process, addresses):
        fetch(addresses["http"], "/healthz")
        value = process.memory_mib("VmRSS")
    return Figure(
        round(value, 1),
        "MiB",
        45,
        "VmRSS of a proxy that has answered /healthz once; bytecode at hand",
    )


def _kib(contract: str, goal: float, text: str) -> Figure:
    return Figure(round(storm(contract).kib, 1), "KiB", goal, text)


_EACH = f"resident memory per agent of {AGENTS:,}"
FIGURES: dict[str, Callable[[], Figure]] = {
    "storm_lost": lambda: Figure(
        max(storm("link").lost, storm("fodc").lost), "agents", 0, "5,000 at once, each contract"
    ),
    "storm_s": lambda: Figure(
        round(storm("fodc").took_s, 2), "s", 2.8, "5,000 agents x 7 streams at once"
    ),
    "storm_cpu_s": lambda: Figure(
        round(storm("fodc").cpu_s, 2), "CPU s", 2.0, "the proxy's, from storm_s and 2 s after it"
    ),
    "storm_link_s": lambda: Figure(
        round(storm("link").took_s, 2), "s", 2.8, "5,000 agents x 1 stream at once"
    ),
    "tls_storm_lost": lambda: Figure(
        sealed_storm().lost, "agents", 0, "2,000 of our link, 128 handshakes at a time"
    ),
    "tls_storm_s": lambda: Figure(
        round(sealed_storm().took_s, 2), "s", 10, "the same; the agents' half of TLS counts too"
    ),
    "tls_kib_per_agent": lambda: Figure(
        round(sealed_storm().kib, 1), "KiB", 60, "resident memory per agent of those 2,000"
    ),
    "proxy_kib_per_agent_link": lambda: _kib("link", 45, _EACH),
    "proxy_kib_per_agent_fodc": lambda: _kib("fodc", 107, _EACH + ", 7 streams each"),
    "proxy_idle_rss_mib": _idle,
}


def run(wanted: Sequence[str] = ()) -> dict[str, Figure]:
    """Measure the wanted names, all by default; everything takes half a minute."""
    return {name: FIGURES[name]() for name in wanted or FIGURES}
