# SPDX-License-Identifier: Apache-2.0
"""Members of a fleet for the tests of the mirror; times are Unix milliseconds around one noon."""

from typing import Any

from fodc_protocol.link import frames
from fodc_proxy.fleet.membership import Contract, Member, Phase, Registration
from fodc_proxy.fleet.proving import Authority, Proof

NOON_MS = 1_795_003_200_000
NOON = "2026-11-18T12:00:00Z"


def identity(pod: str = "data-0", namespace: str = "banyandb", **more: Any) -> frames.Identity:
    return frames.Identity(pod_name=pod, namespace=namespace, **more)


def state(role: str = "ROLE_DATA", **more: Any) -> frames.NodeState:
    return frames.NodeState(node_role=role, **{"labels": {"type": "hot"}, **more})


def registration(pod: str = "data-0", **more: Any) -> Registration:
    told = {"identity": identity(pod), "state": state(), "contract": Contract.LINK, **more}
    return Registration(**{"agent_version": "0.1.0", **told})


def member(**more: Any) -> Member:
    told = {
        "agent_id": "agent-1",
        "identity": identity(),
        "state": state(),
        "contract": Contract.LINK,
        "phase": Phase.ONLINE,
        "registered_at_ms": NOON_MS - 60_000,
        "last_heartbeat_ms": NOON_MS - 2_000,
        "agent_version": "0.1.0",
        "authority": Authority(Proof.LOOPBACK),
        **more,
    }
    return Member(**told)
