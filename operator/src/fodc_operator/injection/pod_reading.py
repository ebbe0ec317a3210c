# SPDX-License-Identifier: Apache-2.0
"""Reads a pod that may lack anything: absent, null and empty are one.

The one idea: a pod is foreign data of which the API server promises little, so nobody below asks
whether a field is there.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fodc_operator.injection.marks import AGENT_CONTAINER, REVISION
from fodc_operator.injection.outcome import Pod

Container = Mapping[str, Any]

_MESH: Final = frozenset({"istio-proxy", "linkerd-proxy", "consul-dataplane", "kuma-sidecar"})
_REFERENCE: Final = re.compile(r"\$\([^)]*\)")


def mapping(value: object) -> Mapping[str, Any]:
    """Return an object, empty when it is absent or none."""
    # What JSON gives is a dict; asking an abstract class first costs five times as much.
    return value if isinstance(value, (dict, Mapping)) else {}


def entries(value: object) -> list[Mapping[str, Any]]:
    """Return the objects of a list, empty when it is absent or none."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a text, empty when it is absent or none."""
    return value if isinstance(value, str) else ""


def texts(value: object) -> list[str]:
    """Return the texts of a list, empty when it is absent or none."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def number(value: object) -> int | None:
    """Return a whole number, None when it is absent or none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


# ---- the pod ----------------------------------------------------------------------------------


def spec_of(pod: Pod) -> Mapping[str, Any]:
    """Return the pod's spec."""
    return mapping(pod.get("spec"))


def labels_of(pod: Pod) -> Mapping[str, Any]:
    """Return the pod's labels."""
    return mapping(mapping(pod.get("metadata")).get("labels"))


def annotations_of(pod: Pod) -> Mapping[str, Any]:
    """Return the pod's annotations."""
    return mapping(mapping(pod.get("metadata")).get("annotations"))


def containers_of(pod: Pod) -> list[Container]:
    """Return the regular containers."""
    return entries(spec_of(pod).get("containers"))


def init_containers_of(pod: Pod) -> list[Container]:
    """Return the init containers, native sidecars among them."""
    return entries(spec_of(pod).get("initContainers"))


def volumes_of(pod: Pod) -> Mapping[str, Mapping[str, Any]]:
    """Return the volumes by name."""
    return {text(one.get("name")): one for one in entries(spec_of(pod).get("volumes"))}


def others_of(pod: Pod) -> list[Container]:
    """Return all containers but the agent, init containers first."""
    both = (*init_containers_of(pod), *containers_of(pod))
    return [one for one in both if one.get("name") != AGENT_CONTAINER]


def is_native(container: Container) -> bool:
    """Say whether an init container runs as long as the pod."""
    return container.get("restartPolicy") == "Always"


def has_agent(pod: Pod) -> bool:
    """Say whether any container has the agent's name, ours or not."""
    return any(agents_of(pod))


def agents_of(pod: Pod) -> list[Container]:
    """Return the containers that have the agent's name, ours or not."""
    both = (*init_containers_of(pod), *containers_of(pod))
    return [one for one in both if one.get("name") == AGENT_CONTAINER]


def has_our_agent(pod: Pod) -> bool:
    """Say whether the pod has an agent that the injection put in."""
    return has_agent(pod) and bool(text(annotations_of(pod).get(REVISION)))


def in_mesh(pod: Pod) -> bool:
    """Say whether a proxy in the pod takes the traffic that comes in."""
    return any(one.get("name") in _MESH for one in others_of(pod))


# ---- one container ----------------------------------------------------------------------------


def words_of(container: Container) -> Sequence[str]:
    """Return the command line as far as the pod tells it: command, then args."""
    return (*texts(container.get("command")), *texts(container.get("args")))


def variable(container: Container, name: str) -> str | None:
    """Return the plain value of an environment variable; the last one counts.

    None when the variable is absent, comes from elsewhere or refers to another.
    """
    value: str | None = None
    for one in entries(container.get("env")):
        if one.get("name") == name:
            plain = text(one.get("value"))
            value = None if "valueFrom" in one or _REFERENCE.search(plain) else plain
    return value


def has_variable(container: Container, name: str) -> bool:
    """Say whether the container sets this environment variable, whatever its value."""
    return any(one.get("name") == name for one in entries(container.get("env")))


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


def port_named(container: Container, *names: str) -> int | None:
    """Return the number of the first declared port that has one of these names."""
    for one in entries(container.get("ports")):
        found = number(one.get("containerPort"))
        if one.get("name") in names and found:
            return found
    return None
