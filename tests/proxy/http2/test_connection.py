# SPDX-License-Identifier: Apache-2.0
"""The core of HTTP/2 on literals and at random: order, windows, and every flood (P26)."""

import itertools
import struct

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.http2.events import Closed, Received, Reset, Room
from fodc_protocol.http2.side import ALLOWANCE, CONNECTION_WINDOW
from fodc_proxy.wire.http2.connection import Connection
from fodc_proxy.wire.http2.events import Opened

from .clients import (
    CALL,
    DATA,
    GOAWAY,
    GREETING,
    HEADERS,
    MORE,
    PING,
    PREFACE,
    PRIORITY,
    PUSH,
    RST,
    SETTINGS,
    WINDOW,
    Core,
    field,
    frame,
    opened,
)

PROTOCOL, FLOW, STREAM_CLOSED, FRAME_SIZE, REFUSED, COMPRESSION, CALM = 1, 3, 5, 6, 7, 9, 11
CALL_AS_TEXT = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/a/Go"),
    (":authority", "proxy"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    ("agent_id", "a-1"),
]


def a_conversation() -> bytes:
    """What the h2 library says: three calls with messages, one reset, one ended, one ping."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    for stream in (1, 3, 5):
        client.send_headers(stream, CALL_AS_TEXT)
        client.send_data(stream, b"x" * (300 * stream))
    client.reset_stream(3)
    client.ping(b"12345678")
    client.end_stream(5)
    return client.data_to_send()


def heard_in_pieces(data: bytes, cuts: list[int]) -> tuple[list[object], list[object]]:
    core = Core(b"")
    events: list[object] = []
    places = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(places):
        events += core.hear(data[start:end])
    return events, core.said()


WHOLE = heard_in_pieces(a_conversation(), [])


def test_what_a_client_says_is_told_in_its_order():
    events, said = WHOLE

    kinds = [type(one).__name__ for one in events]
    assert kinds == ["Room", *["Opened", "Received"] * 3, "Reset", "Received"]
    first = events[1]
    assert isinstance(first, Opened)
    assert (first.request.method, first.request.path, first.ended) == ("POST", "/a/Go", False)
    assert dict(first.request.headers) == {
        "content-type": "application/grpc",
        "te": "trailers",
        "agent_id": "a-1",
    }
    assert events[2] == Received(1, b"x" * 300, ended=False)
    assert events[-2:] == [Reset(3), Received(5, b"", ended=True)]
    assert (PING, 1, 0, b"12345678") in said


@given(st.lists(st.integers(0, 10_000), max_size=12))
def test_frames_may_be_cut_at_any_byte(cuts):
    assert heard_in_pieces(a_conversation(), cuts) == WHOLE


FRAMES = st.builds(
    frame,
    st.integers(0, 12),
    st.integers(0, 255),
    st.integers(0, 9),
    st.one_of(st.binary(max_size=48), st.just(CALL)),
)


@given(st.lists(FRAMES, max_size=60))
def test_no_frames_make_it_fail_or_grow(sent):
    core = Core()
    events = core.hear(b"".join(sent))

    assert len(core.streams) <= 5
    assert len(core.rest) < 9 + 16_384
    closed = [one for one in events if isinstance(one, Closed)]
    assert closed == events[-1:] if core.is_closed else closed == []
    assert core.hear(b"anything") == [] or not core.is_closed


@given(st.binary(max_size=600))
def test_no_bytes_make_it_fail(data):
    core = Core(b"")
    core.hear(data)
    Core().hear(data)


def greeting_of_ours() -> list[tuple[int, int, int, bytes]]:
    data = b"".join(Connection().sending.out)
    core = Core()
    core.sending.out = [data]
    return core.said()


def test_settings_leave_a_client_no_table_and_128_streams():
    kind, flags, stream, payload = greeting_of_ours()[0]

    assert (kind, flags, stream) == (SETTINGS, 0, 0)
    assert list(struct.iter_unpack(">HI", payload)) == [(1, 0), (3, 128), (6, 16_384)]


@pytest.mark.parametrize(
    ("bother", "each"),
    [
        (frame(PING, 0, 0, bytes(8)), 1),
        (frame(SETTINGS, 0, 0, b""), 1),
        (frame(PRIORITY, 0, 9, struct.pack(">IB", 1, 0)), 1),
        (frame(WINDOW, 0, 0, struct.pack(">I", 1)), 1),
        (frame(DATA, 0, 1, b""), 1),
        (frame(DATA, 8, 1, b"\x03abc\x00\x00\x00"), 2),
        (frame(77, 0, 0, b"what"), 1),
    ],
)
def test_frames_that_bring_nothing_are_taken_until_the_allowance_is_used_up(bother, each):
    """PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty and padded DATA, and unknown frames."""
    core = Core()
    core.hear(opened(1))
    core.forgive()

    assert not isinstance(core.hear(bother * (ALLOWANCE // each))[-1:], Closed)
    assert not core.is_closed
    core.forgive()
    core.hear(bother * (ALLOWANCE // each))
    assert not core.is_closed
    core.said()
    assert isinstance(core.hear(bother)[-1], Closed)
    assert core.parting() == CALM


def test_a_fast_sender_of_messages_with_short_tails_is_no_bother():
    """65,556 bytes are four full frames and one of 20 bytes: after 2,000 of them all was over."""
    core = Core()
    core.hear(opened(1))
    for _ in range(ALLOWANCE + 100):
        core.allow(1, 1 << 20, 1 << 20)
        core.hear(b"".join(frame(DATA, 0, 1, bytes(size)) for size in (16_384, 16_384, 20)))
        core.said()

    assert not core.is_closed


def test_p26_streams_that_are_reset_at_once_end_the_connection():
    core = Core()
    calls = b"".join(
        opened(2 * n + 1) + frame(RST, 0, 2 * n + 1, struct.pack(">I", 8)) for n in range(100)
    )

    events = core.hear(calls)
    assert sum(isinstance(one, Opened) for one in events) == 100
    for n in range(100):
        core.streams.forget(2 * n + 1)
    core.hear(
        b"".join(
            opened(2 * n + 1) + frame(RST, 0, 2 * n + 1, struct.pack(">I", 8))
            for n in range(100, 2_000)
        )
    )

    assert core.is_closed
    assert core.parting() == CALM
    assert len(core.streams) <= 128


def test_a_stream_counts_until_its_handler_has_ended():
    """So that a peer cannot have more than 128 handlers at work by resetting their streams."""
    core = Core()
    core.hear(b"".join(opened(2 * n + 1) for n in range(128)))
    core.hear(frame(RST, 0, 1, struct.pack(">I", 8)))
    core.said()

    assert core.hear(opened(257)) == []
    assert core.said() == [(RST, 0, 257, struct.pack(">I", REFUSED))]
    core.streams.forget(1)
    assert isinstance(core.hear(opened(259))[0], Opened)


def test_headers_that_do_not_end_are_bounded_in_bytes_and_in_frames():
    core = Core()
    core.hear(frame(HEADERS, 0, 1, b"\x00" * 10_000) + frame(MORE, 0, 1, b"\x00" * 7_000))
    assert core.parting() == CALM

    core = Core()
    core.hear(frame(HEADERS, 0, 1, CALL) + frame(MORE, 0, 1) * (ALLOWANCE + 1))
    assert core.parting() == CALM


def test_a_client_that_keeps_a_table_makes_no_megabytes_of_bytes():
    """40 connections of 11 KB each made 93 MiB."""
    core = Core()
    core.hear(opened(1, CALL + b"\x40\x01k\x7f\xbd\x1d" + b"v" * 3_900))
    sent = 0
    while not core.is_closed and sent < 64:
        sent += 1
        core.hear(opened(1 + 2 * sent, CALL + b"\xbe" * 3))

    assert (core.parting(), sent) == (CALM, 6)


def test_headers_that_unfold_are_bounded():
    """An entry of 4,000 bytes in the table of old, named two hundred times."""
    value = b"v" * 3_900
    core = Core()
    block = CALL + b"\x40\x01k\x7f\xbd\x1d" + value
    core.hear(opened(1, block))
    assert not core.is_closed
    core.hear(opened(3, CALL + b"\xbe" * 200))

    assert core.parting() == CALM


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", FRAME_SIZE),
        (frame(PING, 0, 0, b"short"), FRAME_SIZE),
        (frame(PING, 0, 1, bytes(8)), PROTOCOL),
        (frame(SETTINGS, 1, 0, b"123456"), FRAME_SIZE),
        (frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31)), FLOW),
        (frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1) * 33), CALM),
        (frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1)), PROTOCOL),
        (frame(SETTINGS, 0, 0, struct.pack(">HI", 2, 2)), PROTOCOL),
        (frame(PUSH, 4, 1, bytes(4)), PROTOCOL),
        (frame(DATA, 0, 1, b"x"), PROTOCOL),
        (frame(RST, 0, 1, bytes(4)), PROTOCOL),
        (frame(WINDOW, 0, 0, bytes(4)), PROTOCOL),
        (frame(WINDOW, 0, 0, struct.pack(">I", 2**31 - 1)), FLOW),
        (frame(HEADERS, 4, 2, CALL), PROTOCOL),
        (frame(HEADERS, 0, 1, CALL) + frame(PING, 0, 0, bytes(8)), PROTOCOL),
        (opened(1) + frame(DATA, 8, 1, b"\x05abc"), PROTOCOL),
        (opened(1, b"\xff\xff\xff\xff\xff\xff"), COMPRESSION),
        (opened(1, b"\x80"), COMPRESSION),
        (opened(1, CALL + b"\x20"), COMPRESSION),
        (frame(GOAWAY, 0, 0, b""), FRAME_SIZE),
    ],
)
def test_broken_rules_of_the_connection_end_it_with_their_code(sent, code):
    core = Core()
    assert isinstance(core.hear(sent)[-1], Closed)
    assert core.parting() == code


def test_what_is_no_http2_ends_at_once():
    core = Core(b"")
    assert isinstance(core.hear(b"GET / HTTP/1.1\r\n")[-1], Closed)

    core = Core(b"")
    assert isinstance(core.hear(PREFACE + frame(PING, 0, 0, bytes(8)))[-1], Closed)


@pytest.mark.parametrize(
    "block",
    [
        CALL + field(b"Upper", b"x"),
        CALL + field(b"connection", b"close"),
        CALL + field(b"te", b"gzip"),
        CALL + field(b"k", b"a\nb"),
        CALL + field(b":path", b"/late"),
        CALL + field(b"content-length", b"many"),
        b"\x83" + CALL,
        b"\x83\x86",
    ],
)
def test_headers_that_are_no_request_cost_their_stream_alone(block):
    core = Core()

    assert core.hear(opened(1, block)) == []
    assert core.said() == [(RST, 0, 1, struct.pack(">I", PROTOCOL))]
    assert isinstance(core.hear(opened(3))[0], Opened)


@pytest.mark.parametrize(
    "sent",
    [
        frame(HEADERS, 0x24, 3, struct.pack(">IB", 3, 0) + CALL),
        opened(3) + frame(PRIORITY, 0, 3, struct.pack(">IB", 3, 0)),
    ],
)
def test_a_stream_that_depends_on_itself_costs_itself_alone(sent):
    core = Core()
    core.hear(opened(1))
    core.hear(sent)

    assert core.said() == [(RST, 0, 3, struct.pack(">I", PROTOCOL))]
    assert isinstance(core.hear(opened(5))[0], Opened)


def test_a_body_of_another_length_than_told_costs_its_stream():
    core = Core()
    core.hear(opened(1, CALL + field(b"content-length", b"3")))

    assert core.hear(frame(DATA, 1, 1, b"four")) == [Reset(1)]


def test_a_client_that_sends_more_than_its_window_loses_the_stream_and_then_all():
    core = Core()
    core.hear(opened(1) + opened(3))
    piece = b"x" * 16_384
    events = core.hear(b"".join(frame(DATA, 0, 1, piece) for _ in range(4)))

    assert events[-1] == Reset(1)
    assert (RST, 0, 1, struct.pack(">I", FLOW)) in core.said()
    assert CONNECTION_WINDOW == 1 << 20


def test_leave_to_send_is_given_in_few_large_steps():
    core = Core()
    core.hear(opened(1) + frame(DATA, 0, 1, bytes(16_384)))
    core.allow(1, 1, 65_535)
    assert core.said() == []
    core.hear(frame(DATA, 0, 1, bytes(16_384)) + frame(DATA, 0, 1, bytes(1)))
    core.allow(1, 1, 65_535)
    assert core.said() == [(WINDOW, 0, 1, struct.pack(">I", 32_769))]
    core.allow(1, 100_000, 100_000)
    assert core.said() == [(WINDOW, 0, 1, struct.pack(">I", 100_000 - 65_535))]


def test_padding_is_given_back_at_once():
    core = Core()
    core.hear(opened(1))
    core.hear(frame(DATA, 8, 1, b"\x10" + bytes(64) + bytes(16)))

    assert core.said() == [(WINDOW, 0, 1, struct.pack(">I", 17))]


def test_we_send_within_the_windows_of_stream_and_connection():
    core = Core()
    core.hear(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 10)) + opened(1))
    core.said()
    data = memoryview(b"abcdefghijklmnop")

    assert core.sending.data(1, data, 1000) == 10
    assert core.hear(frame(WINDOW, 0, 1, struct.pack(">I", 4))) == [Room()]
    assert core.sending.data(1, data[10:], 1000) == 4
    core.hear(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 5)))
    assert core.sending.data(1, data[14:], 1000) == 0
    core.hear(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 12)))
    assert core.sending.data(1, data[14:], 1000) == 2
    assert b"".join(p for k, _, _, p in core.said() if k == DATA) == bytes(data)


def test_a_client_that_wants_no_table_hears_that_there_is_none():
    """RFC 7541, 4.2: the size that the client has made smaller begins the next block."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: 0})
    client.send_headers(1, CALL_AS_TEXT)
    core = Core(b"")
    core.hear(client.data_to_send())
    core.sending.headers(1, b"\x88" + field(b"content-type", b"application/grpc"))
    core.sending.headers(1, field(b"grpc-status", b"0"), ended=True)

    events = client.receive_data(b"".join(core.sending.out))

    (answered,) = (one for one in events if isinstance(one, h2.events.ResponseReceived))
    assert answered.headers[0] == (b":status", b"200")


def test_the_connections_window_holds_for_all_streams():
    core = Core()
    core.hear(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 20)) + opened(1) + opened(3))
    data = memoryview(bytes(60_000))

    assert core.sending.data(1, data, 1 << 20) == 60_000
    assert core.sending.data(3, data, 1 << 20) == 5_535
    assert core.sending.data(3, data, 1 << 20) == 0


def test_frames_on_their_way_when_we_ended_a_stream_are_passed_over():
    core = Core()
    core.hear(opened(1))
    core.sending.headers(1, b"\x88", ended=True)
    core.streams.forget(1)
    kinds = [(kind, flags) for kind, flags, _, _ in core.said()]

    assert kinds == [(HEADERS, 5), (RST, 0)]
    assert core.hear(frame(DATA, 1, 1, b"late")) == []
    assert core.hear(frame(WINDOW, 0, 1, struct.pack(">I", 4))) == [Room()]
    assert core.hear(opened(1, CALL, flags=5)) == []
    assert core.said() == []


def test_a_stream_that_the_client_ended_takes_nothing_more():
    core = Core()
    core.hear(opened(1, flags=5))
    assert core.hear(frame(DATA, 0, 1, b"x")) == [Reset(1)]
    assert core.said() == [(RST, 0, 1, struct.pack(">I", STREAM_CLOSED))]

    core.hear(opened(3, flags=5))
    core.sending.headers(3, b"\x88", ended=True)
    core.streams.forget(3)
    core.said()
    assert isinstance(core.hear(opened(3))[-1], Closed)
    assert core.parting() == STREAM_CLOSED


def test_trailers_end_a_stream_and_are_nothing_else():
    core = Core()
    core.hear(opened(1) + opened(3))

    assert core.hear(frame(HEADERS, 5, 1, field(b"k", b"v"))) == [Received(1, b"", ended=True)]
    assert core.hear(frame(HEADERS, 4, 3, field(b"k", b"v"))) == [Reset(3)]


def test_a_greeting_is_answered_and_goodbye_names_the_last_stream():
    core = Core(b"")
    core.hear(GREETING)
    assert core.said()[-1] == (SETTINGS, 1, 0, b"")
    assert core.is_greeted
    core.hear(opened(5))
    core.sending.goodbye()
    assert core.said() == [(GOAWAY, 0, 0, struct.pack(">II", 5, 0))]
