# SPDX-License-Identifier: Apache-2.0
"""How many bytes a capture is promised."""

import pytest

from fodc_agent.captures.needs import Needs
from fodc_protocol.profiles import Profile


@pytest.mark.parametrize("kind", list(Profile))
def test_a_first_capture_is_promised_what_its_kind_needs_and_not_64_mib(kind):
    """A8: four captures of 4 KiB evicted a result that nobody had fetched."""
    seconds = kind.facts.default_duration_s
    assert 16 << 10 <= Needs().bytes_for(kind, seconds) <= 8 << 20


def test_the_next_capture_of_a_kind_is_promised_twice_the_last_result():
    needs = Needs()
    needs.learn(Profile.HEAP, 0, 3_000_000)
    assert needs.bytes_for(Profile.HEAP, 0) == 6_000_000
    needs.learn(Profile.HEAP, 0, 4_000)
    assert needs.bytes_for(Profile.HEAP, 0) == 64 << 10


def test_a_longer_capture_is_promised_more_in_proportion():
    needs = Needs()
    needs.learn(Profile.TRACE, 1, 1_000_000)
    assert needs.bytes_for(Profile.TRACE, 5) == 10_000_000
    assert needs.bytes_for(Profile.TRACE, 0.5) == 2_000_000
