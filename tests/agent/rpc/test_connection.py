# SPDX-License-Identifier: Apache-2.0
"""The client's half of HTTP/2 against the h2 library, and against peers that break its rules."""

import itertools
import struct

import h2.config
import h2.connection
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_agent.rpc.connection import Connection, Leaving, Told
from fodc_agent.rpc.requests import UnsayableError, head_of
from fodc_protocol.http2.events import Closed, Received, Reset, Room
from fodc_protocol.http2.side import ALLOWANCE

from .servers import (
    ANSWER,
    CALL,
    DATA,
    GOAWAY,
    GREETING,
    HEADERS,
    MORE,
    OK,
    PING,
    PUSH,
    RST,
    SETTINGS,
    WINDOW,
    Core,
    field,
    frame,
)

PROTOCOL, FLOW, STREAM_CLOSED, FRAME_SIZE, CANCEL, COMPRESSION, CALM = 1, 3, 5, 6, 8, 9, 11


def parting(core: Core) -> int | None:
    codes = [int.from_bytes(p[4:8], "big") for k, _, _, p in core.said() if k == GOAWAY]
    return codes[0] if codes else None


def a_conversation() -> bytes:
    """What the h2 library answers to three calls: messages, a status, one reset, a goodbye."""
    client, server = (
        Connection(),
        h2.connection.H2Connection(h2.config.H2Configuration(client_side=False)),
    )
    for _ in range(3):
        client.open(head_of("/t.T/Go", "proxy:1", {}, is_tls=False))
    server.initiate_connection()
    server.receive_data(b"".join(client.sending.out))
    head = [(":status", "200"), ("content-type", "application/grpc")]
    for stream in (1, 3, 5):
        server.send_headers(stream, head)
        server.send_data(stream, b"x" * (300 * stream))
    server.send_headers(1, [("grpc-status", "0"), ("grpc-message", "fine")], end_stream=True)
    server.reset_stream(3, error_code=8)
    server.ping(b"12345678")
    server.close_connection(additional_data=b"bye", last_stream_id=5)
    return server.data_to_send()


def heard_in_pieces(data: bytes, cuts: list[int]) -> tuple[list[object], list[object]]:
    core = Core(b"")
    for _ in range(2):
        core.open(CALL)
    core.said()
    events: list[object] = []
    places = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(places):
        events += core.hear(data[start:end])
    return events, core.said()


WHOLE = heard_in_pieces(a_conversation(), [])


def test_what_a_server_says_is_told_in_its_order():
    events, said = WHOLE
    answered = {"content-type": "application/grpc"}
    assert [one for one in events if not isinstance(one, Room)] == [
        *(
            one
            for stream in (1, 3, 5)
            for one in (
                Told(stream, 200, answered, ended=False),
                Received(stream, b"x" * (300 * stream), ended=False),
            )
        ),
        Told(1, 0, {"grpc-status": "0", "grpc-message": "fine"}, ended=True),
        Reset(3),
        Leaving(5, 0, b"bye"),
    ]
    assert (PING, 1, 0, b"12345678") in said


@given(st.lists(st.integers(0, 10_000), max_size=12))
def test_frames_may_be_cut_at_any_byte(cuts):
    assert heard_in_pieces(a_conversation(), cuts) == WHOLE


FRAMES = st.builds(
    frame,
    st.integers(0, 12),
    st.integers(0, 255),
    st.integers(0, 5),
    st.one_of(st.binary(max_size=48), st.sampled_from([ANSWER, OK, ANSWER + OK])),
)


@given(st.lists(FRAMES, max_size=60))
def test_no_frames_make_it_fail_or_grow(sent):
    core = Core()
    events = core.hear(b"".join(sent))

    assert len(core.streams) == 1
    assert len(core.rest) < 9 + 16_384
    closed = [one for one in events if isinstance(one, Closed)]
    assert closed == events[-1:] if core.is_closed else closed == []


@given(st.binary(max_size=600))
def test_no_bytes_make_it_fail(data):
    Core(b"").hear(data)
    Core().hear(data)


def test_it_greets_with_no_table_no_push_and_a_window_for_all():
    core = Core(b"")
    core.sending.out = Connection().sending.out
    (kind, flags, stream, payload), update = core.said()
    assert (kind, flags, stream) == (SETTINGS, 0, 0)
    assert list(struct.iter_unpack(">HI", payload)) == [(1, 0), (2, 0), (6, 16_384)]
    assert update == (WINDOW, 0, 0, struct.pack(">I", (1 << 20) - 65_535))


def test_streams_have_odd_numbers_and_goodbye_names_none_of_them():
    core = Core()
    assert [core.open(CALL), core.open(CALL)] == [3, 5]
    core.sending.goodbye()
    assert core.said()[-1] == (GOAWAY, 0, 0, bytes(8))


def test_headers_larger_than_a_frame_go_on_in_others():
    """A token of a large provider."""
    block = head_of("/t.T/Go", "p", {"authorization": "Bearer " + "x" * 30_000}, is_tls=True)
    core = Core()
    stream = core.open(block)
    said = core.said()

    assert [(kind, flags, number) for kind, flags, number, _ in said] == [
        (HEADERS, 0, stream),
        (MORE, 4, stream),
    ]
    assert b"".join(payload for *_, payload in said) == block


def test_h2_reads_what_a_call_says():
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    client = Connection()
    metadata = {"agent_id": "a-1", "authorization": "Bearer x"}
    client.open(head_of("/t.T/Go", "proxy:1", metadata, is_tls=True, timeout_s=1.0004))
    [*_, request] = server.receive_data(b"".join(client.sending.out))

    assert dict(request.headers) == {
        b":method": b"POST",
        b":scheme": b"https",
        b":path": b"/t.T/Go",
        b":authority": b"proxy:1",
        b"grpc-timeout": b"1001m",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
        b"user-agent": b"fodc-agent/0.1.0",
        b"agent_id": b"a-1",
        b"authorization": b"Bearer x",
    }
    assert not request.headers[-1].indexable
    assert request.headers[-2].indexable


@pytest.mark.parametrize("value", ["two\nlines", " blank", "caf\u00e9", "\x00"])
def test_what_no_header_can_hold_is_refused_without_its_value(value):
    with pytest.raises(UnsayableError) as caught:
        head_of("/t.T/Go", "p", {"agent_id": value}, is_tls=False)
    assert str(caught.value) == "metadata 'agent_id' holds what cannot be sent in a header"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(PUSH, 4, 1, bytes(4) + CALL), PROTOCOL),
        (frame(HEADERS, 4, 3, ANSWER), PROTOCOL),
        (frame(HEADERS, 4, 2, ANSWER), PROTOCOL),
        (frame(DATA, 0, 5, b"x"), PROTOCOL),
        (frame(GOAWAY, 0, 0, bytes(7)), FRAME_SIZE),
        (frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31)), FLOW),
        (frame(HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff"), COMPRESSION),
        (frame(HEADERS, 0, 1, ANSWER) + frame(PING, 0, 0, bytes(8)), PROTOCOL),
        (frame(HEADERS, 0, 1, b"\x00" * 10_000) + frame(MORE, 0, 1, b"\x00" * 7_000), CALM),
        (frame(PING, 0, 0, bytes(8)) * (ALLOWANCE + 1), CALM),
        (b"\x00\x40\x01" + bytes(6), FRAME_SIZE),
    ],
)
def test_broken_rules_of_the_connection_end_it_with_their_code(sent, code):
    core = Core()
    assert isinstance(core.hear(sent)[-1], Closed)
    assert parting(core) == code


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", frame(PING, 0, 0, bytes(8))])
def test_what_is_no_http2_ends_at_once(said):
    core = Core(b"")
    assert isinstance(core.hear(said)[-1], Closed)
    assert not core.is_greeted


@pytest.mark.parametrize(
    "block",
    [
        field(b":status", b"two"),
        field(b":status", b"099"),
        ANSWER + field(b":status", b"200"),
        ANSWER + field(b"Upper", b"x"),
        ANSWER + field(b"k", b"a\nb"),
        OK,  # trailers that are not the end
    ],
)
def test_headers_that_are_no_answer_cost_their_stream_alone(block):
    core = Core()
    assert core.hear(frame(HEADERS, 4, 1, block)) == [Reset(1)]
    assert core.said() == [(RST, 0, 1, struct.pack(">I", PROTOCOL))]
    assert not core.is_closed


def test_headers_that_only_inform_are_passed_over():
    core = Core()
    assert core.hear(frame(HEADERS, 4, 1, field(b":status", b"103"))) == []


def test_an_answer_beyond_its_window_loses_the_stream():
    core = Core()
    core.hear(frame(HEADERS, 4, 1, ANSWER))
    events = core.hear(frame(DATA, 0, 1, bytes(16_384)) * 4)
    assert events[-1] == Reset(1)
    assert core.said() == [(RST, 0, 1, struct.pack(">I", FLOW))]


def test_nothing_may_follow_the_end():
    core = Core()
    assert core.hear(frame(HEADERS, 5, 1, ANSWER + OK))[0].ended
    assert core.hear(frame(DATA, 0, 1, b"x")) == [Reset(1)]
    assert core.said() == [(RST, 0, 1, struct.pack(">I", STREAM_CLOSED))]


def test_frames_on_their_way_when_we_left_a_stream_are_passed_over():
    core = Core()
    core.sending.reset(1, 8)
    core.streams.forget(1)
    assert core.said() == [(RST, 0, 1, struct.pack(">I", CANCEL))]
    assert core.hear(frame(HEADERS, 4, 1, ANSWER) + frame(DATA, 1, 1, b"late")) == []
    assert (core.said(), core.is_closed) == ([], False)


def test_we_send_within_the_windows_of_stream_and_connection_and_end():
    core = Core(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 10)))
    core.hear(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 10)))
    core.said()
    data = memoryview(b"abcdefghijkl")
    assert core.sending.data(1, data, 1000) == 10
    assert core.hear(frame(WINDOW, 0, 1, struct.pack(">I", 2))) == [Room()]
    assert core.sending.data(1, data[10:], 1000) == 2
    core.sending.end(1)
    assert core.said() == [
        (DATA, 0, 1, b"abcdefghij"),
        (DATA, 0, 1, b"kl"),
        (DATA, 1, 1, b""),
    ]
    assert core.hear(frame(HEADERS, 4, 1, ANSWER))[0].status == 200


def test_how_many_streams_a_peer_takes_is_known():
    assert Core(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 7))).most_streams == 7
    assert Core(GREETING).most_streams == 2**31 - 1
