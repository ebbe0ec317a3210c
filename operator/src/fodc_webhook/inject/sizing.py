# SPDX-License-Identifier: Apache-2.0
"""What the agent's container may use, so that the pod's own share stays what it was.

The one idea: whatever limit holds for the pod as a whole is raised by exactly what the agent may
use, and no limit appears that was not there: Guaranteed stays Guaranteed, pod-level resources
(Kubernetes 1.34) grow, and the sum of limits on local disk, beyond which the kubelet evicts the
pod, grows by what the agent may write.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, Final

from fodc_kube.pods import (
    Container,
    Pod,
    containers_of,
    init_containers_of,
    is_native,
    mapping,
    spec_of,
)
from fodc_webhook.inject.marks import AGENT_CONTAINER
from fodc_webhook.inject.pod_reading import agents_of, others_of
from fodc_webhook.resources.fodc_injection import MIB, AgentTemplate
from fodc_webhook.resources.quantities import format_amount, format_bytes, parse_quantity

DISK: Final = "ephemeral-storage"
LOGS_BYTES: Final = 64 * MIB
"""What the kubelet keeps of a container's log by default: 5 files of 10 MiB, and some room."""
_COMPUTE: Final = ("cpu", "memory")

Resources = dict[str, dict[str, str]]


def resources_of(template: AgentTemplate, pod: Pod, disk_bytes: int) -> Resources:
    """Return the resources of the agent's container.

    `disk_bytes` is what the volumes that come with it may hold.
    """
    limits = dict(template.limits)
    requests = {name: _lesser(value, limits.get(name)) for name, value in template.requests.items()}
    if is_guaranteed(pod):
        fallback = AgentTemplate(image="", proxy_address="").limits
        limits = {name: limits.get(name) or fallback[name] for name in _COMPUTE}
        requests = dict(limits)
    share = _disk_share(pod)
    if share is not None:
        limits[DISK] = format_bytes(share + disk_bytes + LOGS_BYTES)
        requests[DISK] = "0"
    return {"requests": requests, "limits": limits}


def _lesser(request: str, limit: str | None) -> str:
    """Return the request, or the limit where that is less: no server admits more."""
    asked, most = parse_quantity(request), parse_quantity(limit)
    return limit if limit and asked is not None and most is not None and asked > most else request


# ---- the class of the pod ---------------------------------------------------------------------


def is_guaranteed(pod: Pod) -> bool:
    """Say whether the pod without an agent is of the class Guaranteed.

    Pod-level resources decide where they are given, else all containers together, init containers
    among them.
    """
    whole = mapping(spec_of(pod).get("resources"))
    if any(_amounts(whole, place, _COMPUTE) for place in ("requests", "limits")):
        return _is_even(whole)
    others = others_of(pod)
    return bool(others) and all(_is_even(mapping(one.get("resources"))) for one in others)


def _is_even(resources: Mapping[str, Any]) -> bool:
    """Whether cpu and memory have limits and the requests are the same; an absent one is."""
    limits = _amounts(resources, "limits", _COMPUTE)
    requests = _amounts(resources, "requests", _COMPUTE)
    return len(limits) == len(_COMPUTE) and {**limits, **requests} == limits


def _amounts(resources: Mapping[str, Any], place: str, names: Iterable[str]) -> dict[str, Fraction]:
    """Return the amounts of some resources that are given and not 0."""
    given = mapping(resources.get(place))
    found = {name: parse_quantity(given.get(name)) for name in names}
    return {name: amount for name, amount in found.items() if amount}


# ---- local disk -------------------------------------------------------------------------------


def _disk_share(pod: Pod) -> Fraction | None:
    """Return what the agent's limit must hold beside its own need; None where none is wanted.

    The kubelet evicts a pod that writes more than the sum of its containers' limits, if any has
    one. The greatest init container may count for more than that sum.
    """
    limits = [_disk_limit(one) for one in others_of(pod)]
    if not any(limits):
        return None
    running = sum((_disk_limit(one) for one in containers_of(pod) if _is_other(one)), Fraction(0))
    natives = peak = Fraction(0)
    for one in init_containers_of(pod):
        if not _is_other(one):
            continue
        if is_native(one):
            natives += _disk_limit(one)
        else:
            peak = max(peak, natives + _disk_limit(one))
    return max(Fraction(0), peak - running - natives)


def _is_other(container: Container) -> bool:
    return container.get("name") != AGENT_CONTAINER


def _disk_limit(container: Container) -> Fraction:
    return _amounts(mapping(container.get("resources")), "limits", (DISK,)).get(DISK, Fraction(0))


# ---- pod-level resources ----------------------------------------------------------------------


def raised(pod: Pod, agent: Resources) -> Mapping[str, Any] | None:
    """Return the pod-level resources with room for the agent, None where the pod has none.

    What an agent in the pod has already is taken off first.
    """
    whole = mapping(spec_of(pod).get("resources"))
    if not whole:
        return None
    before = [mapping(one.get("resources")) for one in agents_of(pod)]
    return {
        **whole,
        **{
            place: _raised_amounts(mapping(whole.get(place)), place, before, agent)
            for place in ("requests", "limits")
            if whole.get(place)
        },
    }


def _raised_amounts(
    whole: Mapping[str, Any], place: str, before: list[Mapping[str, Any]], agent: Resources
) -> dict[str, Any]:
    result = dict(whole)
    for name, amount in _amounts({place: whole}, place, _COMPUTE).items():
        gone = sum((_amounts(one, place, (name,)).get(name, Fraction(0)) for one in before), 0)
        added = _amounts(agent, place, (name,)).get(name, Fraction(0))
        result[name] = format_amount(name, max(amount - gone, Fraction(0)) + added)
    return result
