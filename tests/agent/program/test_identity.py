# SPDX-License-Identifier: Apache-2.0
"""Who the node is (T-CL): rules with literals, asking on virtual time, and one real gRPC peer."""

import asyncio

import grpc
import grpc.aio
import pytest

from fodc_agent.identity import codec
from fodc_agent.identity.discovery import Discovery, ask_node
from fodc_agent.identity.roles import (
    UNSPECIFIED,
    NodeFacts,
    best_of,
    labels_of,
    role_of,
    role_of_command,
    updated,
)
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_wire.banyandb.database.v1 import database_pb2, rpc_pb2

DATA = NodeFacts("ROLE_DATA", {"type": "hot"}, "127.0.0.1:17912")


@pytest.mark.parametrize(
    ("roles", "role"),
    [
        (None, UNSPECIFIED),
        ([], UNSPECIFIED),
        ([3], "ROLE_LIAISON"),
        ([1], UNSPECIFIED),
        ([2], "ROLE_DATA"),
        ([1, 2, 3], "ROLE_DATA"),
        ([1, 3, 2], "ROLE_LIAISON"),
    ],
)
def test_t_cl_03_roles_of_a_node(roles, role):
    """A standalone node has all three and is known as data, like its command line says."""
    assert role_of(roles) == role


@pytest.mark.parametrize(
    ("command", "role"),
    [(("data",), "ROLE_DATA"), (("liaison",), "ROLE_LIAISON"), (("standalone",), "ROLE_DATA"),
     (("lifecycle",), UNSPECIFIED), ((), UNSPECIFIED)],
)  # fmt: skip
def test_the_command_line_tells_the_role(command, role):
    assert role_of_command(command) == role


def test_w_17_an_endpoint_with_a_role_wins_over_an_earlier_one_without():
    lifecycle = NodeFacts(UNSPECIFIED, {"x": "y"}, ":17914")
    assert best_of([lifecycle, DATA]) == DATA
    assert best_of([lifecycle]) == lifecycle
    assert best_of([]) is None


def test_an_answer_without_a_role_never_replaces_a_known_one():
    assert updated(DATA, NodeFacts()) == DATA
    relabeled = NodeFacts("ROLE_DATA", {"type": "warm"}, "n")
    assert updated(DATA, relabeled) == relabeled


def discovery(answers, *, ports=(1,), fallback=None, limit=20, role=UNSPECIFIED, labels=None):
    """A discovery whose answers come from a list; raises StopAsyncIteration when it is used up."""
    told, slept, left = [], [], iter(answers)

    async def ask(port):
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(delay_s):
        slept.append(delay_s)
        if len(slept) >= limit:
            raise EOFError
        await asyncio.sleep(0)

    async def from_command():
        return fallback

    made = Discovery(
        ports,
        interval_s=30,
        fallback=from_command,
        on_change=told.append,
        ask=ask,
        sleep=sleep,
        role=role,
        labels=labels or {},
    )
    return made, told, slept


def unreachable():
    return RpcError(RpcFault.UNREACHABLE, "127.0.0.1:1: refused")


def test_t_cl_14_the_role_is_found_after_three_failures():
    async def scenario():
        made, told, slept = discovery([unreachable()] * 3 + [DATA], limit=4)
        with pytest.raises(EOFError):
            await made.run()
        assert told == [DATA]
        assert slept == [0.1, 0.2, 0.4, 30]

    asyncio.run(scenario())


def test_t_cl_15_a_node_that_never_answers_is_waited_for_within_a_bound():
    async def scenario():
        made, _, _ = discovery([unreachable()])
        await made.refresh()
        facts = await made.known(0.01)
        assert (facts.role, made.problem) == (UNSPECIFIED, "127.0.0.1:1: refused")

    asyncio.run(scenario())


def test_the_command_line_is_asked_when_the_ports_name_no_role():
    async def scenario():
        answer = NodeFacts(UNSPECIFIED, {"z": "1"}, "n")
        made, told, _ = discovery([answer], fallback=NodeFacts("ROLE_DATA", {"z": "2"}))
        await made.refresh()
        assert told == [NodeFacts("ROLE_DATA", {"z": "1"}, "n")]

    asyncio.run(scenario())


def test_labels_that_were_told_come_first_and_the_node_adds_its_own():
    """As for the role; where neither ports nor command tell any, they are what is known."""

    async def scenario():
        news = NodeFacts("ROLE_DATA", {"type": "warm", "zone": "a"}, "n")
        made, told, _ = discovery([news], labels={"type": "hot"})
        assert made.facts == NodeFacts(UNSPECIFIED, {"type": "hot"})
        await made.refresh()
        assert told == [NodeFacts("ROLE_DATA", {"type": "hot", "zone": "a"}, "n")]

    asyncio.run(scenario())


def test_without_ports_the_command_line_decides():
    async def scenario():
        made, told, _ = discovery([], ports=(), fallback=NodeFacts("ROLE_LIAISON"))
        await made.refresh()
        assert told == [NodeFacts("ROLE_LIAISON")]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("", {}),
        ("type=hot,zone=a", {"type": "hot", "zone": "a"}),
        ("[type=hot, zone=a]", {"type": "hot", "zone": "a"}),
        ("type=hot,nonsense,=x,empty=", {"type": "hot", "empty": ""}),
    ],
)
def test_labels_are_read_from_the_nodes_own_flag(text, labels):
    assert labels_of(text) == labels


def test_a_told_role_wins_and_labels_come_from_the_command():
    """Until the command could be read it is asked for soon, as a role would be."""

    async def scenario():
        made, told, slept = discovery([], ports=(), role="ROLE_LIAISON", limit=2)
        assert (await made.known(5)).role == "ROLE_LIAISON"
        with pytest.raises(EOFError):
            await made.run()
        made._fallback = from_command
        await made.refresh()
        assert (slept, told) == ([0.1, 0.2], [NodeFacts("ROLE_LIAISON", {"type": "hot"})])

    async def from_command():
        return NodeFacts("ROLE_DATA", {"type": "hot"})

    asyncio.run(scenario())


def test_labels_of_the_ports_win_over_those_of_the_command_also_while_the_ports_are_silent():
    async def scenario():
        made, told, _ = discovery(
            [DATA, unreachable()], fallback=NodeFacts("ROLE_DATA", {"type": "other"})
        )
        await made.refresh()
        await made.refresh()
        assert told == [DATA]

    asyncio.run(scenario())


def test_changed_labels_of_the_command_are_taken_where_no_port_tells():
    async def scenario():
        first, second = (NodeFacts("ROLE_DATA", {"type": tier}) for tier in ("hot", "warm"))
        answers = iter((first, second))
        made, told, _ = discovery([], ports=())

        async def from_command():
            return next(answers)

        made._fallback = from_command
        await made.refresh()
        await made.refresh()
        assert told == [first, second]

    asyncio.run(scenario())


def test_an_unchanged_answer_is_no_news():
    async def scenario():
        made, told, _ = discovery([DATA, DATA])
        await made.refresh()
        await made.refresh()
        assert told == [DATA]

    asyncio.run(scenario())


def test_t_cl_04_an_answer_without_a_node_has_neither_role_nor_labels():
    assert codec.decode(b"") == NodeFacts(UNSPECIFIED, {}, "")


def test_t_cl_04_a_real_node_is_asked_over_a_socket():
    async def scenario():
        async def current(request, context):
            node = database_pb2.Node(
                roles=[database_pb2.ROLE_META, database_pb2.ROLE_DATA],
                labels={"type": "hot", "zone": "z2"},
            )
            node.metadata.name = "127.0.0.1:27912"
            return rpc_pb2.GetCurrentNodeResponse(node=node)

        handler = grpc.unary_unary_rpc_method_handler(
            current,
            rpc_pb2.GetCurrentNodeRequest.FromString,
            rpc_pb2.GetCurrentNodeResponse.SerializeToString,
        )
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        name = "banyandb.database.v1.NodeQueryService"
        service = grpc.method_handlers_generic_handler(name, {"GetCurrentNode": handler})
        server.add_generic_rpc_handlers((service,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        facts = await ask_node(port)
        await server.stop(0)
        assert facts == NodeFacts("ROLE_DATA", {"type": "hot", "zone": "z2"}, "127.0.0.1:27912")

    asyncio.run(scenario())


def test_a_port_that_knows_no_such_service_is_an_error_with_its_status():
    async def scenario():
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        with pytest.raises(RpcError) as caught:
            await ask_node(port)
        await server.stop(0)
        assert caught.value.fault is RpcFault.UNIMPLEMENTED

    asyncio.run(scenario())


def test_bytes_that_are_no_node_are_malformed():
    with pytest.raises(codec.MalformedNodeError):
        codec.decode(b"\x0a\x09abc")
