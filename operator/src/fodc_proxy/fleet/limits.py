# SPDX-License-Identifier: Apache-2.0
"""How long silence lasts and how many may live, pure."""

from dataclasses import dataclass

from fodc_protocol.errors import BadRequestError


@dataclass(frozen=True, slots=True)
class Limits:
    """Timeouts and the greatest number of living members; raises BadRequestError by flag name."""

    heartbeat_timeout_ms: int = 30_000
    cleanup_timeout_ms: int = 300_000
    max_agents: int = 1000
    max_agents_per_namespace: int = 0
    """0 for no limit."""

    def __post_init__(self) -> None:
        if self.heartbeat_timeout_ms <= 0:
            raise BadRequestError("--agent-heartbeat-timeout must be greater than 0")
        if self.cleanup_timeout_ms <= self.heartbeat_timeout_ms:
            raise BadRequestError(
                "--agent-cleanup-timeout must be greater than --agent-heartbeat-timeout "
                f"({self.cleanup_timeout_ms} ms is not more than {self.heartbeat_timeout_ms} ms)"
            )
        if self.max_agents <= 0:
            raise BadRequestError("--max-agents must be greater than 0")
