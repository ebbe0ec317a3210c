# SPDX-License-Identifier: Apache-2.0
"""Whether the agent of a pod runs, as the kubelet tells it in the pod's status.

The one idea: three answers. An agent that runs and keeps running has started; one that the kubelet
says it cannot start is blocked; everything between is not decided yet.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from fodc_operator.injection.marks import AGENT_CONTAINER
from fodc_operator.injection.outcome import Pod
from fodc_protocol.times import TimeError, parse_rfc3339_ms

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


def has_agent(pod: Pod) -> bool:
    """Say whether the pod has a container of the agent's name, ours or not."""
    return any(one.get("name") == AGENT_CONTAINER for one in _containers(pod))


def _containers(pod: Pod) -> Iterator[Mapping[str, Any]]:
    spec = pod.get("spec") or {}
    for name in ("initContainers", "containers"):
        yield from spec.get(name) or ()


def _statuses(pod: Pod) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status") or {}
    for name in ("initContainerStatuses", "containerStatuses"):
        yield from status.get(name) or ()


def agent_state(pod: Pod, now_ms: int) -> AgentState:
    """Return how the agent of a pod stands; a pod nobody has looked at yet is starting."""
    found = next((one for one in _statuses(pod) if one.get("name") == AGENT_CONTAINER), None)
    if found is None:
        return AgentState(Start.STARTING)
    state = found.get("state") or {}
    if "running" in state:
        return _running(found, state["running"] or {}, now_ms)
    if "terminated" in state:
        ended = state["terminated"] or {}
        text = f"exit code {ended.get('exitCode', '?')}: {ended.get('reason') or 'Error'}"
        return AgentState(Start.BLOCKED, Block.EXITS, text)
    waiting = state.get("waiting") or {}
    word = str(waiting.get("reason") or "")
    block = _WAITING.get(word)
    if block is None:
        return AgentState(Start.STARTING, message=word)
    return AgentState(
        Start.BLOCKED, block, f"{word}: {waiting.get('message') or 'no more is told'}"
    )


def _running(found: Mapping[str, Any], running: Mapping[str, Any], now_ms: int) -> AgentState:
    started_ms = time_ms(running.get("startedAt"))
    restarted = int(found.get("restartCount") or 0) > 0
    if restarted and now_ms - started_ms < SETTLED_MS:
        return AgentState(Start.STARTING, message="was restarted just now")
    return AgentState(Start.STARTED, started_ms=started_ms)


def database_runs(pod: Pod) -> bool:
    """Say whether any regular container other than the agent runs."""
    status = pod.get("status") or {}
    return any(
        "running" in (one.get("state") or {})
        for one in status.get("containerStatuses") or ()
        if one.get("name") != AGENT_CONTAINER
    )


def is_ready(pod: Pod) -> bool:
    """Say whether the pod is ready and not on its way out."""
    ready = _condition(pod, "Ready")
    return ready.get("status") == "True" and not is_leaving(pod)


def is_leaving(pod: Pod) -> bool:
    """Say whether somebody has deleted the pod."""
    return bool((pod.get("metadata") or {}).get("deletionTimestamp"))


def unready_since_ms(pod: Pod) -> int:
    """Return since when the pod is not ready; its creation for one that never was."""
    ready, created_ms = _condition(pod, "Ready"), time_ms(pod["metadata"].get("creationTimestamp"))
    if ready.get("status") == "True":
        return 0
    return max(created_ms, time_ms(ready.get("lastTransitionTime")))


def _condition(pod: Pod, kind: str) -> Mapping[str, Any]:
    found = (pod.get("status") or {}).get("conditions") or ()
    return next((one for one in found if one.get("type") == kind), {})


def time_ms(text: object) -> int:
    """Read a time of the API server in Unix milliseconds; 0 for none."""
    return _text_ms(text) if isinstance(text, str) else 0


@lru_cache(maxsize=16_384)
def _text_ms(text: str) -> int:
    """Read each time once: the pods of a namespace are judged again with every change of one."""
    try:
        return parse_rfc3339_ms(text)
    except TimeError:
        return 0
