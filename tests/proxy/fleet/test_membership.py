# SPDX-License-Identifier: Apache-2.0
"""Who is in, who is living, who took over: upstream-proxy §4 and R01 to R34, on literals."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.errors import BadRequestError
from fodc_protocol.link import frames
from fodc_protocol.roles import role_filter
from fodc_proxy.fleet.errors import RegistrationError, UnknownAgentError
from fodc_proxy.fleet.limits import Limits
from fodc_proxy.fleet.membership import Change, Contract, Membership, Phase, Registration
from fodc_proxy.fleet.moment import Moment
from fodc_proxy.fleet.naming import NodeIds, namesakes
from fodc_proxy.fleet.proving import UNPROVEN, Authority, Proof

LIMITS = Limits(30_000, 300_000, 3)
START = 1_000_000
SHOWN = Authority(Proof.LOOPBACK)


def at(time_ms):
    """A moment at which both clocks agree."""
    return Moment(time_ms, time_ms)


def registration(
    pod_name="pod-0",
    role="ROLE_DATA",
    labels=None,
    contract=Contract.FODC,
    incarnation="",
    namespace="",
    authority=SHOWN,
):
    identity = frames.Identity(pod_name, namespace=namespace, container_names=("data",))
    state = frames.NodeState(role, labels or {})
    return Registration(identity, state, contract, incarnation=incarnation, authority=authority)


def fleet_of(*registrations, limits=LIMITS):
    fleet = Membership(limits)
    for number, one in enumerate(registrations):
        fleet.register(one, f"id-{number}", at(START))
    return fleet


def changes(transitions):
    return [(t.change, t.member.agent_id, t.member.phase) for t in transitions]


def test_r01_new_registry_is_empty():
    assert Membership(LIMITS).members() == ()


def test_r02_register_gives_an_online_member_with_identity_labels_and_times():
    asked = registration(labels={"type": "hot"})

    member = Membership(LIMITS).register(asked, "id-0", at(START)).member

    assert (member.agent_id, member.status, member.phase) == ("id-0", "online", Phase.ONLINE)
    assert (member.pod_name, member.role, member.labels) == ("pod-0", "ROLE_DATA", {"type": "hot"})
    assert (member.registered_at_ms, member.last_heartbeat_ms) == (START, START)
    assert member.tier == "hot"


def test_r03_limit_reached_says_the_maximum():
    fleet = fleet_of(*(registration(f"pod-{n}") for n in range(3)))

    with pytest.raises(RegistrationError, match=r"^maximum number of agents \(3\) reached$"):
        fleet.register(registration("pod-3"), "id-3", at(START))


def test_r04_empty_pod_is_refused():
    with pytest.raises(RegistrationError, match=r"^pod name cannot be empty$"):
        fleet_of(registration(pod_name=""))


def test_r05_empty_role_is_refused_and_checked_before_the_pod():
    with pytest.raises(RegistrationError, match=r"^node role cannot be empty$"):
        fleet_of(registration(pod_name="", role=""))


def test_r03_limit_is_checked_before_the_role():
    fleet = fleet_of(*(registration(f"pod-{n}") for n in range(3)))

    with pytest.raises(RegistrationError, match="maximum"):
        fleet.register(registration("", ""), "id-3", at(START))


def test_r06_unregister_removes():
    fleet = fleet_of(registration())

    assert changes(fleet.unregister("id-0", at(START))) == [(Change.REMOVED, "id-0", Phase.ONLINE)]
    assert fleet.members() == ()


def test_r07_unregister_of_an_unknown_agent_is_an_error():
    with pytest.raises(UnknownAgentError, match=r"^agent nobody not found$"):
        Membership(LIMITS).unregister("nobody", at(START))


def test_r08_heartbeat_moves_the_time_forward_and_never_back():
    fleet = fleet_of(registration())

    fleet.heartbeat("id-0", at(START + 5))
    fleet.heartbeat("id-0", at(START + 2))

    assert fleet.get("id-0").heard_ms == START + 5


def test_r09_heartbeat_of_an_unknown_agent_is_an_error():
    with pytest.raises(UnknownAgentError, match=r"^agent x not found$"):
        Membership(LIMITS).heartbeat("x", at(START))


def test_r10_r11_a_member_is_found_by_namespace_and_pod_whatever_its_labels():
    fleet = fleet_of(registration(namespace="db", labels={"zone": "a"}))

    assert fleet.find("db/pod-0").agent_id == "id-0"
    assert fleet.find("db/pod-1") is None
    assert fleet.find("other/pod-0") is None


def test_r13_r14_member_is_found_by_id_or_not():
    fleet = fleet_of(registration())

    assert fleet.get("id-0").pod_name == "pod-0"
    assert fleet.get("id-1") is None


def test_r15_r16_members_are_listed_in_order_of_registration():
    fleet = fleet_of(registration("b"), registration("a"))

    assert [m.pod_name for m in fleet.members()] == ["b", "a"]


def test_r17_r18_a_filter_by_role_fits_members_of_that_role_and_no_other():
    fleet = fleet_of(registration("a"), registration("b", "ROLE_LIAISON"))

    def fitting(text):
        wanted = role_filter(text)
        return [m.pod_name for m in fleet.members() if wanted.fits(m.role, m.tier)]

    assert fitting("ROLE_LIAISON") == ["b"]
    assert fitting("meta") == []


def test_r19_silence_strictly_beyond_the_timeout_is_offline():
    fleet = fleet_of(registration())

    assert fleet.tick(at(START + 30_000)) == ()
    assert changes(fleet.tick(at(START + 30_001))) == [(Change.PHASE, "id-0", Phase.OFFLINE)]
    assert fleet.get("id-0").status == "unconnected"
    assert fleet.tick(at(START + 30_002)) == ()


def test_r20_silence_strictly_beyond_cleanup_is_gone():
    fleet = fleet_of(registration())
    fleet.tick(at(START + 300_000))

    assert len(fleet) == 1
    assert [t.change for t in fleet.tick(at(START + 300_001))] == [Change.REMOVED]
    assert len(fleet) == 0


def test_r21_steady_heartbeats_keep_online():
    fleet = fleet_of(registration())

    for beat in range(1, 20):
        fleet.heartbeat("id-0", at(START + beat * 29_000))
        assert fleet.tick(at(START + beat * 29_000 + 28_000)) == ()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(registration("pod-1"), id="R24 pod"),
        pytest.param(
            replace(registration(), identity=frames.Identity("pod-0")), id="R25 containers"
        ),
        pytest.param(registration(role="ROLE_META"), id="R26 role"),
        pytest.param(registration(labels={"zone": "b"}), id="R27 label value"),
        pytest.param(registration(labels={"zone": "a", "x": "y"}), id="R28 missing key"),
    ],
)
def test_r24_r25_r26_r27_r28_registrations_differ(other):
    assert registration(labels={"zone": "a"}) != other


def test_r23_r29_registrations_are_equal_with_equal_or_empty_labels():
    assert registration(labels={"a": "b"}) == registration(labels={"a": "b"})
    assert registration(labels={}) == registration(labels=None)


def test_r30_many_registrations_lose_none():
    fleet = fleet_of(
        *(registration(f"pod-{n}") for n in range(10)), limits=Limits(30_000, 300_000, 10)
    )

    assert len({m.agent_id for m in fleet.members()}) == 10


def test_r31_many_heartbeats_keep_every_agent():
    fleet = fleet_of(registration())

    for beat in range(20):
        fleet.heartbeat("id-0", at(START + beat))

    assert fleet.get("id-0").last_heartbeat_ms == START + 19


def test_r32_heartbeat_upgrades_an_unspecified_role_and_takes_labels_with_it():
    fleet = fleet_of(registration(role="ROLE_UNSPECIFIED"))

    told = fleet.refresh("id-0", "ROLE_DATA", {"type": "hot"}, at(START + 1))

    assert [t.change for t in told] == [Change.STATE]
    assert (fleet.get("id-0").role, fleet.get("id-0").labels) == ("ROLE_DATA", {"type": "hot"})


@pytest.mark.parametrize("role", ["", "ROLE_UNSPECIFIED", "ROLE_DATA"])
def test_r33_blank_unspecified_or_equal_role_changes_nothing(role):
    fleet = fleet_of(registration(labels={"type": "hot"}))

    assert fleet.refresh("id-0", role, {"type": "cold"}, at(START + 1)) == ()
    assert (fleet.get("id-0").role, fleet.get("id-0").labels) == ("ROLE_DATA", {"type": "hot"})


def test_r33_state_of_our_contract_keeps_a_known_role_too():
    fleet = fleet_of(registration())

    fleet.heartbeat("id-0", at(START), frames.NodeState("ROLE_UNSPECIFIED", {"a": "b"}))

    assert fleet.get("id-0").role == "ROLE_DATA"
    assert fleet.get("id-0").labels == {"a": "b"}


def test_r34_role_update_of_an_unknown_agent_leaves_no_entry():
    """Upstream ignores it; here the stream learns that it must register anew (§5.2)."""
    fleet = Membership(LIMITS)

    with pytest.raises(UnknownAgentError):
        fleet.refresh("nobody", "ROLE_DATA", {}, at(START))

    assert len(fleet) == 0


# ---- what upstream lacks ------------------------------------------------------------------------


def test_reconnecting_pod_supersedes_its_old_entry_at_once():
    """Upstream keeps both for five minutes (W5)."""
    fleet = fleet_of(registration())

    registered = fleet.register(registration(), "id-new", at(START + 1))

    assert [m.agent_id for m in fleet.members()] == ["id-new"]
    assert [m.agent_id for m in registered.ousted] == ["id-0"]
    assert [t.change for t in registered.transitions] == [Change.SUPERSEDED, Change.REGISTERED]
    assert registered.member.reconnects == 1


def test_i05_living_agents_of_one_pod_name_with_three_roles_stay_beside_each_other():
    roles = ["ROLE_DATA", "ROLE_LIAISON", "ROLE_META"]
    fleet = fleet_of(*(registration("demo", role) for role in roles))

    assert [m.role for m in fleet.members()] == roles
    assert len({m.agent_id for m in fleet.members()}) == 3


def test_pod_with_another_role_supersedes_its_dead_entry():
    fleet = fleet_of(registration())
    fleet.disconnected("id-0", at(START))

    fleet.register(registration(role="ROLE_LIAISON"), "id-1", at(START))

    assert [m.agent_id for m in fleet.members()] == ["id-1"]


def test_unspecified_role_differs_from_nothing():
    fleet = fleet_of(registration(role="ROLE_UNSPECIFIED"))

    fleet.register(registration(role="ROLE_DATA"), "id-1", at(START))

    assert [m.agent_id for m in fleet.members()] == ["id-1"]


def test_disconnected_agent_is_offline_at_once_and_kept_until_cleanup():
    """Upstream shows it online for up to 45 s."""
    fleet = fleet_of(registration())

    told = fleet.disconnected("id-0", at(START + 1))

    assert changes(told) == [(Change.PHASE, "id-0", Phase.OFFLINE)]
    assert len(fleet) == 1
    assert fleet.disconnected("id-0", at(START + 2)) == ()


def test_limit_counts_only_the_living():
    """Upstream refused 600 newcomers after 1,000 agents had died."""
    fleet = fleet_of(*(registration(f"pod-{n}") for n in range(3)))
    fleet.disconnected("id-1", at(START))

    assert fleet.register(registration("pod-9"), "id-9", at(START)).member.is_living


def test_limit_does_not_stop_an_agent_that_comes_back():
    fleet = fleet_of(*(registration(f"pod-{n}") for n in range(3)))

    assert fleet.register(registration("pod-1"), "id-9", at(START)).member.reconnects == 1


def test_dead_entries_of_ever_new_names_are_bounded():
    fleet = Membership(LIMITS)
    for number in range(50):
        fleet.register(registration(f"pod-{number}"), f"id-{number}", at(START + number))
        fleet.disconnected(f"id-{number}", at(START + number))

    assert len(fleet) <= 7


def test_two_processes_that_claim_one_pod_are_a_conflict_which_fades():
    link = Contract.LINK
    fleet = fleet_of(registration(contract=link, incarnation="a"))

    member = fleet.register(registration(contract=link, incarnation="b"), "id-1", at(START)).member

    assert (fleet.conflicts, member.phase) == (1, Phase.DEGRADED)
    assert [c.type for c in member.conditions] == ["PodConflict"]
    fleet.heartbeat("id-1", at(START + 300_001))
    assert changes(fleet.tick(at(START + 300_001))) == [(Change.PHASE, "id-1", Phase.ONLINE)]
    assert fleet.get("id-1").conditions == ()


def test_same_process_that_comes_back_is_no_conflict():
    one = registration(contract=Contract.LINK, incarnation="a")
    fleet = fleet_of(one)

    assert fleet.register(one, "id-1", at(START)).member.conditions == ()


def test_conditions_of_the_agent_make_it_degraded():
    fleet = fleet_of(registration())
    condition = frames.Condition("Kernel", "NoBTF")
    state = frames.NodeState("ROLE_DATA", conditions=(condition,))

    told = fleet.heartbeat("id-0", at(START), state)

    assert changes(told) == [(Change.PHASE, "id-0", Phase.DEGRADED)]


def test_find_prefers_the_newest_living_entry_of_a_pod():
    fleet = fleet_of(registration("demo", "ROLE_DATA"), registration("demo", "ROLE_LIAISON"))
    fleet.disconnected("id-1", at(START))

    assert fleet.find("demo").agent_id == "id-0"
    assert fleet.find("id-1").agent_id == "id-1"
    assert fleet.find("nobody") is None


@pytest.mark.parametrize(
    ("heartbeat_ms", "cleanup_ms", "agents", "flag"),
    [
        (0, 300_000, 1, "--agent-heartbeat-timeout"),
        (30_000, 30_000, 1, "--agent-cleanup-timeout"),
        (30_000, 0, 1, "--agent-cleanup-timeout"),
        (30_000, 300_000, 0, "--max-agents"),
    ],
)
def test_limits_that_make_no_sense_are_refused_by_flag(heartbeat_ms, cleanup_ms, agents, flag):
    with pytest.raises(BadRequestError, match=flag):
        Limits(heartbeat_ms, cleanup_ms, agents)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["register", "beat", "cut", "tick"]),
        st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from(["ROLE_DATA", "ROLE_LIAISON", "ROLE_UNSPECIFIED"]),
        st.integers(0, 40_000),
    ),
    max_size=40,
)


@given(STEPS)
def test_any_course_of_events_keeps_the_rules(steps):
    fleet = Membership(LIMITS)
    now_ms = START
    newest: dict[str, str] = {}
    for number, (what, pod, role, pause_ms) in enumerate(steps):
        now_ms += pause_ms
        if what == "register":
            try:
                fleet.register(registration(pod, role), f"id-{number}", at(now_ms))
            except RegistrationError:
                continue
            newest[pod] = f"id-{number}"
        elif what == "tick":
            fleet.tick(at(now_ms))
        elif pod in newest and fleet.get(newest[pod]) is not None:
            if what == "beat":
                with contextlib.suppress(UnknownAgentError):  # its place was taken meanwhile
                    fleet.heartbeat(newest[pod], at(now_ms))
            else:
                fleet.disconnected(newest[pod], at(now_ms))
        assert fleet.living() <= LIMITS.max_agents
        seen = [(m.pod_name, m.role) for m in fleet.members() if m.is_living]
        assert len(seen) == len(set(seen)) == fleet.living()


def test_pods_of_one_name_in_two_namespaces_are_found_by_both():
    fleet = fleet_of(
        registration("data-0", namespace="one"), registration("data-0", namespace="two")
    )

    assert fleet.find("one/data-0").agent_id == "id-0"
    assert fleet.find("two/data-0").agent_id == "id-1"
    assert fleet.find("data-0") is None
    assert fleet.find("three/data-0") is None


def test_a_node_is_called_by_its_pod_name_as_long_as_that_is_unique():
    """An agent of the existing contract tells no namespace and so is no other pod."""
    fleet = fleet_of(
        registration("data-0", namespace="one"),
        registration("data-0", namespace="two"),
        registration("data-1", namespace="two"),
        registration("data-1"),
        registration("host-7"),
        limits=Limits(max_agents=5),
    )
    ids = NodeIds(fleet.members())

    assert [ids.of(member) for member in fleet.members()] == [
        "one/data-0",
        "two/data-0",
        "data-1",
        "data-1",
        "host-7",
    ]


def test_p6_time_of_day_does_not_decide_who_is_living():
    """+400 s of wall clock removed every member, -1 h kept a dead one online."""
    fleet = fleet_of(registration())

    assert fleet.tick(Moment(START + 1, START + 400_000_000)) == ()
    assert fleet.heartbeat("id-0", Moment(START + 2, START - 3_600_000)) == ()
    assert fleet.get("id-0").last_heartbeat_ms == START - 3_600_000
    assert changes(fleet.tick(Moment(START + 30_003, 0))) == [(Change.PHASE, "id-0", Phase.OFFLINE)]


def test_p9_every_removal_is_told():
    fleet = Membership(LIMITS)
    told = []
    for number in range(40):
        one = registration(f"pod-{number}")
        told += fleet.register(one, f"id-{number}", at(START + number)).transitions
        fleet.disconnected(f"id-{number}", at(START + number))

    removed = {t.member.agent_id for t in told if t.change is Change.REMOVED}
    assert removed
    assert removed == {f"id-{n}" for n in range(40)} - {m.agent_id for m in fleet.members()}


def test_p28_superseded_agent_that_comes_back_while_its_successor_lives_is_a_rival():
    link = Contract.LINK
    first = registration(contract=link, incarnation="a")
    fleet = fleet_of(first, registration(contract=link, incarnation="b"))

    rival = fleet.rival_of(first)

    assert rival.agent_id == "id-1"
    assert fleet.rival_of(registration(contract=link, incarnation="c")) is None
    assert fleet.contested("id-1", at(START + 5)) == ()  # it was Degraded before
    assert (fleet.get("id-1").conflicts, fleet.get("id-1").phase) == (2, Phase.DEGRADED)
    fleet.disconnected("id-1", at(START + 6))
    assert fleet.rival_of(first) is None


def test_silent_agent_does_not_come_back_over_the_limit():
    fleet = fleet_of(*(registration(f"pod-{n}") for n in range(3)))
    fleet.tick(at(START + 30_001))
    for number in range(3):
        fleet.register(registration(f"new-{number}"), f"new-{number}", at(START + 30_002))

    with pytest.raises(UnknownAgentError):
        fleet.heartbeat("id-0", at(START + 30_003))
    assert fleet.living() == 3


# ---- who has shown what -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("holder", "claim", "refused"),
    [
        ("db", "db", True),
        ("db", "", True),
        ("", "db", True),
        ("db", "other", False),
    ],
)
def test_who_has_shown_nothing_claims_no_pod_that_could_be_a_proven_one(holder, claim, refused):
    fleet = fleet_of(registration(namespace=holder))
    stranger = registration(namespace=claim, authority=UNPROVEN)

    outcome = pytest.raises(RegistrationError) if refused else contextlib.nullcontext()
    with outcome:
        fleet.check_claim(stranger)
    fleet.check_claim(registration(namespace=claim))
    fleet.unregister("id-0", at(START))
    fleet.check_claim(stranger)


def test_who_has_shown_something_supersedes_who_has_not_whatever_its_role():
    stranger = registration(role="ROLE_LIAISON", authority=UNPROVEN)
    fleet = fleet_of(stranger, registration("pod-1", authority=UNPROVEN))

    registered = fleet.register(registration(namespace="db"), "id-2", at(START))

    assert [one.agent_id for one in registered.ousted] == ["id-0"]
    assert [one.agent_id for one in fleet.members()] == ["id-1", "id-2"]


def test_who_has_shown_nothing_says_so_and_is_online_all_the_same():
    [member] = fleet_of(registration(authority=UNPROVEN)).members()

    assert [one.type for one in member.conditions] == ["Unauthenticated"]
    assert member.phase is Phase.ONLINE


def test_a_namespace_has_a_limit_of_its_own_which_names_itself():
    limits = Limits(30_000, 300_000, 10, 1)
    fleet = fleet_of(registration(namespace="a"), registration(), limits=limits)

    with pytest.raises(RegistrationError) as raised:
        fleet.register(registration("pod-1", namespace="a"), "id-2", at(START))
    fleet.register(registration("pod-1", namespace="b"), "id-3", at(START))
    # A newer one of the same pod takes its place; who is gone makes room.
    fleet.register(registration(namespace="a"), "id-4", at(START))
    fleet.disconnected("id-4", at(START))
    fleet.register(registration("pod-1", namespace="a"), "id-5", at(START))

    assert raised.value.reason == "QuotaExceeded"
    assert raised.value.message == (
        "namespace a has 1 agents, as many as --max-agents-per-namespace allows: come back when "
        "one of them has left"
    )


# ---- who has shown something, and who has not ---------------------------------------------------


def test_strangers_who_fill_the_fleet_make_room_for_who_has_shown_something():
    strangers = [registration(f"x-{n}", authority=UNPROVEN) for n in range(3)]
    fleet = fleet_of(*strangers)

    known = fleet.register(registration("data-0", namespace="db"), "known", at(START))

    assert [one.agent_id for one in known.ousted] == ["id-2"]
    assert changes(known.transitions) == [
        (Change.REMOVED, "id-2", Phase.ONLINE),
        (Change.REGISTERED, "known", Phase.ONLINE),
    ]
    with pytest.raises(RegistrationError, match="maximum number of agents"):
        fleet.register(registration("x-9", authority=UNPROVEN), "late", at(START))


def test_a_fleet_of_those_who_have_shown_something_is_full_for_all():
    fleet = fleet_of(*(registration(f"data-{n}") for n in range(3)))

    with pytest.raises(RegistrationError, match="maximum number of agents"):
        fleet.register(registration("data-9"), "late", at(START))


def test_a_name_in_other_letters_is_no_way_around_a_proof():
    fleet = fleet_of(registration("data-0", namespace="db"))

    for name, namespace in (("DATA-0", "db"), ("Data-0", ""), ("data-0", "")):
        claim = registration(name, namespace=namespace, authority=UNPROVEN)
        with pytest.raises(RegistrationError, match="has shown a token"):
            fleet.check_claim(claim)


def test_a_pod_name_of_several_namespaces_means_none_of_them():
    fleet = fleet_of(registration("data-0", namespace="a"), registration("data-0", namespace="b"))

    assert fleet.find("data-0") is None
    assert {one.address for one in namesakes("data-0", fleet.members())} == {"a/data-0", "b/data-0"}
    assert fleet.find("b/data-0").namespace == "b"
    fleet.disconnected("id-0", at(START))
    assert fleet.find("data-0").namespace == "b"
    assert namesakes("data-0", fleet.members()) == ()
