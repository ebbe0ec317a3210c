# SPDX-License-Identifier: Apache-2.0
"""How a handler has ended, and what its client is told of it."""

import asyncio
import logging

from fodc_protocol.grpc_status import Status
from fodc_protocol.http2.frames import Code
from fodc_protocol.http2.sending import Sending
from fodc_proxy.wire.rpc.call import Call
from fodc_proxy.wire.rpc.status import AbortedError, StreamOverError, refusal, trailers

_log = logging.getLogger(__name__)


def ending_of(call: Call, task: asyncio.Task[None]) -> AbortedError:
    """Return how a handler has ended."""
    if task.cancelled():
        return call.parting or AbortedError(Status.CANCELLED, "the call was cancelled")
    error = task.exception()
    if error is None:
        return AbortedError(Status.OK, "")
    if isinstance(error, AbortedError):
        return error
    if not isinstance(error, StreamOverError):
        _log.error("a gRPC handler failed", exc_info=error)
    return AbortedError(Status.UNKNOWN, "the handler failed: see the log of the proxy")


def tell(sending: Sending, call: Call, ended: AbortedError) -> None:
    """Send the status, or nothing but an end behind a message that was left in its midst."""
    stream_id = call.stream_id
    if call.is_torn:
        sending.reset(stream_id, Code.INTERNAL_ERROR)
    elif call.is_answered or ended.status is Status.OK:
        if not call.is_answered:
            sending.headers(stream_id, call.headers)
        sending.headers(stream_id, trailers(ended.status, ended.message), ended=True)
    else:
        sending.headers(stream_id, refusal(ended.status, ended.message), ended=True)
