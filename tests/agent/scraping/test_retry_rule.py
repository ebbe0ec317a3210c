# SPDX-License-Identifier: Apache-2.0
"""When a failed request to the node is repeated (upstream-agent §6.2)."""

import pytest

from fodc_agent.scraping.faults import Fault, FetchError, pause_before_retry_s


@pytest.mark.parametrize(
    "failure",
    [
        FetchError(Fault.REFUSED, "x"),
        FetchError(Fault.HUNG, "x"),
        FetchError(Fault.TRUNCATED, "x"),
        FetchError(Fault.PROTOCOL, "x"),
        FetchError(Fault.STATUS, "x", status=500),
        FetchError(Fault.STATUS, "x", status=204),
    ],
    ids=lambda failure: failure.fault,
)
def test_a_failure_is_tried_three_times_with_200_and_400_ms_between(failure):
    """T-WD-06, T-WD-12."""
    pauses = [pause_before_retry_s(attempt, failure) for attempt in (1, 2, 3)]

    assert pauses == [0.2, 0.4, None]


def test_a_404_is_an_answer_and_not_asked_for_again():
    assert pause_before_retry_s(1, FetchError(Fault.STATUS, "x", status=404)) is None


def test_a_body_above_the_limit_is_not_asked_for_again():
    assert pause_before_retry_s(1, FetchError(Fault.TOO_LARGE, "x")) is None
