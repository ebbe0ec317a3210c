# SPDX-License-Identifier: Apache-2.0
"""When a connection is asked for a sign of life and when it is ended, on a clock of numbers."""

import pytest

from fodc_proxy.wire.rpc.pulse import Pulse, Verdict

CALM = {"is_paused": False, "is_waiting": False, "is_idle": False, "is_new": False}


@pytest.mark.parametrize(
    ("now_s", "state", "verdict"),
    [
        (59.0, {}, Verdict.LEAVE),
        (60.0, {}, Verdict.PING),
        (10.0, {"is_idle": True, "is_new": True}, Verdict.LEAVE),
        (10.1, {"is_idle": True, "is_new": True}, Verdict.END),
        (59.0, {"is_idle": True}, Verdict.LEAVE),
        (300.1, {"is_idle": True}, Verdict.END),
        (30.0, {"is_paused": True}, Verdict.LEAVE),
        (30.1, {"is_paused": True}, Verdict.END),
        (120.0, {"is_waiting": True}, Verdict.LEAVE),
        (120.1, {"is_waiting": True}, Verdict.END),
    ],
)
def test_a_connection_is_left_asked_or_ended(now_s, state, verdict):
    assert Pulse(0.0).verdict(now_s, **{**CALM, **state}) is verdict


def test_a_peer_that_answers_stays_and_one_that_does_not_is_gone_after_eighty_seconds():
    pulse = Pulse(0.0)

    assert pulse.verdict(60.0, **CALM) is Verdict.PING
    assert pulse.verdict(65.0, **CALM) is Verdict.LEAVE
    pulse.heard(66.0)
    assert pulse.verdict(100.0, **CALM) is Verdict.LEAVE
    assert pulse.verdict(126.0, **CALM) is Verdict.PING
    assert pulse.verdict(146.0, **CALM) is Verdict.LEAVE
    assert pulse.verdict(146.1, **CALM) is Verdict.END
