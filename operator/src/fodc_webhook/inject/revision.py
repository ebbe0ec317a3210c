# SPDX-License-Identifier: Apache-2.0
"""A short name for what a policy puts into pods.

The one idea: the hash is taken of what is rendered for one pod that never changes, so that a new
version of the operator which renders something else is another revision without anybody counting.
"""

import hashlib
import json
from dataclasses import asdict
from functools import lru_cache
from typing import Final

from fodc_webhook.inject import rendering
from fodc_webhook.inject.shapes import Kind, Shape
from fodc_webhook.resources.fodc_injection import Policy

DIGITS: Final = 10
_REFERENCE: Final = Shape(
    container="data",
    kind=Kind.DATA,
    tier="hot",
    metrics_ports=(2121,),
    metrics_containers=("data",),
    cluster_state_ports=(17_912,),
    pprof_port=6060,
)


def revision_of(policy: Policy) -> str:
    """Return the revision of a policy: 10 hex digits, independent of any pod."""
    return _revision(_Same(policy))


class _Same:
    """A policy as a key that is equal to itself only: its fields are not compared."""

    __slots__ = ("policy",)

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def __hash__(self) -> int:
        return id(self.policy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.policy is self.policy


@lru_cache(maxsize=512)
def _revision(same: _Same) -> str:
    """Work it out once: it was a third of what a pod costs in the webhook."""
    policy = same.policy
    agent = policy.agent
    placement = rendering.Placement(
        shape=_REFERENCE,
        flavor=policy.flavor,
        resources={"requests": dict(agent.requests), "limits": dict(agent.limits)},
    )
    content = {
        "container": rendering.container(policy, placement, is_native=True),
        "volumes": rendering.volumes(policy, policy.flavor),
        "mode": policy.mode,
        "database": policy.database_container,
        "pprof": policy.pprof_port,
        "shared": [asdict(one) for one in policy.shared_directories],
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
