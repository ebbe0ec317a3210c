# SPDX-License-Identifier: Apache-2.0
"""How much an agent may see in a pod: what was asked, cut to what namespace and pod admit.

The one idea: Pod Security looks at the pod after us and refuses the whole of it, so nothing is
added that the namespace's level forbids; less than was asked is said in a note (kubernetes-kopf
§4.4). What a namespace without a label admits is not known here and taken as `baseline`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fodc_kube.pods import Pod, spec_of
from fodc_webhook.resources.fodc_injection import Flavor

ENFORCE: Final = "pod-security.kubernetes.io/enforce"


class Level(StrEnum):
    """Pod Security level that a namespace enforces."""

    PRIVILEGED = "privileged"
    BASELINE = "baseline"
    RESTRICTED = "restricted"


@dataclass(frozen=True, slots=True)
class Granted:
    """The flavor that a pod gets; `note` is empty when it is all that was asked for."""

    flavor: Flavor
    shares_processes: bool
    """Whether the pod must get a shared process namespace."""
    note: str = ""


def level_of(namespace_labels: Mapping[str, str]) -> Level:
    """Return the level; without a label `baseline`, and the strictest for a word nobody knows."""
    word = namespace_labels.get(ENFORCE) or Level.BASELINE
    return Level(word) if word in list(Level) else Level.RESTRICTED


def granted(wanted: Flavor, pod: Pod, namespace_labels: Mapping[str, str]) -> Granted:
    """Return what of the wanted flavor the namespace and the pod admit."""
    flavor, notes = wanted, []
    if flavor is Flavor.EBPF and (obstacle := _against_ebpf(pod, namespace_labels)):
        notes.append(obstacle)
        flavor = Flavor.PROCESS
    if flavor is not Flavor.BASIC and _forbids_sharing(pod):
        notes.append("the pod's shareProcessNamespace is false, so no process is seen")
        flavor = Flavor.BASIC if flavor is Flavor.PROCESS else flavor
    shares = flavor is not Flavor.BASIC and not _forbids_sharing(pod) and not _host_pid(pod)
    note = "; ".join([*notes, f"the agent has flavor {flavor}"]) if notes else ""
    return Granted(flavor, shares, note)


def _against_ebpf(pod: Pod, namespace_labels: Mapping[str, str]) -> str:
    if level_of(namespace_labels) is not Level.PRIVILEGED:
        found = namespace_labels.get(ENFORCE)
        told = f"it is {found}" if found else "it is absent"
        return f"flavor EBPF needs the namespace's label {ENFORCE}: privileged, and {told}"
    if spec_of(pod).get("hostUsers") is False:
        return "flavor EBPF needs the host's users, and the pod's hostUsers is false"
    return ""


def _forbids_sharing(pod: Pod) -> bool:
    return spec_of(pod).get("shareProcessNamespace") is False and not _host_pid(pod)


def _host_pid(pod: Pod) -> bool:
    """Processes of the whole machine are seen; the API server refuses both at once."""
    return spec_of(pod).get("hostPID") is True
