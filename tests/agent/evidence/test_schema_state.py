# SPDX-License-Identifier: Apache-2.0
"""The schema of a node and the registry of schemas: upstream-agent §12.4, §12.5, T-SC cases."""

import asyncio

import grpc
import pytest

from fodc_agent.evidence import registry, schema_state
from fodc_agent.evidence.fingerprints import fingerprint
from fodc_agent.evidence.schema_state import SchemaState, with_schemas
from fodc_agent.evidence.telling import Evidence
from fodc_agent.node_access import NodeAccess
from fodc_agent.settings import load
from fodc_agent.uplink.answers import NoAnswerError
from fodc_protocol.errors import Reason
from fodc_protocol.link import frames
from fodc_protocol.protobuf import WireError, message, messages, number
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as pb

from .nodes import Node, groups
from .schemas import (
    GROUP,
    PRINTED,
    RULE_0,
    RULE_1,
    STREAM,
    STREAM_WITH_RULES,
    binding,
    body,
    metadata,
    rule_table,
    snapshot,
    trailer,
)


def told(*events, groups=(), problem=""):
    state = SchemaState()
    for event in events:
        state.take(event)
    known = [pb.GroupLifecycleInfo(name=name).SerializeToString() for name in groups]
    return [pb.GroupLifecycleInfo.FromString(one) for one in with_schemas(known, state, problem)]


def prints(group):
    return {
        (one.kind, one.name, one.registry_fingerprint): [
            (has.node, has.cache_fingerprint, has.runtime_fingerprint)
            for has in one.node_fingerprints
        ]
        for one in group.schema_consistency.objects
    }


def test_t_sc_01_fingerprints_of_the_node_are_told_and_none_of_the_registry():
    (group,) = told(snapshot("g", "stream", "foo", body(STREAM)), trailer("g", "data-1", 1))

    assert prints(group) == {("stream", "foo", 0): [("data-1", PRINTED[STREAM], PRINTED[STREAM])]}
    assert group.schema_consistency.status == pb.CONSISTENCY_STATUS_UNSPECIFIED


def test_t_sc_02_objects_of_a_node_without_a_name_are_dropped():
    (nameless,) = told(snapshot("g", "stream", "foo", body(STREAM)), trailer("g", "", 1))
    (endless,) = told(snapshot("g", "stream", "foo", body(STREAM)))

    assert not nameless.HasField("schema_consistency")
    assert not endless.HasField("schema_consistency")


def test_t_sc_03_the_schema_stands_with_its_group_and_groups_that_only_it_has_are_told_too():
    known, other = told(
        snapshot("g", "stream", "foo", body(STREAM)),
        trailer("g", "data-1", 1),
        snapshot("h", "group", "h", body(GROUP)),
        trailer("h", "data-1", 1, "one index is broken"),
        groups=["g"],
    )

    assert (known.name, list(prints(known))) == ("g", [("stream", "foo", 0)])
    assert (other.name, list(prints(other))) == ("h", [("group", "h", 0)])
    assert (list(known.errors), list(other.errors)) == (
        [],
        ["node schema state: one index is broken"],
    )


def test_t_sc_04_rules_out_of_the_table_count_as_those_of_the_object():
    """The table comes in parts; what is in use is what is in the cache where nothing else is."""
    (group,) = told(
        rule_table("g", RULE_0),
        rule_table("g", RULE_1),
        snapshot("g", "stream", "foo", body(STREAM, 1, 0)),
        trailer("g", "data-1", 1),
    )

    (((_, cache, runtime),),) = prints(group).values()
    assert (cache, runtime) == (STREAM_WITH_RULES, STREAM_WITH_RULES)


def test_t_sc_05_two_bodies_of_a_rule_make_cache_and_runtime_differ():
    older = metadata("r0") + message(2, b"z")
    (group,) = told(
        rule_table("g", RULE_0, older),
        snapshot("g", "stream", "foo", body(STREAM, 0), body(STREAM, 1)),
        trailer("g", "data-1", 1),
    )

    (((_, cache, runtime),),) = prints(group).values()
    assert (cache, runtime) == (
        fingerprint(STREAM, "stream", [RULE_0]),
        fingerprint(STREAM, "stream", [older]),
    )


def test_t_sc_06_a_rule_beyond_the_table_costs_its_object_and_is_told():
    (group,) = told(
        rule_table("g", RULE_0),
        snapshot("g", "stream", "foo", body(STREAM, 5)),
        trailer("g", "data-1", 1),
    )

    assert prints(group) == {}
    assert list(group.errors) == [
        "node schema state: stream foo: index rule 5 is out of range, 1 are known"
    ]


def test_a_snapshot_that_is_cut_is_told():
    (group,) = told(snapshot("g", "stream", "foo", body(STREAM)), trailer("g", "data-1", 2))

    assert list(group.errors) == ["node schema state: 1 of 2 objects came"]


def test_what_broke_the_whole_is_told_of_every_group():
    one, two = told(groups=["g", "h"], problem="connection lost")

    assert list(one.errors) == list(two.errors) == ["node schema state: connection lost"]


def test_more_than_is_kept_is_refused(monkeypatch):
    monkeypatch.setattr(schema_state, "MOST_OBJECTS", 1)
    monkeypatch.setattr(schema_state, "MOST_RULES", 1)
    one = snapshot("g", "stream", "foo", body(STREAM))

    with pytest.raises(WireError, match="more than 1 objects"):
        told(one, one)
    with pytest.raises(WireError, match="more than 1 index rules"):
        told(rule_table("g", RULE_0, RULE_1))


# ---- asked over real sockets ---------------------------------------------------------------------


def scene(play, *flags, **answers):
    async def run():
        async with Node(**answers).served() as node:
            argv = [flag.format(port=node.port) for flag in flags]
            return await play(Evidence(load(argv, {}), "p1", NodeAccess("127.0.0.1")), node)

    return asyncio.run(run())


STATE = [
    rule_table("g", RULE_0, RULE_1),
    snapshot("g", "stream", "foo", body(STREAM, 0, 1)),
    trailer("g", "liaison-1", 1),
]


async def lifecycle(evidence):
    data = pb.StreamLifecycleRequest.FromString(await evidence.lifecycle())
    return list(data.lifecycle_data.groups)


def test_w_49_schema_is_that_of_now_while_groups_are_those_of_a_while_ago():
    async def play(evidence, node):
        first = await lifecycle(evidence)
        node.answers["StreamGroupSchemaState"] = [
            snapshot("g", "stream", "foo", body(STREAM)),
            trailer("g", "liaison-1", 1),
        ]
        return first, await lifecycle(evidence), node.asked

    first, second, asked = scene(
        play,
        "--lifecycle-port={port}",
        InspectAll=groups("g"),
        StreamGroupSchemaState=STATE,
    )

    assert asked.count("InspectAll") == 1
    assert [list(prints(one).values()) for (one,) in (first, second)] == [
        [[("liaison-1", STREAM_WITH_RULES, STREAM_WITH_RULES)]],
        [[("liaison-1", PRINTED[STREAM], PRINTED[STREAM])]],
    ]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, None),
        (grpc.StatusCode.UNAVAILABLE, "node schema state: "),
        ([b"\xff\xff"], "node schema state: "),
    ],
)
def test_a_schema_that_cannot_be_read_costs_no_group(answer, error):
    async def play(evidence, _node):
        return await lifecycle(evidence)

    (group,) = scene(
        play,
        "--lifecycle-port={port}",
        InspectAll=groups("g"),
        StreamGroupSchemaState=answer,
    )

    assert group.name == "g"
    assert [one.startswith(error or "") for one in group.errors] == [True] * bool(error)


def listed(*many):
    return messages(1, many)


def group_of(name, catalog):
    return metadata(name, group="") + number(2, catalog)


REGISTRY = {
    "GroupRegistryService": listed(group_of("g", 1), group_of("p", 3)),
    "IndexRuleRegistryService": listed(RULE_0, RULE_1),
    "IndexRuleBindingRegistryService": listed(binding("foo", 1, "r0", "r1")),
    "StreamRegistryService": listed(STREAM),
}


async def read(evidence):
    pieces = await evidence.told(frames.RegistryQuery(1))
    return [pb.StreamSchemaRegistryRequest.FromString(one) for one in pieces]


def test_the_registry_is_told_group_by_group_and_ends():
    async def play(evidence, _node):
        return await read(evidence)

    first, second, end = scene(play, "--schema-registry-port={port}", **REGISTRY)

    assert [(one.kind, one.name, one.fingerprint) for one in first.group.objects] == [
        ("group", "g", fingerprint(group_of("g", 1), "group")),
        ("indexRule", "r0", PRINTED[RULE_0]),
        ("indexRule", "r1", fingerprint(RULE_1, "indexRule")),
        ("stream", "foo", STREAM_WITH_RULES),
    ]
    assert [one.kind for one in second.group.objects] == ["group", "indexRule", "indexRule"]
    assert end == pb.StreamSchemaRegistryRequest(done=True)


def test_an_error_of_one_group_is_its_own():
    async def play(evidence, _node):
        return await read(evidence)

    answers = {**REGISTRY, "StreamRegistryService": grpc.StatusCode.UNAVAILABLE}
    first, second, end = scene(play, "--schema-registry-port={port}", **answers)

    assert (first.group.group, len(first.group.objects)) == ("g", 0)
    assert "StreamRegistryService" in first.group.error
    assert (second.group.group, second.group.error) == ("p", "")
    assert end.done


@pytest.mark.parametrize("answer", [grpc.StatusCode.UNIMPLEMENTED, b"\xff\xff"])
def test_a_registry_without_a_list_of_groups_is_an_error_without_a_group(answer):
    """As recorded of a data node."""

    async def play(evidence, _node):
        return await read(evidence)

    problem, end = scene(play, "--schema-registry-port={port}", GroupRegistryService=answer)

    assert problem.group.group == ""
    assert problem.group.error.startswith("list groups: ")
    assert end.done


def test_more_groups_than_are_read_are_told(monkeypatch):
    monkeypatch.setattr(registry, "MOST_GROUPS", 1)

    async def play(evidence, _node):
        return await read(evidence)

    problem, end = scene(play, "--schema-registry-port={port}", **REGISTRY)

    assert problem.group.error == "2 groups, at most 1 are read"
    assert end.done


def test_a_registry_whose_port_is_closed_or_not_named_is_a_reason():
    async def play(evidence, _node):
        with pytest.raises(NoAnswerError) as error:
            await read(evidence)
        return error.value.reason

    assert scene(play) is Reason.UNSUPPORTED
    assert scene(play, "--schema-registry-port=1") is Reason.NODE_UNREACHABLE


@pytest.mark.parametrize(
    ("count", "sizes"), [(120, [50, 50, 20]), (50, [50]), (51, [50, 1]), (0, [0])]
)
def test_t_px_17_objects_of_a_group_come_by_fifty(count, sizes):
    objects = [("stream", f"s{number}", number) for number in range(count)]
    pieces = [
        pb.StreamSchemaRegistryRequest.FromString(one).group
        for one in registry.group_messages("g", objects)
    ]

    assert [len(one.objects) for one in pieces] == sizes
    assert [one.fingerprint for piece in pieces for one in piece.objects] == list(range(count))
    assert {one.group for one in pieces} == {"g"}
