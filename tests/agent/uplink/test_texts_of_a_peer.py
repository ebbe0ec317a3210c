# SPDX-License-Identifier: Apache-2.0
"""What a peer says of a failure enters without its secrets."""

import grpc
import grpc.aio
import pytest

from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.rpc.faults import RpcError, RpcFault


def test_the_text_of_a_refused_call_carries_no_secret(run_async):
    """A29: reasons of a failed link reach the log, /readyz and conditions."""

    async def refuse(_request, context):
        text = "store postgres://u:hunter2@db/x password=hunter2 is away " + "x" * 5000
        await context.abort(grpc.StatusCode.INTERNAL, text)

    async def scenario():
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        handler = grpc.unary_unary_rpc_method_handler(refuse)
        service = grpc.method_handlers_generic_handler("t.T", {"Ask": handler})
        server.add_generic_rpc_handlers((service,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channel = await RpcChannel.connect(Endpoint("127.0.0.1", port))
        with pytest.raises(RpcError) as caught:
            await channel.unary("/t.T/Ask", b"", timeout_s=10)
        channel.close()
        await server.stop(0)
        failure = caught.value
        assert failure.fault is RpcFault.REJECTED
        assert "store postgres://u:***@db/x password=*** is away" in str(failure)
        assert len(str(failure)) < 600

    run_async(scenario)
