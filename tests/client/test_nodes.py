# SPDX-License-Identifier: Apache-2.0
"""`fodc nodes`: the list, its filters and formats."""

import json

import yaml

PLAIN = """\
NODE    ROLE  TIER  PHASE   HEARTBEAT  WINDOW  RUNNING  AGENT
data-0  data  hot   Online     3s ago     55m  -        0.1.0
data-1  data  hot   Online     3s ago     55m  -        0.1.0
"""


def test_nodes_lists_each_node_as_plain_columns_when_piped(fodc):
    ran = fodc("nodes")

    assert ran.out == PLAIN
    assert ran.err == "2 nodes: 2 online; proxy 0.1.0, up 2h\n"
    assert ran.code == 0


def test_nodes_shows_what_is_absent_as_a_dash(fodc, proxy, make):
    proxy.nodes = [
        make.node(
            "old",
            tier=None,
            window=None,
            heartbeat_age_seconds=None,
            phase="Offline",
            agent_version=None,
            active_captures=[{"request_id": "r", "profile": "cpu"}],
        )
    ]

    ran = fodc("nodes")

    assert ran.out.splitlines()[1].split() == ["old", "data", "-", "Offline", "-", "-", "cpu", "-"]


def test_nodes_wide_names_what_a_node_cannot_do(fodc, proxy, make):
    cannot = {"kind": "block", "state": "Disabled", "reason": "RateZero", "message": "no rate"}
    proxy.nodes = [make.node(capabilities=[cannot])]

    ran = fodc("nodes", "-o", "wide")

    assert "CANNOT" in ran.out.splitlines()[0]
    assert " block " in ran.out
    assert "10.0.0.7:17912" in ran.out
    assert "2 (76 KiB)" in ran.out


def test_nodes_gives_the_proxys_own_document_as_json_and_yaml(fodc, proxy):
    as_json = json.loads(fodc("nodes", "-o", "json").out)
    as_yaml = yaml.safe_load(fodc("nodes", "-o", "yaml").out)

    assert as_json["nodes"] == proxy.nodes
    assert as_yaml == as_json


def test_nodes_lets_the_proxy_choose_one_role_or_node(fodc, proxy):
    fodc("nodes", "data-1", "--role", "data")

    assert proxy.asked == ["GET /cluster?role=ROLE_DATA&node_id=data-1"]


def test_nodes_chooses_several_roles_and_nodes_itself(fodc, proxy, make):
    roles = {"a": "ROLE_DATA", "b": "ROLE_LIAISON", "c": "ROLE_STANDALONE"}
    proxy.nodes = [make.node(name, role=role) for name, role in roles.items()]

    by_role = json.loads(fodc("nodes", "--role", "data", "--role", "liaison", "-o", "json").out)
    by_name = json.loads(fodc("nodes", "a", "agent-c", "-o", "json").out)

    assert proxy.asked == ["GET /cluster", "GET /cluster"]
    assert [each["node_id"] for each in by_role["nodes"]] == ["a", "b"]
    assert [each["node_id"] for each in by_name["nodes"]] == ["a", "c"]


def test_nodes_says_not_found_when_a_named_node_is_unknown(fodc):
    ran = fodc("nodes", "data-1", "nobody")

    assert ran.code == 4
    assert "no such node: nobody" in ran.err
    assert ran.out == ""


def test_nodes_explains_an_empty_fleet(fodc, proxy):
    proxy.nodes = []

    ran = fodc("nodes")

    assert ran.code == 0
    assert ran.out == ""
    assert "no agent has registered" in ran.err


def test_nodes_never_passes_control_characters_to_the_terminal(fodc, proxy, make):
    proxy.nodes = [make.node("evil\x1b[31m")]

    assert "\x1b" not in fodc("nodes").out


def test_nodes_names_the_field_when_the_answer_has_another_type(fodc, proxy, make):
    proxy.nodes = [make.node(), make.node("data-1", reconnects="many")]

    ran = fodc("nodes")

    assert ran.code == 1
    assert "nodes[1].reconnects: expected a number, got 'many'" in ran.err
    assert f"GET {proxy.url}/cluster" in ran.err


def test_a_node_is_chosen_by_its_namespace_and_pod(fodc, proxy, make):
    twins = {name: make.node("data-0", node_id=f"{name}/data-0", namespace=name) for name in "ab"}
    proxy.nodes = [*twins.values(), make.node("data-1", namespace="b")]

    document = json.loads(fodc("nodes", "b/data-0", "b/data-1", "-o", "json").out)

    assert [each["node_id"] for each in document["nodes"]] == ["b/data-0", "data-1"]
