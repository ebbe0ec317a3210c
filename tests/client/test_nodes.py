# SPDX-License-Identifier: Apache-2.0
"""`fodc nodes`: the list, its filters and formats."""

import json
import re

import pytest
import yaml


@pytest.fixture
def pair(stage):
    return [stage.agent("data-0"), stage.agent("data-1")]


@pytest.fixture
def mixed(stage):
    """Two tiers of data nodes and a liaison."""
    stage.agent("data-hot-0", tier="hot")
    stage.agent("data-warm-0", tier="warm")
    stage.agent("liaison-0", "ROLE_LIAISON", tier="")


def names(ran):
    return [each["node_id"] for each in json.loads(ran.out)["nodes"]]


def test_nodes_lists_each_node_as_plain_columns_when_piped(fodc, pair):
    ran = fodc("nodes")

    heading, *rows = (line.split() for line in ran.out.splitlines())
    assert heading == ["NODE", "ROLE", "TIER", "PHASE", "HEARTBEAT", "WINDOW", "RUNNING", "AGENT"]
    assert [row[:4] for row in rows] == [[f"data-{n}", "data", "hot", "Online"] for n in (0, 1)]
    assert [row[5:] for row in rows] == [["ago", "55m", "-", "0.1.0"]] * 2
    assert re.fullmatch(r"2 nodes: 2 online; proxy [\w.]+, up \d+s\n", ran.err)
    assert ran.code == 0


def test_nodes_shows_what_a_go_agent_does_not_tell_as_a_dash(fodc, stage):
    stage.go_agent("old")

    row = fodc("nodes").out.splitlines()[1].split()

    assert row[0:4] == ["old", "data", "hot", "Online"]
    assert row[6:] == ["-", "-", "-"]


def test_nodes_wide_names_what_a_node_cannot_do(fodc, stage):
    cannot = ("block", "Disabled", "RateZero", "no rate")
    stage.agent("data-0", capabilities=[cannot], held=(2, 77824))

    ran = fodc("nodes", "-o", "wide")

    assert "CANNOT" in ran.out.splitlines()[0]
    assert " block " in ran.out
    assert "10.0.0.7:17912" in ran.out


def test_nodes_wide_calls_what_lies_with_the_agent_by_its_name(fodc, stage):
    """C6: ARTIFACTS was 0 while the proxy had 17: it counts what was not fetched yet."""
    stage.agent("data-0", held=(2, 77824))

    ran = fodc("nodes", "-o", "wide")

    assert "UNFETCHED" in ran.out
    assert "ARTIFACTS" not in ran.out
    assert "2 (76 KiB)" in ran.out


def test_nodes_gives_the_proxys_own_document_as_json_and_yaml(fodc, pair):
    as_json = json.loads(fodc("nodes", "-o", "json").out)
    as_yaml = yaml.safe_load(fodc("nodes", "-o", "yaml").out)

    assert as_json["nodes"][0]["labels"] == {"type": "hot"}
    assert as_yaml["summary"] == as_json["summary"]
    assert [each["agent_id"] for each in as_yaml["nodes"]] == [
        each["agent_id"] for each in as_json["nodes"]
    ]


def test_nodes_counts_what_it_shows(fodc, mixed):
    """C3: `nodes a b` showed two rows and said "3 nodes"."""
    ran = fodc("nodes", "data-hot-0", "liaison-0")
    document = json.loads(fodc("nodes", "data-hot-0", "liaison-0", "-o", "json").out)

    assert len(ran.out.splitlines()) == 3
    assert ran.err.startswith("2 nodes: 2 online;")
    assert document["summary"]["by_role"] == {"ROLE_DATA": 1, "ROLE_LIAISON": 1}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("data", ["data-hot-0", "data-warm-0"]),
        ("ROLE_DATA", ["data-hot-0", "data-warm-0"]),
        ("role_data", ["data-hot-0", "data-warm-0"]),
        ("Hot", ["data-hot-0"]),
        ("datanode-WARM", ["data-warm-0"]),
        ("data-hot", ["data-hot-0"]),
        ("datanode-hot,liaison", ["data-hot-0", "liaison-0"]),
        ("meta", []),
    ],
)
def test_role_means_role_tier_or_both_in_any_case(fodc, mixed, word, expected):
    """C3: one meaning of `--role`."""
    assert names(fodc("nodes", "--role", word, "-o", "json")) == expected


def test_role_that_means_nothing_is_wrong_usage_and_says_what_there_is(fodc, mixed):
    ran = fodc("nodes", "--role", "nope")

    assert ran.code == 2
    assert ran.err.startswith("fodc: --role must be a role (data, liaison, meta), a tier")
    assert "got 'nope'" in ran.err


def test_role_that_is_misspelt_comes_with_what_was_meant(fodc, mixed):
    assert fodc("nodes", "--role", "laison").err.endswith("got 'laison'. Did you mean liaison?\n")


def test_role_that_leaves_out_a_named_node_says_so(fodc, mixed):
    """C3: `--role ROLE_DATA` with a liaison said that there is no such node."""
    ran = fodc("nodes", "--role", "ROLE_DATA", "liaison-0")

    assert ran.code == 4
    assert ran.err == "fodc: --role ROLE_DATA leaves out liaison-0 (liaison)\n"


def test_role_that_no_node_has_names_those_there_are(fodc, mixed):
    ran = fodc("nodes", "--role", "meta")

    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "no node has this role; there are: data-hot, data-warm, liaison\n"


def test_unknown_node_is_not_found_with_names_that_come_close(fodc, pair):
    ran = fodc("nodes", "data-1", "dat-0")

    assert ran.code == 4
    assert ran.out == ""
    assert ran.err.startswith("fodc: no such node: dat-0. Did you mean data-")


def test_unknown_node_that_resembles_none_is_told_all_there_are(fodc, pair):
    assert fodc("nodes", "x").err == "fodc: no such node: x. There are: data-0, data-1\n"


def test_a_node_is_chosen_by_its_agent_too(fodc, pair):
    assert names(fodc("nodes", pair[1].agent_id, "-o", "json")) == ["data-1"]


def test_a_node_is_chosen_by_its_namespace_and_pod(fodc, stage):
    for namespace in "ab":
        stage.agent("data-0", namespace=namespace)
    stage.agent("data-1", namespace="b")

    assert names(fodc("nodes", "b/data-0", "b/data-1", "-o", "json")) == ["b/data-0", "data-1"]


def test_nodes_explains_an_empty_fleet(fodc):
    ran = fodc("nodes")

    assert (ran.code, ran.out) == (0, "")
    assert "no agent has registered" in ran.err


def test_nodes_says_where_the_answer_is_of_another_type(fodc, relay, pair):
    relay.altered = lambda path, data: data.replace(b'"reconnects":0', b'"reconnects":"many"')

    ran = fodc("nodes")

    assert ran.code == 1
    assert "Expected `int`, got `str` - at `$.nodes[0].reconnects`" in ran.err
    assert f"GET {relay.url}/cluster" in ran.err
    assert "Do the versions differ?" in ran.err


def test_nodes_passes_over_fields_of_a_newer_proxy_and_keeps_them_in_json(fodc, relay, pair):
    relay.altered = lambda path, data: data.replace(b'"reconnects":', b'"tomorrow":1,"reconnects":')

    assert fodc("nodes").code == 0
    assert json.loads(fodc("nodes", "-o", "json").out)["nodes"][0]["tomorrow"] == 1
