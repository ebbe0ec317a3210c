# SPDX-License-Identifier: Apache-2.0
"""Until when agents can know the proxy, on a FodcInjection."""

from datetime import UTC, datetime, timedelta

import pytest

from fodc_operator.policies.certificate_state import condition

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (None, ("False", "NoCertificate")),
        (timedelta(0), ("False", "Ended")),
        (timedelta(days=-3), ("False", "Ended")),
        (timedelta(days=6, hours=23), ("False", "EndsSoon")),
        (timedelta(days=7), ("True", "Valid")),
        (timedelta(days=60), ("True", "Valid")),
    ],
)
def test_a_certificate_that_ends_shows_as_a_condition(
    left: timedelta | None, told: tuple[str, str]
) -> None:
    found = condition(None if left is None else NOW + left, NOW_MS)

    assert (found.type, found.status, found.reason) == ("CertificateValid", *told)


def test_the_message_says_when_it_ends() -> None:
    found = condition(NOW + timedelta(days=60), NOW_MS)

    assert found.message == "the proxy's certificate ends at 2027-01-28 12:00 UTC"
