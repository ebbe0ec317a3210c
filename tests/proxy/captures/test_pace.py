# SPDX-License-Identifier: Apache-2.0
"""Captures per caller, per node and hour: which limit, and when there is room again."""

import pytest

from fodc_protocol.errors import Reason
from fodc_protocol.profiles import Profile
from fodc_proxy.captures.model import Capture, Request, Selector, Spec, Target
from fodc_proxy.captures.pace import HOUR_MS, Pace
from fodc_proxy.captures.refusals import TooManyError

NOW_MS = 1_800_000_000_000
MINUTE_MS = 60_000


def test_a_node_has_so_many_captures_within_an_hour_whoever_asks():
    pace = Pace(0, 3)
    pace.take("anna", ["n1"], 2, NOW_MS)
    pace.take("bert", ["n1", "n2"], 1, NOW_MS + MINUTE_MS)

    with pytest.raises(TooManyError) as caught:
        pace.take("anna", ["n2", "n1"], 2, NOW_MS + 2 * MINUTE_MS)

    assert caught.value.message == (
        "node n1 has had 3 captures within an hour, and 2 more are beyond the limit of 3; "
        "there is room in 3480 s"
    )
    assert (caught.value.reason, caught.value.retry_after_s) == (Reason.THROTTLED, 3480)
    # Nothing of what was refused counts, and the hour moves on.
    pace.take("anna", ["n2"], 2, NOW_MS + 2 * MINUTE_MS)
    pace.take("anna", ["n1"], 2, NOW_MS + HOUR_MS)


def test_a_caller_has_so_many_over_all_nodes_and_leaves_others_theirs():
    pace = Pace(4, 0)
    pace.take("anna", ["n1", "n2"], 2, NOW_MS)
    with pytest.raises(TooManyError, match=r"caller anna has had 4 captures .* limit of 4"):
        pace.take("anna", ["n3"], 1, NOW_MS + 1)
    pace.take("bert", ["n3"], 1, NOW_MS + 1)


def test_more_than_a_limit_at_once_is_never_taken_in():
    with pytest.raises(TooManyError) as caught:
        Pace(0, 3).take("anna", ["n1"], 4, NOW_MS)
    assert caught.value.retry_after_s == 3600


def test_what_an_earlier_life_took_in_counts_on():
    captures = (Capture("cpu", Profile.CPU, 5.0), Capture("heap", Profile.HEAP, 0.0))
    spec = Spec(Selector(names=("n1",)), captures)
    target = Target("n1", "", "a1", "ROLE_DATA")
    earlier = Request("r0", spec, (target,), NOW_MS - HOUR_MS, caller="anna")
    lately = Request("r1", spec, (target,), NOW_MS - 1, caller="anna")
    pace = Pace(0, 3)
    pace.restore([earlier, lately], NOW_MS)
    pace.take("anna", ["n1"], 1, NOW_MS)
    with pytest.raises(TooManyError):
        pace.take("anna", ["n1"], 1, NOW_MS)


def test_no_limit_is_no_limit():
    pace = Pace(0, 0)
    for number in range(1_000):
        pace.take("anna", ["n1"], 8, NOW_MS + number)
