# SPDX-License-Identifier: Apache-2.0
"""Which pod is made anew, because its agent keeps its database from starting.

The one idea: nothing that runs is ever ended. A pod whose database has not started loses nothing by
being made anew, and comes back without the agent, because by then its policy gives none; or with
another one, where the policy has been changed since. Its controller makes it, so a pod that nobody
would make anew is left alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fodc_kube.pods import Pod, is_leaving
from fodc_operator.policies.agent_state import Start, database_runs
from fodc_operator.policies.standing import Entry, Standing
from fodc_webhook.resources.fodc_injection import OnAgentFailure

RECREATING: Final = frozenset({"StatefulSet", "ReplicaSet", "DaemonSet"})
"""Controllers that make a pod anew; ReplicaSets are those of Deployments."""
HEARD_MS: Final = 3_000
"""So long after it was written every replica of the webhook knows of a suspension."""


@dataclass(frozen=True, slots=True)
class Release:
    """A pod to make anew now."""

    entry: Entry
    why: str


def next_release(
    standing: Standing,
    blocked_since: Mapping[str, int],
    *,
    suspended_since_ms: int | None,
    now_ms: int,
    patience_ms: int,
) -> Release | None:
    """Return the pod to release now, None when there is none.

    `suspended_since_ms` is when it was written that the policy gives no agents, None while it does;
    `blocked_since` has by pod UID since when its agent was seen not to start.
    """
    if standing.view.policy.on_agent_failure is not OnAgentFailure.RELEASE:
        return None
    is_heard = suspended_since_ms is not None and now_ms - suspended_since_ms >= HEARD_MS
    for one in standing.entries:
        if not is_stuck(one) or now_ms - blocked_since.get(one.uid, now_ms) < patience_ms:
            continue
        if one.is_current and not is_heard:
            continue  # it would come back with the same agent
        return Release(one, _why(one))
    return None


def _why(one: Entry) -> str:
    said = one.agent.message if one.agent else ""
    return f"its agent does not start and keeps the database from starting: {said}"


def is_stuck(one: Entry) -> bool:
    """Say whether the agent keeps the pod from running; then making it anew stops nothing."""
    blocked = one.agent is not None and one.agent.start is Start.BLOCKED
    return blocked and not database_runs(one.pod) and _is_made_anew(one.pod)


def _is_made_anew(pod: Pod) -> bool:
    owners = pod["metadata"].get("ownerReferences") or ()
    controllers = [one.get("kind") for one in owners if one.get("controller")]
    return bool(RECREATING.intersection(controllers)) and not is_leaving(pod)
