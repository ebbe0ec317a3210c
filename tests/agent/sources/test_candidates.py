# SPDX-License-Identifier: Apache-2.0
"""Who of several processes is the node: rules with literals as a kubelet and runc write them."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_agent.sources.candidates import Candidate, Place, Wanted, choose, place_of
from fodc_agent.sources.readings import Gap, GapReason

UID = "0f8b3c9e-58a1-4d0b-9a53-1f6f7f2f1a11"
OTHER_UID = "7d1e3c9e-58a1-4d0b-9a53-1f6f7f2f1a22"
DATA = Candidate(12, "banyand", ("/banyand", "data", "--x=1"), Place(UID, "data"), "0::/../aaa")
SPARE = Candidate(13, "banyand", ("/banyand", "data"), Place(UID, "backup"), "0::/../bbb")
WANTED = Wanted("banyand", pod_uid=UID, own_cgroup="0::/\n")


def bare(one: Candidate, **changes) -> Candidate:
    """A process of which only the command can be read."""
    return dataclasses.replace(one, place=Place(), **changes)


def reason_of(*candidates, wanted=WANTED):
    found = choose(candidates, wanted)
    assert isinstance(found, Gap), found
    return found


def test_the_lifecycle_tool_of_the_same_image_is_not_the_node():
    lifecycle = bare(SPARE, argv=("/lifecycle", "--grpc-addr=:17914"), command="lifecycle")
    spelled = bare(SPARE, pid=14, argv=("/banyand", "lifecycle"))
    assert choose([lifecycle, DATA, spelled], WANTED) == DATA


def test_the_container_that_was_named_wins_over_another_database():
    wanted = dataclasses.replace(WANTED, container="data")
    assert choose([DATA, SPARE], wanted) == DATA
    assert choose([SPARE, bare(DATA)], wanted) == bare(DATA)


def test_a_process_of_another_container_is_not_taken_though_it_is_alone():
    gap = reason_of(SPARE, wanted=dataclasses.replace(WANTED, container="data"))
    assert gap.reason is GapReason.NO_PROCESS
    assert "process 13 runs in container backup" in gap.message


def test_a_process_of_another_pod_on_the_same_machine_is_not_taken():
    stranger = dataclasses.replace(SPARE, place=Place(OTHER_UID, "data"))
    assert choose([stranger, DATA], WANTED) == DATA
    assert f"process 13 belongs to pod {OTHER_UID}" in reason_of(stranger).message


def test_who_listens_on_the_port_of_the_metrics_is_the_node():
    listener = dataclasses.replace(SPARE, listens=True)
    assert choose([dataclasses.replace(DATA, listens=False), listener], WANTED) == listener


def test_a_role_in_the_command_tells_a_node_from_a_tool_of_the_same_name():
    assert choose([bare(SPARE, argv=("/banyand", "version")), bare(DATA)], WANTED) == bare(DATA)


def test_a_process_of_another_container_than_the_agents_is_preferred():
    own = bare(SPARE, cgroup="0::/\n")
    assert choose([own, bare(DATA)], WANTED) == bare(DATA)


def test_who_cannot_be_told_apart_is_a_gap_that_says_what_was_told_in_vain():
    gap = reason_of(bare(DATA), bare(SPARE), wanted=dataclasses.replace(WANTED, container="data"))
    assert gap.reason is GapReason.AMBIGUOUS
    assert "pids 12, 13" in gap.message
    assert "--node-container=data cannot be told of them" in gap.message


TERMINATION_LOG = (
    "2190 2179 254:1 /var/lib/kubelet/pods/{uid}/containers/{name}/1c3e77aa /dev/termination-log "
    "rw,relatime - ext4 /dev/root rw\n"
)
HOSTS = "2189 2179 254:1 /pods/{uid}/etc-hosts /etc/hosts rw - ext4 /dev/root rw\n"
OF_ANOTHER = "77 30 0:55 / /var/lib/kubelet/pods/{uid}/volumes/t rw - tmpfs tmpfs rw\n"


@pytest.mark.parametrize(
    ("mountinfo", "cgroup", "place"),
    [
        (TERMINATION_LOG.format(uid=UID, name="data"), "", Place(UID, "data")),
        (HOSTS.format(uid=UID), "", Place(UID)),
        (OF_ANOTHER.format(uid=OTHER_UID), "", Place()),
        ("", f"4:memory:/kubepods/burstable/pod{UID}/abc\n", Place(UID)),
        (
            "",
            f"0::/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/cri-abc.scope\n",
            Place(UID),
        ),
        ("", "0::/../abc\n", Place()),
        ("broken\n", "", Place()),
    ],
)
def test_pod_and_container_are_read_from_mounts_and_cgroup(mountinfo, cgroup, place):
    assert place_of(mountinfo, cgroup) == place


_places = st.builds(
    Place, st.sampled_from(["", UID, OTHER_UID]), st.sampled_from(["", "data", "lifecycle"])
)
_candidates = st.builds(
    Candidate,
    st.integers(2, 9),
    st.sampled_from(["banyand", "lifecycle", "pause"]),
    st.sampled_from([(), ("/banyand", "data"), ("/banyand",), ("/lifecycle", "--x")]),
    _places,
    st.sampled_from(["", "0::/\n", "0::/../a\n"]),
    st.sampled_from([None, True, False]),
)


@given(
    st.lists(_candidates, max_size=5, unique_by=lambda one: one.pid),
    st.sampled_from(["", "data"]),
    st.randoms(),
)
def test_the_choice_never_contradicts_what_is_known_and_does_not_hang_on_the_order(
    candidates, container, random
):
    wanted = dataclasses.replace(WANTED, container=container)
    chosen = choose(candidates, wanted)
    shuffled = list(candidates)
    random.shuffle(shuffled)
    again = choose(shuffled, wanted)
    if isinstance(chosen, Gap):
        assert isinstance(again, Gap)
        assert again.reason == chosen.reason
        return
    assert again == chosen
    assert chosen.place.pod_uid in {"", UID}
    assert not container or chosen.place.container in {"", container}
