# SPDX-License-Identifier: Apache-2.0
"""Which agent may speak for which node."""

import pytest

from fodc_protocol.link import frames
from fodc_proxy.access.agents.assembly import rules_of
from fodc_proxy.access.agents.rules import (
    Fault,
    Granted,
    NamedIdentity,
    Nobody,
    PodIdentity,
    PodRules,
    Refused,
    Rules,
    certified,
    granted,
    only_itself,
    pod_of,
)
from fodc_proxy.access.answers import Denied
from fodc_proxy.access.bearer import Reviewed
from fodc_proxy.fleet.membership import Contract
from fodc_proxy.fleet.proving import UNPROVEN, Authority, Proof
from fodc_proxy.settings import AgentAccess

POD = PodIdentity("db", "data-0", "u-1")
CLAIM = frames.Identity("data-0", "db", "u-1")
ITSELF = Authority(Proof.POD, "pod db/data-0 u-1")


def asked(who, claim=CLAIM, contract=Contract.LINK, rules=None, speaks_for=only_itself, **pods):
    return granted(who, claim, contract, rules or Rules(), PodRules(speaks_for, **pods))


def test_a_pod_speaks_for_itself() -> None:
    assert asked(POD) == Granted(ITSELF, CLAIM)


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (frames.Identity("data-1", "db", "u-1"), "its pod name is 'data-0', not 'data-1'"),
        (frames.Identity("data-0", "other", "u-1"), "its namespace is 'db', not 'other'"),
        (frames.Identity("data-0", "db", "u-2"), "its pod UID is 'u-1', not 'u-2'"),
        (frames.Identity("data-0", "db"), "its pod UID is 'u-1', not ''"),
    ],
)
def test_a_pod_speaks_for_no_other(claim: frames.Identity, words: str) -> None:
    refused = asked(POD, claim)

    assert isinstance(refused, Refused)
    assert (refused.fault, refused.reason) == (Fault.OTHER_AGENT, "Forbidden")
    assert refused.message == f"the token is of pod db/data-0 u-1: {words}"


def test_of_an_existing_agent_the_token_tells_what_its_contract_does_not() -> None:
    found = asked(POD, frames.Identity("data-0"), Contract.FODC)

    assert found == Granted(ITSELF, CLAIM)
    assert isinstance(asked(POD, frames.Identity("data-1"), Contract.FODC), Refused)


def test_a_remote_agent_speaks_for_its_targets_by_its_own_right() -> None:
    remote = PodIdentity("db", "fodc-remote-agent-x", "u-9")

    found = asked(remote, speaks_for=lambda who, claim: (who, claim) == (remote, CLAIM))

    assert found == Granted(Authority(Proof.POD, "pod db/fodc-remote-agent-x u-9"), CLAIM)


@pytest.mark.parametrize(
    ("address", "may"),
    [
        (("", "db-0"), True),
        (("", "db-1"), False),
        (("", "rack-17"), True),
        (("prod", "db-0"), False),
        (("rack-17", "db-0"), False),
        (("test", "data-5"), True),
    ],
)
def test_a_named_one_speaks_for_the_agents_of_its_names(
    address: tuple[str, str], *, may: bool
) -> None:
    who = NamedIdentity(Proof.TOKEN, "rack-1", ("db-0", "rack-*", "test/data-*"))
    namespace, pod = address

    found = asked(who, frames.Identity(pod, namespace))

    assert isinstance(found, Granted) is may
    if not may:
        assert found == Refused(
            Fault.OTHER_AGENT,
            f"token rack-1 may not speak for {namespace}/{pod}".replace(" /", " "),
        )


def test_a_certificate_speaks_for_its_names_and_never_for_a_pattern() -> None:
    who = certified(("data-0.db", "vm-7", "*.example", "*"))

    assert who.addresses == ("data-0.db", "vm-7", "db/data-0")
    assert isinstance(asked(who), Granted)
    assert isinstance(asked(who, frames.Identity("vm-7")), Granted)
    assert isinstance(asked(who, frames.Identity("vm-8")), Refused)


@pytest.mark.parametrize(
    ("rules", "link", "fodc"),
    [
        (Rules(), None, None),
        (Rules(trusts_machine=True, admits_legacy=True), Proof.LOOPBACK, Proof.LOOPBACK),
        (Rules(trusts_machine=True), Proof.LOOPBACK, None),
        (Rules(is_loopback=True), None, None),
        (Rules(admits_legacy=True), None, Proof.NONE),
        (Rules(admits_strangers=True), Proof.NONE, None),
        (Rules(admits_strangers=True, admits_legacy=True), Proof.NONE, Proof.NONE),
    ],
)
def test_who_shows_nothing_is_let_in_by_name_only(
    rules: Rules, link: Proof | None, fodc: Proof | None
) -> None:
    found = [asked(Nobody(), contract=contract, rules=rules) for contract in Contract]

    proofs = [one.authority.proof if isinstance(one, Granted) else None for one in found]
    assert proofs == [link, fodc]
    assert not UNPROVEN.is_proven


@pytest.mark.parametrize(
    ("access", "is_loopback", "expected"),
    [
        (AgentAccess(), False, Rules()),
        (AgentAccess(), True, Rules(is_loopback=True, trusts_machine=True, admits_legacy=True)),
        (AgentAccess(legacy="deny"), True, Rules(is_loopback=True, trusts_machine=True)),
        (AgentAccess("tokens", legacy="deny"), True, Rules(is_loopback=True)),
        (AgentAccess(legacy="allow"), False, Rules(admits_legacy=True)),
        (
            AgentAccess(is_insecure=True),
            False,
            Rules(admits_strangers=True, admits_legacy=True),
        ),
        (AgentAccess(is_insecure=True, legacy="deny"), False, Rules(admits_strangers=True)),
    ],
)
def test_flags_say_who_is_let_in(
    access: AgentAccess, expected: Rules, *, is_loopback: bool
) -> None:
    assert rules_of(access, is_loopback=is_loopback) == expected


BOUND = {
    "authentication.kubernetes.io/pod-name": ("data-0",),
    "authentication.kubernetes.io/pod-uid": ("u-1",),
}


@pytest.mark.parametrize(
    ("reviewed", "expected"),
    [
        (Reviewed("system:serviceaccount:db:default", extra=BOUND), POD),
        (
            Reviewed("system:serviceaccount:db:default"),
            Denied("the token is bound to no pod: mount a projected ServiceAccount token"),
        ),
        (Reviewed("alice", extra=BOUND), Denied("the token is of no ServiceAccount")),
        (
            Reviewed("system:serviceaccount:db", extra=BOUND),
            Denied("the token is of no ServiceAccount"),
        ),
    ],
)
def test_only_a_token_that_is_bound_to_a_pod_names_one(
    reviewed: Reviewed, expected: object
) -> None:
    assert pod_of(reviewed) == expected


# ---- where agents are wanted --------------------------------------------------------------------


def test_a_pod_of_a_namespace_where_nobody_wants_agents_is_refused() -> None:
    wanted = {"db": True, "elsewhere": False}
    others = PodIdentity("elsewhere", "data-0", "u-1")
    claim = frames.Identity("data-0", "elsewhere", "u-1")

    found = asked(others, claim, admits_namespace=wanted.get)
    assert isinstance(found, Refused)
    assert found.fault is Fault.OTHER_NAMESPACE
    assert "namespace elsewhere has no FodcInjection" in found.message
    assert asked(POD, admits_namespace=wanted.get) == Granted(ITSELF, CLAIM)


def test_while_nobody_knows_which_namespaces_are_wanted_an_agent_is_to_come_back() -> None:
    found = asked(POD, admits_namespace={}.get)

    assert isinstance(found, Refused)
    assert (found.fault, found.retry_ms) == (Fault.REVIEWER_AWAY, 1_000)


def test_an_existing_agent_is_of_the_namespace_that_the_program_stands_in() -> None:
    """Another namespace's pod of its name takes nothing from it then."""
    found = asked(
        Nobody(),
        frames.Identity("data-0"),
        Contract.FODC,
        Rules(admits_legacy=True),
        legacy_namespace="fodc-system",
    )

    assert isinstance(found, Granted)
    assert (found.authority, found.identity.namespace) == (UNPROVEN, "fodc-system")
