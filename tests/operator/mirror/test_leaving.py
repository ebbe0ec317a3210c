# SPDX-License-Identifier: Apache-2.0
"""What becomes of a node whose agent is not registered, by the time that has passed."""

import pytest

from fodc_operator.mirror.leaving import Patience, Silent, verdict
from fodc_operator.resources.fodcnode import NodePhase
from fodc_protocol.errors import BadRequestError

PATIENCE = Patience(heartbeat_ms=10_000, grace_ms=60_000, lost_ms=300_000, retention_ms=3_600_000)
LEADS_SINCE_MS = 1_000_000_000


def after(
    led_s: float, phase: NodePhase | None, *, silent_s: float = 20.0, heard_by_us: bool = False
) -> NodePhase | None:
    now_ms = LEADS_SINCE_MS + round(led_s * 1000)
    silent = Silent(phase, now_ms - round(silent_s * 1000), heard_by_us)
    return verdict(silent, PATIENCE, leads_since_ms=LEADS_SINCE_MS, now_ms=now_ms)


@pytest.mark.parametrize("phase", [NodePhase.ONLINE, NodePhase.DEGRADED])
def test_a_new_leader_lets_a_living_node_stand_for_one_heartbeat_then_waits_for_it(
    phase: NodePhase,
) -> None:
    assert [after(led_s, phase) for led_s in (0.0, 9.9, 10.0, 59.9)] == [
        phase,
        phase,
        NodePhase.PENDING,
        NodePhase.PENDING,
    ]


def test_nothing_is_marked_offline_before_the_grace_has_passed() -> None:
    assert after(59.9, NodePhase.PENDING, silent_s=86_400) is NodePhase.PENDING
    assert after(60.0, NodePhase.PENDING, silent_s=61) is NodePhase.OFFLINE


@pytest.mark.parametrize("phase", [NodePhase.OFFLINE, NodePhase.LOST])
def test_what_was_gone_before_stays_so_during_the_grace(phase: NodePhase) -> None:
    assert after(5.0, phase, silent_s=10_000_000) is phase


def test_an_object_without_a_status_waits_for_its_agent() -> None:
    assert after(0.0, None) is NodePhase.PENDING


def test_who_was_heard_by_this_leader_and_left_needs_no_grace() -> None:
    assert after(5.0, NodePhase.ONLINE, silent_s=31, heard_by_us=True) is NodePhase.OFFLINE


def test_silence_beyond_the_cleanup_timeout_is_lost_and_beyond_the_retention_removed() -> None:
    found = [
        after(100_000, NodePhase.OFFLINE, silent_s=silent_s)
        for silent_s in (300.0, 300.1, 3_900.0, 3_900.1)
    ]

    assert found == [NodePhase.OFFLINE, NodePhase.LOST, NodePhase.LOST, None]


def test_a_grace_shorter_than_three_heartbeats_is_refused() -> None:
    with pytest.raises(BadRequestError) as caught:
        Patience(heartbeat_ms=10_000, grace_ms=29_999)

    assert caught.value.message == "--startup-grace must be at least 3 heartbeats (30s)"
