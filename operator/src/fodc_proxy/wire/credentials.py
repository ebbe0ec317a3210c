# SPDX-License-Identifier: Apache-2.0
"""What a stream shows of who opened it, and how it is told that this is not enough."""

from collections.abc import Mapping
from typing import Final

from fodc_protocol.grpc_status import Status
from fodc_proxy.access.agents.gate import Shown
from fodc_proxy.access.agents.rules import Fault
from fodc_proxy.wire.streams import Context

_STATUSES: Final[Mapping[Fault, Status]] = {
    Fault.NO_CREDENTIALS: Status.UNAUTHENTICATED,
    Fault.PLAIN_TEXT: Status.UNAUTHENTICATED,
    Fault.BAD_TOKEN: Status.UNAUTHENTICATED,
    Fault.REVIEWER_AWAY: Status.UNAVAILABLE,
    Fault.OTHER_AGENT: Status.PERMISSION_DENIED,
    Fault.OTHER_NAMESPACE: Status.PERMISSION_DENIED,
    Fault.CLAIMED: Status.PERMISSION_DENIED,
    Fault.TOO_OFTEN: Status.RESOURCE_EXHAUSTED,
}


def shown_by(context: Context) -> Shown:
    """Return the credentials of a stream, checked by nobody yet."""
    return Shown(
        context.metadata.get("authorization"),
        context.certificate_names,
        context.is_tls,
        context.peer.host,
    )


def status_of(fault: Fault) -> Status:
    """Return the status with which a stream of the existing contract ends."""
    return _STATUSES[fault]
