# SPDX-License-Identifier: Apache-2.0
"""Which agent may speak for which node; pure.

The one idea: who somebody is (`Who`) comes from what it has shown, never from what it says of
itself; what it says is then granted or refused by the pod, the names or the nothing that it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

from fodc_protocol.errors import Reason
from fodc_protocol.link import frames
from fodc_proxy.access.answers import Denied
from fodc_proxy.access.bearer import Reviewed
from fodc_proxy.fleet.membership import Contract
from fodc_proxy.fleet.naming import address_of
from fodc_proxy.fleet.proving import UNPROVEN, Authority, Proof

AUDIENCE: Final = "fodc-proxy"
"""For whom tokens of agents are meant; those that the injection mounts are."""
_ACCOUNT: Final = "system:serviceaccount:"
_POD_NAME: Final = "authentication.kubernetes.io/pod-name"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"
_SOON_MS: Final = 5_000
_KNOWN_SOON_MS: Final = 1_000
_LATER_MS: Final = 30_000


class Fault(StrEnum):
    """Why an agent is not let in; value of label `reason` of fodc_proxy_agents_refused_total."""

    NO_CREDENTIALS = "NoCredentials"
    PLAIN_TEXT = "PlainText"
    BAD_TOKEN = "BadToken"  # noqa: S105 - a word
    REVIEWER_AWAY = "ReviewerAway"
    OTHER_AGENT = "OtherAgent"
    """Its token or certificate is somebody else's."""
    CLAIMED = "Claimed"
    """It has shown nothing and wants the pod of one that has."""
    OTHER_NAMESPACE = "OtherNamespace"
    """Its token is of a namespace where nobody wants agents."""
    TOO_OFTEN = "TooOften"


_REASONS: Final[Mapping[Fault, Reason]] = {
    Fault.NO_CREDENTIALS: Reason.UNAUTHENTICATED,
    Fault.PLAIN_TEXT: Reason.UNAUTHENTICATED,
    Fault.BAD_TOKEN: Reason.UNAUTHENTICATED,
    Fault.REVIEWER_AWAY: Reason.UNAUTHENTICATED,
    Fault.OTHER_AGENT: Reason.FORBIDDEN,
    Fault.OTHER_NAMESPACE: Reason.FORBIDDEN,
    Fault.CLAIMED: Reason.UNAUTHENTICATED,
    Fault.TOO_OFTEN: Reason.THROTTLED,
}


@dataclass(frozen=True, slots=True)
class Refused:
    """An agent is not let in; the message is for it and for logs, and holds nothing secret."""

    fault: Fault
    message: str
    wait_ms: int = 0
    """When it is worth coming back, where that is known."""

    @property
    def reason(self) -> Reason:
        """The word of the contract."""
        return _REASONS[self.fault]

    @property
    def retry_ms(self) -> int:
        """When it is worth coming back."""
        if self.wait_ms:
            return self.wait_ms
        return _SOON_MS if self.fault is Fault.REVIEWER_AWAY else _LATER_MS


# ---- who somebody is ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """The pod to which a ServiceAccount's token is bound."""

    namespace: str
    name: str
    uid: str

    @property
    def principal(self) -> str:
        """Who it is, in words."""
        return f"pod {self.namespace}/{self.name} {self.uid}"


@dataclass(frozen=True, slots=True)
class NamedIdentity:
    """Somebody who may speak for the agents of these addresses; a `*` at the end is any ending."""

    proof: Proof
    name: str
    addresses: tuple[str, ...]

    @property
    def principal(self) -> str:
        """Who it is, in words."""
        return f"{self.proof.lower()} {self.name}"

    def may(self, address: str) -> bool:
        """Say whether it may speak for the agent of this address."""
        return any(_fits(one, address) for one in self.addresses)


@dataclass(frozen=True, slots=True)
class Nobody:
    """Somebody who has shown nothing."""

    principal: str = ""


Who: TypeAlias = PodIdentity | NamedIdentity | Nobody


def _fits(pattern: str, address: str) -> bool:
    """A star stands for the rest of a name, and never reaches into a namespace; alone it is all."""
    if pattern == "*" or not pattern.endswith("*"):
        return pattern in ("*", address)
    start = pattern[:-1]
    return address.startswith(start) and "/" not in address[len(start) :]


def pod_of(reviewed: Reviewed) -> PodIdentity | Denied:
    """Return the pod to which a reviewed token is bound."""
    namespace, _, account = reviewed.name.removeprefix(_ACCOUNT).partition(":")
    names, uids = reviewed.extra.get(_POD_NAME, ()), reviewed.extra.get(_POD_UID, ())
    if not (reviewed.name.startswith(_ACCOUNT) and namespace and account):
        return Denied("the token is of no ServiceAccount")
    if len(names) != 1 or len(uids) != 1:
        return Denied("the token is bound to no pod: mount a projected ServiceAccount token")
    return PodIdentity(namespace, names[0], uids[0])


def certified(names: tuple[str, ...]) -> NamedIdentity:
    """Return who a verified client certificate is of: agents of its names, `pod.namespace` too."""
    plain = tuple(one for one in names if "*" not in one and "/" not in one)
    dotted = (one.rpartition(".") for one in plain)
    addresses = (*plain, *(f"{namespace}/{pod}" for pod, _, namespace in dotted if pod))
    return NamedIdentity(Proof.CERTIFICATE, ",".join(plain), addresses)


# ---- what it may --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of agents."""

    is_loopback: bool = False
    """Only this machine reaches the listener: a token may come without TLS."""
    trusts_machine: bool = False
    """And whoever is here may: nobody was told who else is to be known."""
    admits_strangers: bool = False
    """Turned off by name: agents of our contract need neither TLS nor credentials."""
    admits_legacy: bool = False
    """Nor do those of the existing contract, which have none."""


@dataclass(frozen=True, slots=True)
class Granted:
    """An agent is let in, as whom, and with what is known of its pod for certain."""

    authority: Authority
    identity: frames.Identity


SpeaksFor: TypeAlias = Callable[[PodIdentity, frames.Identity], bool]
"""Whether a pod is an agent that reaches this other pod over the network."""
AdmitsNamespace: TypeAlias = Callable[[str], bool | None]
"""Whether agents of a namespace are wanted; None while nobody knows."""


def only_itself(_pod: PodIdentity, _claim: frames.Identity) -> bool:
    """Say that no pod may speak for another."""
    return False


def every_namespace(_namespace: str) -> bool:
    """Say that agents of each namespace are wanted."""
    return True


@dataclass(frozen=True, slots=True)
class PodRules:
    """What the program that embeds the proxy knows of pods."""

    speaks_for: SpeaksFor = only_itself
    admits_namespace: AdmitsNamespace = every_namespace
    legacy_namespace: str = ""
    """Where agents are taken to be that cannot tell their own."""


def unwanted(who: PodIdentity, pods: PodRules) -> Refused | None:
    """Refuse a pod of a namespace where nobody asked for agents."""
    match pods.admits_namespace(who.namespace):
        case True:
            return None
        case None:
            message = f"whether agents of namespace {who.namespace} are wanted is not known yet"
            return Refused(Fault.REVIEWER_AWAY, message, _KNOWN_SOON_MS)
        case _:
            message = (
                f"namespace {who.namespace} has no FodcInjection and no label "
                'fodc.banyandb.dev/agents: "true"'
            )
            return Refused(Fault.OTHER_NAMESPACE, message)


_NOTHING_SHOWN: Final = "no token and no client certificate was shown"


def granted(
    who: Who,
    claim: frames.Identity,
    contract: Contract,
    rules: Rules,
    pods: PodRules,
) -> Granted | Refused:
    """Decide about what an agent says of itself."""
    match who:
        case PodIdentity():
            return unwanted(who, pods) or _of_pod(who, claim, contract, pods.speaks_for)
        case NamedIdentity():
            address = address_of(claim.namespace, claim.pod_name)
            if who.may(address):
                return Granted(Authority(who.proof, who.principal), claim)
            message = f"{who.principal} may not speak for {address}"
            return Refused(Fault.OTHER_AGENT, message)
        case Nobody():
            return _of_nobody(claim, contract, rules, pods.legacy_namespace)
        case _:
            assert_never(who)


def _of_pod(
    who: PodIdentity, claim: frames.Identity, contract: Contract, speaks_for: SpeaksFor
) -> Granted | Refused:
    authority = Authority(Proof.POD, who.principal)
    if contract is Contract.FODC:
        # That contract tells the name alone; the rest is known from the token.
        claim = replace(claim, namespace=who.namespace, pod_uid=who.uid)
    said = (claim.namespace, claim.pod_name, claim.pod_uid)
    if said == (who.namespace, who.name, who.uid) or speaks_for(who, claim):
        return Granted(authority, claim)
    fields = ("namespace", "pod name", "pod UID")
    known = (who.namespace, who.name, who.uid)
    field, wrong, right = next(
        (f, s, k) for f, s, k in zip(fields, said, known, strict=True) if s != k
    )
    message = f"the token is of {who.principal}: its {field} is {right!r}, not {wrong!r}"
    return Refused(Fault.OTHER_AGENT, message)


def stranger(who: Who, rules: Rules) -> Refused | None:
    """Refuse a stream of somebody who has shown nothing where nobody comes in like that."""
    admits_some = rules.trusts_machine or rules.admits_strangers or rules.admits_legacy
    if admits_some or not isinstance(who, Nobody):
        return None
    return Refused(Fault.NO_CREDENTIALS, _NOTHING_SHOWN)


def _of_nobody(
    claim: frames.Identity, contract: Contract, rules: Rules, namespace: str
) -> Granted | Refused:
    message = _NOTHING_SHOWN
    if contract is Contract.FODC:
        claim = replace(claim, namespace=namespace)
    if contract is Contract.FODC and not rules.admits_legacy:
        message += "; agents that have none are let in with --legacy-agents=allow of the proxy"
        return Refused(Fault.NO_CREDENTIALS, message)
    if rules.trusts_machine:
        return Granted(Authority(Proof.LOOPBACK), claim)
    if contract is Contract.FODC or rules.admits_strangers:
        return Granted(UNPROVEN, claim)
    message += ": give the agent --proxy-tls-ca with --proxy-token-file or --proxy-tls-cert"
    return Refused(Fault.NO_CREDENTIALS, message)
