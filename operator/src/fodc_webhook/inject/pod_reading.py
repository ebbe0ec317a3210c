# SPDX-License-Identifier: Apache-2.0
"""What of a pod is the agent's, and what a container of BanyanDB is told."""

import re
from typing import Final

from fodc_kube.pods import (
    Container,
    Pod,
    annotations_of,
    containers_of,
    init_containers_of,
    text,
    variable,
    words_of,
)
from fodc_webhook.inject.marks import AGENT_CONTAINER, REVISION

_MESH: Final = frozenset({"istio-proxy", "linkerd-proxy", "consul-dataplane", "kuma-sidecar"})
_REFERENCE: Final = re.compile(r"\$\([^)]*\)")


def others_of(pod: Pod) -> list[Container]:
    """Return all containers but the agent, init containers first."""
    return [one for one in _all_of(pod) if one.get("name") != AGENT_CONTAINER]


def has_agent(pod: Pod) -> bool:
    """Say whether any container has the agent's name, ours or not."""
    return any(one.get("name") == AGENT_CONTAINER for one in _all_of(pod))


def agents_of(pod: Pod) -> list[Container]:
    """Return the containers that have the agent's name, ours or not."""
    return [one for one in _all_of(pod) if one.get("name") == AGENT_CONTAINER]


def _all_of(pod: Pod) -> list[Container]:
    return init_containers_of(pod) + containers_of(pod)


def has_our_agent(pod: Pod) -> bool:
    """Say whether the pod has an agent that the injection put in."""
    return has_agent(pod) and bool(text(annotations_of(pod).get(REVISION)))


def in_mesh(pod: Pod) -> bool:
    """Say whether a proxy in the pod takes the traffic that comes in."""
    return any(one.get("name") in _MESH for one in others_of(pod))


def flag_value(container: Container, flag: str) -> str | None:
    """Return the value of `--flag=value` or `--flag value` on the command line; the last counts."""
    words, value = words_of(container), None
    for at, word in enumerate(words):
        if word.startswith(f"--{flag}="):
            value = word.partition("=")[2]
        elif word == f"--{flag}" and at + 1 < len(words):
            value = words[at + 1]
    return None if value is None or _REFERENCE.search(value) else value


def setting(container: Container, flag: str) -> str | None:
    """Return what a BanyanDB program is told for a flag: the flag, else `BYDB_<FLAG>` (§15.5)."""
    told = flag_value(container, flag)
    return variable(container, variable_of(flag)) if told is None else told


def variable_of(flag: str) -> str:
    """Return the environment variable of a flag of BanyanDB."""
    return "BYDB_" + flag.upper().replace("-", "_")
