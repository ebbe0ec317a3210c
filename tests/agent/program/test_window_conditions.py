# SPDX-License-Identifier: Apache-2.0
"""What the agent tells when its budget holds less than is wanted."""

import pytest

from fodc_agent.node_state import Health, conditions_of


@pytest.mark.parametrize(
    ("reachable_s", "told"),
    [
        (None, []),
        (0.0, ["WindowReach"]),
        (3_239.0, ["WindowReach"]),
        (3_240.0, []),
        (3_600.0, []),
    ],
)
def test_a_history_of_nothing_is_told_and_an_unknown_one_is_not(reachable_s, told):
    """A2: zero seconds were taken for unknown, so the worst case was silent."""
    health = Health(reachable_s=reachable_s, target_s=3600.0)
    assert [one.type for one in conditions_of(health)] == told


def test_refused_series_are_told_with_their_number_and_the_budget():
    """A2."""
    (one,) = conditions_of(Health(refused_series=17, budget_bytes=128 << 10))
    assert (one.type, one.reason) == ("SeriesKept", "BudgetTooSmall")
    assert one.message == (
        "17 series have no room in a budget of 128 KiB and are refused: raise --window-budget"
    )
