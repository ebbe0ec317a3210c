# SPDX-License-Identifier: Apache-2.0
"""Why an agent is not, or not any more, a member."""

from fodc_protocol.errors import FodcError, Reason


class RegistrationError(FodcError):
    """A registration that is not accepted; the message is the existing proxy's (R03 to R05)."""

    default_reason = Reason.BAD_REQUEST


class UnknownAgentError(FodcError):
    """No member has this agent id; the message is the existing proxy's."""

    default_reason = Reason.NOT_FOUND

    def __init__(self, agent_id: str) -> None:
        super().__init__(f"agent {agent_id} not found")


def full_namespace(namespace: str, most: int) -> RegistrationError:
    """Return why a namespace takes no more agents."""
    message = (
        f"namespace {namespace} has {most} agents, as many as --max-agents-per-namespace allows: "
        "come back when one of them has left"
    )
    return RegistrationError(message, reason=Reason.QUOTA_EXCEEDED)
