# SPDX-License-Identifier: Apache-2.0
"""How an agent has shown that it may speak for its pod; pure.

The one idea: whoever has shown nothing can take nothing from somebody who has. What was shown is
kept with the member, so that every later stream and every rival is measured by it.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

from fodc_protocol.errors import Reason
from fodc_protocol.link import frames
from fodc_proxy.fleet.errors import RegistrationError

K = TypeVar("K")


class Proof(StrEnum):
    """What an agent has shown; value of label `proof` of fodc_proxy_agents_by_proof."""

    POD = "PodToken"
    TOKEN = "Token"  # noqa: S105 - a word
    CERTIFICATE = "Certificate"
    LOOPBACK = "Loopback"
    """Nothing, on a listener that only this machine reaches."""
    NONE = "None"


@dataclass(frozen=True, slots=True)
class Authority:
    """By which right an agent speaks; `principal` says who it is, in words for logs."""

    proof: Proof = Proof.NONE
    principal: str = ""

    @property
    def is_proven(self) -> bool:
        """Whether others of the same pod have to show something as well."""
        return self.proof is not Proof.NONE


UNPROVEN: Final = Authority()
UNAUTHENTICATED: Final = frames.Condition(
    "Unauthenticated",
    "Unauthenticated",
    "this agent has neither token nor certificate: anybody who reaches the proxy could be it",
)


@dataclass(slots=True)
class ProvenPods:
    """How many members have shown something, by namespace and pod, and by pod alone."""

    _pods: Counter[tuple[str, str]] = field(default_factory=Counter)
    _names: Counter[str] = field(default_factory=Counter)

    def note(self, authority: Authority, identity: frames.Identity, change: int) -> None:
        """Count a member that came (1) or left (-1)."""
        if not authority.is_proven:
            return
        # Names that differ in case only are one to people who ask, so they are one here.
        name = identity.pod_name.casefold()
        add(self._pods, (identity.namespace, name), change)
        add(self._names, name, change)

    def check(self, authority: Authority, identity: frames.Identity) -> None:
        """Accept a claim unless somebody proven has the pod; raises RegistrationError."""
        if not authority.is_proven and self.holds(identity):
            message = (
                f"pod {identity.pod_name} is served by an agent that has shown a token or "
                "certificate; this one has shown none"
            )
            raise RegistrationError(message, reason=Reason.UNAUTHENTICATED)

    def holds(self, identity: frames.Identity) -> bool:
        """Say whether somebody proven could be meant by these names; no namespace is any."""
        name = identity.pod_name.casefold()
        if not identity.namespace:
            return self._names[name] > 0
        return self._pods[identity.namespace, name] > 0 or self._pods["", name] > 0


def add(counts: Counter[K], key: K, change: int) -> None:
    """Count, and forget what is not there any more."""
    counts[key] += change
    if not counts[key]:
        del counts[key]
