# SPDX-License-Identifier: Apache-2.0
"""Which lease, and its times; apart from what holds it, so that `--help` needs no library."""

from dataclasses import dataclass

from fodc_protocol.errors import BadRequestError


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """Which lease and its times in seconds; raises BadRequestError by flag name."""

    name: str
    namespace: str
    identity: str
    duration_s: float = 10.0
    renew_s: float = 7.0
    retry_s: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration_s > self.renew_s > 1.2 * self.retry_s:
            raise BadRequestError(
                "--lease-duration must be greater than --lease-renew, and that greater than 1.2 "
                f"times --lease-retry ({self.duration_s:g}s, {self.renew_s:g}s, {self.retry_s:g}s)"
            )
        if self.retry_s < 1:
            raise BadRequestError("--lease-retry must be at least 1s")

    @property
    def attempt_s(self) -> float:
        """How long one attempt may take, its reading and its writing together."""
        return min(2 * self.retry_s, self.duration_s - self.renew_s)
