# SPDX-License-Identifier: Apache-2.0
"""Messages of a peer: whole, as the interpreter of the image reads them, and never too long."""

import itertools
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_agent.rpc.answer import Answer
from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_agent.uplink.codec import METHOD, frame_limit
from fodc_wire.fodc.v1 import agent_link_pb2 as pb

# A peer that announces 100 bytes, sends some and ends the call with OK.
CUT = """
import asyncio, sys
import h2.config, h2.connection, h2.events
from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.rpc.faults import RpcError

sent = int(sys.argv[1])

async def serve(reader, writer):
    line = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    line.initiate_connection()
    writer.write(line.data_to_send())
    while data := await reader.read(65536):
        for event in line.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                number = event.stream_id
                head = [(":status", "200"), ("content-type", "application/grpc")]
                line.send_headers(number, head)
                line.send_data(number, b"\\0\\0\\0\\0\\x64" + b"x" * sent)
                line.send_headers(number, [("grpc-status", "0")], end_stream=True)
        writer.write(line.data_to_send())
    writer.close()
    over.set()

async def main():
    global over
    over = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    channel = await RpcChannel.connect(Endpoint("127.0.0.1", server.sockets[0].getsockname()[1]))
    try:
        async with channel.open("/any/Method") as stream:
            await stream.end()
            print("accepted", await stream.receive())
    except RpcError as error:
        print(error.fault, "broken message" in str(error))
    channel.close()
    await over.wait()
    server.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("sent", ["0", "5", "99"])
@pytest.mark.parametrize("optimised", [(), ("-OO",)])
def test_a9_a_cut_message_is_refused_also_where_asserts_are_gone(sent, optimised):
    run = subprocess.run(
        [sys.executable, *optimised, "-c", CUT, sent],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("Cut True\n", "")


def framed(message: bytes, flag: bytes = b"\0") -> bytes:
    return flag + len(message).to_bytes(4, "big") + message


def answer_of(data: bytes, limit=frame_limit, *, ended: bool = True) -> Answer:
    """The peer's half of a call that sent these bytes and, unless more follows, ended it well."""
    answer = Answer("proxy", limit)
    answer.told(200, {"content-type": "application/grpc"}, ended=False)
    answer.received(data, ended=False)
    if ended:
        answer.told(0, {"grpc-status": "0"}, ended=True)
    return answer


def test_messages_are_read_one_by_one_and_none_is_the_end():
    answer = answer_of(framed(b"") + framed(b"a" * 20) + framed(b"b"))
    assert [answer.message() for _ in range(4)] == [b"", b"a" * 20, b"b", None]
    assert answer.is_ended


@given(st.lists(st.binary(max_size=60), max_size=6), st.lists(st.integers(0, 400), max_size=9))
def test_messages_may_be_cut_at_any_byte(messages, cuts):
    data = b"".join(map(framed, messages))
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    answer, read = answer_of(b"", lambda _: 60, ended=False), []
    for start, end in itertools.pairwise(places):
        answer.received(data[start:end], ended=False)
        while (message := answer.message()) is not None:
            read.append(message)
        assert answer.missing_bytes > 0
    assert read == messages


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\0\0\0", "broken message: cut in its length"),
        (framed(b"abc", b"\1"), "broken message: compressed, which nobody offered"),
        (framed(b"a" * 20)[:-1], "broken message: 19 of 20 bytes"),
    ],
)
def test_a9_what_is_no_whole_message_is_a_cut_that_says_so(data, text):
    with pytest.raises(RpcError, match=text) as caught:
        answer_of(data).message()
    assert caught.value.fault is RpcFault.CUT


@pytest.mark.parametrize(
    ("kind", "most"),
    [("heartbeat_ack", 1024), ("event_ack", 1024), ("welcome", 16_384), ("start_capture", 65_536)],
)
def test_a28_each_kind_of_frame_has_its_length_and_a_longer_one_is_not_read(kind, most):
    frame = pb.ProxyFrame(**{kind: {}}).SerializeToString()
    beginning = framed(frame.ljust(most + 1, b"x"))[:21]
    with pytest.raises(RpcError, match=f"{most + 1} bytes, its kind may have {most}") as caught:
        answer_of(beginning, ended=False).message()
    assert caught.value.fault is RpcFault.OVERSIZED


def test_a28_a_frame_of_a_newer_proxy_may_be_longer_than_any_known_one():
    frame = b"\xfa\x07" + b"x" * 200_000
    assert answer_of(framed(frame)).message() == frame


def test_a28_a_huge_frame_of_garbage_ends_the_call_at_once(link_peer, run_async):
    async def work():
        peer = link_peer()
        await peer.start()
        channel = await RpcChannel.connect(Endpoint("127.0.0.1", peer.port))
        begun_s = time.monotonic()
        async with channel.open(METHOD, limit=frame_limit) as stream:
            peer.outgoing.put_nowait(b"\x0a\xff" * (14 << 20))
            with pytest.raises(RpcError, match="29360128 bytes, its kind may have") as caught:
                await stream.receive()
        channel.close()
        assert caught.value.fault is RpcFault.OVERSIZED
        assert time.monotonic() - begun_s < 5
        await peer.stop()

    run_async(work)
