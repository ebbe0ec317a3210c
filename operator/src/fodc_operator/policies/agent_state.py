# SPDX-License-Identifier: Apache-2.0
"""Whether the agent of a pod runs, as the pod's status tells it.

The one idea: three answers. An agent that runs and keeps running has started; one that is said not
to start, or for which there is no room, is blocked; everything between is not decided yet. What is
said of a block does not change while it lasts, though the kubelet's words alternate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from fodc_kube.pods import (
    Pod,
    condition_of_pod,
    container_statuses,
    entries,
    is_scheduled,
    mapping,
    text,
)
from fodc_kube.texts import time_ms
from fodc_webhook.inject.marks import AGENT_CONTAINER
from fodc_webhook.inject.pod_reading import agents_of

SETTLED_MS: Final = 10_000
"""An agent that was restarted counts as started when it has run for so long."""


class Start(StrEnum):
    """Whether the agent's container runs."""

    STARTED = "Started"
    STARTING = "Starting"
    BLOCKED = "Blocked"


class Block(StrEnum):
    """Why an agent does not run; a word for conditions."""

    IMAGE = "AgentImageUnavailable"
    """The image cannot be pulled, or its name is none."""
    CREATION = "AgentNotCreated"
    """The container cannot be made: a setting, a volume, a user."""
    EXITS = "AgentExits"
    """It starts and ends again."""
    ROOM = "AgentDoesNotFit"
    """No node has room for the pod with what the agent asks for."""


_WAITING: Final[Mapping[str, Block]] = {
    "ErrImagePull": Block.IMAGE,
    "ImagePullBackOff": Block.IMAGE,
    "ErrImageNeverPull": Block.IMAGE,
    "ImageInspectError": Block.IMAGE,
    "InvalidImageName": Block.IMAGE,
    "RegistryUnavailable": Block.IMAGE,
    "SignatureValidationFailed": Block.IMAGE,
    "CreateContainerConfigError": Block.CREATION,
    "CreateContainerError": Block.CREATION,
    "RunContainerError": Block.CREATION,
    "PostStartHookError": Block.CREATION,
    "CrashLoopBackOff": Block.EXITS,
}


@dataclass(frozen=True, slots=True)
class AgentState:
    """Whether the agent runs; `reason` and `message` say why not."""

    start: Start
    reason: Block | None = None
    message: str = ""
    started_ms: int = 0


def agent_state(pod: Pod, now_ms: int) -> AgentState:
    """Return how the agent of a pod stands; a pod nobody has looked at yet is starting."""
    found = next((one for one in container_statuses(pod) if _is_agent(one)), None)
    if found is None:
        return _without_room(pod) or AgentState(Start.STARTING)
    state = mapping(found.get("state"))
    if "running" in state:
        return _running(found, mapping(state["running"]), now_ms)
    if "terminated" in state:
        return AgentState(Start.BLOCKED, Block.EXITS, _ended(mapping(state["terminated"])))
    word = text(mapping(state.get("waiting")).get("reason"))
    block = _WAITING.get(word)
    if block is None:
        return AgentState(Start.STARTING, message=word)
    return AgentState(Start.BLOCKED, block, _why(block, pod, found))


def _is_agent(one: Mapping[str, Any]) -> bool:
    return one.get("name") == AGENT_CONTAINER


def _without_room(pod: Pod) -> AgentState | None:
    """Say that the pod fits on no node, where it may be for what the agent asks for."""
    said = condition_of_pod(pod, "PodScheduled")
    is_left = said.get("status") == "False" and said.get("reason") == "Unschedulable"
    if is_scheduled(pod) or not is_left or "Insufficient" not in text(said.get("message")):
        return None
    message = "the pod fits on no node with what the agent asks for (spec.agent.resources.requests)"
    return AgentState(Start.BLOCKED, Block.ROOM, message)


def _why(block: Block, pod: Pod, found: Mapping[str, Any]) -> str:
    match block:
        case Block.IMAGE:
            image = next((text(one.get("image")) for one in agents_of(pod)), "")
            return f"the image {image} cannot be pulled (spec.agent.image, imagePullSecrets)"
        case Block.CREATION:
            return "its container cannot be created; the Events of the pod say why"
        case Block.EXITS:
            return _ended(mapping(mapping(found.get("lastState")).get("terminated")))
        case Block.ROOM:
            return ""


def _ended(ended: Mapping[str, Any]) -> str:
    code, word = ended.get("exitCode", "?"), text(ended.get("reason")) or "Error"
    return f"it starts and ends again, exit code {code} ({word})"


def _running(found: Mapping[str, Any], running: Mapping[str, Any], now_ms: int) -> AgentState:
    started_ms = time_ms(running.get("startedAt"))
    restarted = int(found.get("restartCount") or 0) > 0
    if restarted and now_ms - started_ms < SETTLED_MS:
        return AgentState(Start.STARTING, message="was restarted just now")
    return AgentState(Start.STARTED, started_ms=started_ms)


def database_runs(pod: Pod) -> bool:
    """Say whether any regular container other than the agent runs."""
    statuses = entries(mapping(pod.get("status")).get("containerStatuses"))
    return any("running" in mapping(one.get("state")) for one in statuses if not _is_agent(one))
