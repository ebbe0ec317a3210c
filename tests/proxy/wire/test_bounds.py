# SPDX-License-Identifier: Apache-2.0
"""What a peer may tell, over real sockets and on literals (P4, P8, P26)."""

import asyncio
import contextlib
import logging

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.link import frames
from fodc_protocol.protobuf import varint
from fodc_proxy.wire.bounds import Bound, WireError, said
from fodc_proxy.wire.codec import decode_agent_frame, largest_frame
from fodc_proxy.wire.existing.codec import check_count, decode_register_request, pieces_of
from fodc_proxy.wire.shared import Shared
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc
from fodc_wire.fodc.v1 import agent_link_pb2 as link

from ..live import (  # noqa: TID252 - one folder's tests
    SERVICE,
    GoAgent,
    LinkAgent,
    fetch,
    running,
    until,
)


def scene(tmp_path, play, **told):
    async def run():
        async with running(tmp_path, **told) as proxy:
            return await play(proxy)

    return asyncio.run(run())


def hello(**told):
    identity = {"pod_name": "pod-0", **told.pop("identity", {})}
    state = {"node_role": "ROLE_DATA", **told.pop("state", {})}
    return link.Hello(
        protocol_min=1,
        protocol_max=1,
        identity=link.Identity(**identity),
        state=link.NodeState(**state),
        **told,
    )


def decoded(**frame):
    return decode_agent_frame(link.AgentFrame(**frame).SerializeToString())


CAPABILITIES = [link.Capability(kind="cpu", state="Supported")]


@pytest.mark.parametrize(
    ("told", "field", "bound"),
    [
        ({"identity": {"pod_name": "evil\r\nX: 1"}}, "identity.pod_name", Bound.NAME),
        ({"identity": {"pod_name": "a" * 254}}, "identity.pod_name", Bound.NAME),
        ({"identity": {"namespace": "a b"}}, "identity.namespace", Bound.NAME),
        ({"identity": {"namespace": "../x"}}, "identity.namespace", Bound.NAME),
        ({"identity": {"cluster": "c" * 254}}, "identity.cluster", Bound.LENGTH),
        ({"identity": {"pod_uid": "\x1b[2J"}}, "identity.pod_uid", Bound.TEXT),
        ({"identity": {"container_names": ["c"] * 65}}, "container_names", Bound.COUNT),
        ({"identity": {"addresses": [link.Address(port=65_536)]}}, "port", Bound.RANGE),
        ({"state": {"node_role": "r" * 129}}, "state.node_role", Bound.LENGTH),
        ({"state": {"labels": {"k": "v" * 254}}}, "state.labels", Bound.LENGTH),
        ({"state": {"labels": {str(n): "v" for n in range(65)}}}, "state.labels", Bound.COUNT),
        ({"state": {"capabilities": CAPABILITIES * 65}}, "state.capabilities", Bound.COUNT),
        ({"state": {"window": link.WindowExtent(oldest_ms=-1)}}, "oldest_ms", Bound.RANGE),
        ({"state": {"artifact_bytes": 2**60}}, "artifact_bytes", Bound.RANGE),
        ({"incarnation": "i" * 129}, "hello.incarnation", Bound.LENGTH),
        ({"held_command_ids": ["c"] * 257}, "held_command_ids", Bound.COUNT),
    ],
)
def test_field_of_a_hello_beyond_its_bound_is_named(told, field, bound):
    with pytest.raises(WireError, match=field) as caught:
        decoded(hello=hello(**told))

    assert caught.value.bound is bound
    assert len(caught.value.message) < 300


def test_hello_of_any_size_is_refused_before_it_is_parsed():
    """P8: 40 agents with a label of 16 MiB each cost 768 MiB for good."""
    with pytest.raises(WireError, match="frame must have at most 262144 bytes"):
        decoded(hello=hello(state={"labels": {"k": "v" * 300_000}}))


def test_long_sentences_are_cut_and_cleaned_and_cost_nobody_the_connection():
    failed = decoded(query_failed=link.QueryFailed(query_id=1, reason="R", message="a\nb" * 50_000))
    condition = link.Condition(type="T", reason="r" * 200, message="\x00m")
    beat = decoded(
        heartbeat=link.Heartbeat(state=link.NodeState(node_role="R", conditions=[condition]))
    )

    assert (len(failed.message), failed.message[:4]) == (1024, "a ba")
    assert beat.state.conditions == (frames.Condition("T", "r" * 127 + "…", " m"),)


@pytest.mark.parametrize(
    "artifact",
    [
        {"started_at_ms": 2**62},
        {"finished_at_ms": -1},
        {"warnings": ["w"] * 65},
        {"profile": "p" * 129},
    ],
)
def test_artifact_beyond_the_calendar_is_refused(artifact):
    """P8: an artifact of the year 146140482 was kept."""
    update = link.CommandUpdate(command_id="c", state=3, artifact=link.Artifact(**artifact))

    with pytest.raises(WireError, match="artifact"):
        decoded(command_update=update)


@given(st.text(max_size=2000))
def test_what_is_said_is_one_short_line(text):
    line = said(text)

    assert len(line) <= 1024
    assert line.splitlines() in ([], [line])


@given(st.binary(max_size=64))
def test_bytes_are_a_frame_or_an_error(data):
    with contextlib.suppress(WireError):
        decode_agent_frame(data)


@pytest.mark.parametrize(
    ("data", "number"),
    [
        (b"", None),
        (b"\x0a", None),
        (b"\x0a\x00", 1),
        (b"\x1a\x01x", 3),
        (b"\x1a\x01x\x0a\x00", None),
        (b"\x1a\x80\x01" + bytes(128), 3),
        (b"\x1a\xff\xff\xff\xff\x7f", None),
    ],
)
def test_message_that_is_one_frame_is_told_from_others(data, number):
    assert largest_frame(data) == number


def test_messages_of_too_many_fields_are_counted_before_they_are_parsed():
    check_count("metrics", b"\x0a\x00" * 10, 10)
    with pytest.raises(WireError, match="at most 10 entries"):
        check_count("metrics", b"\x0a\x00" * 11, 10)
    with pytest.raises(WireError):
        check_count("metrics", b"\x0a\xff", 10)
    with pytest.raises(WireError, match="within a field"):
        check_count("metrics", b"\x0a\x05cut", 10)


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=300).map(lambda text: b"\x0a" + varint(len(text)) + text),
            st.integers(0, 2**63).map(lambda number: b"\x08" + varint(number)),
            st.just(b"\x0d1234"),
            st.just(b"\x0912345678"),
        )
    ),
    st.integers(1, 5),
)
def test_a_message_in_pieces_is_the_message_and_each_piece_has_whole_fields(fields, together):
    pieces = list(pieces_of("metrics", b"".join(fields), 1000, together))

    assert pieces == [
        b"".join(fields[at : at + together]) for at in range(0, len(fields), together)
    ]


def test_shared_values_are_bounded_in_bytes():
    """P8: 20,000 values of any size."""
    table = Shared(most_bytes=10_000)

    for number in range(1000):
        table.of(f"{number}-" + "x" * 100)
        assert table.kept_bytes <= 10_000
    huge = "y" * 100_000
    assert table.of(huge) is huge
    assert table.of("a" + huge) is not None
    one = frames.Condition("T", "R", "m" * 50)
    assert table.of((one,)) is not None
    assert table.of((frames.Condition("T", "R", "m" * 50),))[0] is one


def test_p4_link_agent_with_an_odd_name_is_refused_with_the_reason_and_counted(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0") as good:
            bad = LinkAgent(proxy, "evil\r\nX: 1")
            stream = bad.call("/fodc.v1.AgentLink/Connect")
            await stream.write(link.AgentFrame(hello=bad.hello()).SerializeToString())
            refusal = link.ProxyFrame.FromString(await stream.read()).refusal
            ended = await stream.read()
            await bad.close()
            config = await fetch(proxy, "/cluster/config")
            page = await fetch(proxy, "/metrics")
            return refusal, ended, config, page.text, good.agent_id

    refusal, ended, config, page, _ = scene(tmp_path, play)

    assert refusal.reason == "BadRequest"
    assert "identity.pod_name must be a DNS name" in refusal.message
    assert ended is grpc.aio.EOF
    assert (config.status, config.headers["X-FODC-Answered"]) == (200, "1")
    assert 'fodc_proxy_peer_refused_total{reason="BadName"} 1.0\n' in page


def test_p4_agent_of_the_existing_contract_with_an_odd_name_is_an_invalid_argument(tmp_path):
    async def play(proxy):
        agent = GoAgent(proxy, "pod 0")
        stream = agent.call(SERVICE + "RegisterAgent")
        await stream.write(agent.request())
        code, details = await stream.code(), await stream.details()
        await agent.close()
        return code, details, proxy.registry.members()

    code, details, members = scene(tmp_path, play)

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("pod_name must be a DNS name")
    assert members == ()


@pytest.mark.parametrize("name", ["banyandb-data-0", "10.0.0.7", "Laptop.local", "my_host", "a"])
def test_names_that_existing_agents_have_are_taken(name):
    data = fodc.RegisterAgentRequest(node_role="R", pod_name=name).SerializeToString()

    assert decode_register_request(data).pod_name == name


def test_a3_odd_family_costs_that_agent_that_family_and_the_page_says_so(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0"), LinkAgent(proxy, "pod-1") as odd:

            async def answer(asked):
                families = [
                    link.Family(name="up", type=1, text=b"up 1\n"),
                    link.Family(name="bad", type=1, text=b"bad 1\n# EOF\n"),
                    link.Family(name="fodc_proxy_agents", type=1, text=b"fodc_proxy_agents 9\n"),
                ]
                query_id = asked.metrics_query.query_id
                page = link.MetricsPage(query_id=query_id, families=families, last=True)
                await odd.say(metrics_page=page)

            odd.answer = answer
            return [await fetch(proxy, "/metrics") for _ in range(2)]

    first, second = scene(tmp_path, play)

    assert first.headers["X-FODC-Refused"] == "pod-1/bad,pod-1/fodc_proxy_agents"
    assert 'pod_name="pod-1"} 1\n' in first.text
    assert "# EOF" not in first.text
    assert 'fodc_proxy_family_refused_total{reason="BadValue"} 2.0\n' in second.text
    assert 'fodc_proxy_family_refused_total{reason="ReservedName"} 2.0\n' in second.text


def test_heartbeats_with_moving_figures_are_no_transitions_and_no_log_lines(tmp_path, caplog):
    """P5: every one of them was both."""

    async def play(proxy):
        heard = []
        async with LinkAgent(proxy, "pod-0") as agent:
            proxy.registry.subscribe(heard.append)
            lines = len(caplog.messages)
            for number in range(1, 6):
                window = link.WindowExtent(newest_ms=number, series=number)
                condition = link.Condition(type="Full", reason="Budget", message=f"{number} of 9")
                state = link.NodeState(
                    node_role="ROLE_DATA",
                    labels=agent.labels,
                    window=window,
                    artifact_count=number,
                    conditions=[condition],
                )
                await agent.say(heartbeat=link.Heartbeat(sequence=number, state=state))
            await until(lambda: agent.heard.count("heartbeat_ack") == 5)
            told = [(one.change, one.member.phase) for one in heard]
            return told, caplog.messages[lines:], proxy.registry.find("pod-0").state

    with caplog.at_level(logging.INFO):
        told, logged, state = scene(tmp_path, play)

    assert told == [("Phase", "Degraded")]
    assert len(logged) == 1
    assert (state.window.series, state.conditions[0].message) == (5, "5 of 9")
