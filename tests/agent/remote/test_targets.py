# SPDX-License-Identifier: Apache-2.0
"""The file of targets: what it asks for, what it cannot ask for, and what each agent is told."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_agent.remote.shares import Share
from fodc_agent.remote.targets import (
    MOST_TARGETS,
    Target,
    TargetsError,
    parse_targets,
    settings_of,
)
from fodc_agent.settings import load

WHOLE = {
    "pod_name": "demo-0",
    "namespace": "demo",
    "pod_uid": "0f8b3c9e-58a1-4d0b-9a53-1f6f7f2f1a11",
    "kubernetes_node": "node-a",
    "host": "10.0.0.7",
    "cluster": "bydb",
    "role": "liaison",
    "labels": {"type": "hot"},
    "metrics_ports": [2121, 2122],
    "container_names": ["data", "lifecycle"],
    "cluster_state_ports": [17912],
    "pprof_ports": [6060],
    "unknown_field_of_a_later_version": 1,
}


def parsed(*entries, **options):
    return parse_targets(json.dumps({"targets": list(entries)}), **options)


def test_a_whole_target_is_read():
    assert parsed(WHOLE).targets == (
        Target(
            pod_name="demo-0",
            host="10.0.0.7",
            namespace="demo",
            pod_uid="0f8b3c9e-58a1-4d0b-9a53-1f6f7f2f1a11",
            kubernetes_node="node-a",
            cluster="bydb",
            role="ROLE_LIAISON",
            labels={"type": "hot"},
            metrics_ports=(2121, 2122),
            container_names=("data", "lifecycle"),
            cluster_state_ports=(17912,),
            pprof_ports=(6060,),
        ),
    )


def test_a_name_and_a_host_are_enough():
    [target] = parsed({"pod_name": "p", "host": "::1"}).targets
    assert (target.key, target.folder) == ("p", "-_p")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"targets": {}}', '{"targets": null}'])
def test_a_file_that_is_no_list_of_targets_is_broken_as_a_whole(text):
    with pytest.raises(TargetsError):
        parse_targets(text)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"pod_name": "../../etc"}, "targets[0].pod_name: missing or not of the right form"),
        ({"pod_name": ""}, "targets[0].pod_name: missing or not of the right form"),
        ({"namespace": "a/b"}, "targets[0].namespace: missing or not of the right form"),
        ({"pod_uid": ".."}, "targets[0].pod_uid: missing or not of the right form"),
        ({"host": "user@host"}, "targets[0].host: missing or not of the right form"),
        ({"host": "h/../x"}, "targets[0].host: missing or not of the right form"),
        ({"host": None}, "targets[0].host: missing or not of the right form"),
        ({"role": "boss"}, "targets[0].role: none of data, liaison, standalone"),
        ({"labels": {"a": 1}}, "targets[0].labels: no object of texts"),
        ({"metrics_ports": [0]}, "targets[0].metrics_ports: ports are numbers from 1 to 65535"),
        ({"metrics_ports": [True]}, "targets[0].metrics_ports: ports are numbers from 1 to 65535"),
        ({"pprof_ports": "6060"}, "targets[0].pprof_ports: no list of at most 16"),
        ({"container_names": ["a"]}, "targets[0].container_names: 1 of them for 2 metrics_ports"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused_by_name_and_stops_no_other(changes, problem):
    other = {"pod_name": "demo-1", "host": "10.0.0.8"}
    found = parsed({**WHOLE, **changes}, other)
    assert found.refused == (problem,)
    assert [target.key for target in found.targets] == ["demo-1"]


def test_a_pod_that_is_named_twice_counts_once():
    found = parsed(WHOLE, {**WHOLE, "host": "10.0.0.9"})
    assert [target.host for target in found.targets] == ["10.0.0.7"]
    assert found.refused == ("targets[1]: demo/demo-0 is there already",)


def test_more_targets_than_the_limit_are_left_out_and_said():
    entries = [{"pod_name": f"p-{place}", "host": "h"} for place in range(MOST_TARGETS + 2)]
    found = parsed(*entries)
    assert len(found.targets) == MOST_TARGETS
    assert found.refused == ("2 beyond the limit of 64 are left out: p-64, p-65",)


@given(st.text(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from([*WHOLE, "targets"]), inner, max_size=6),
    max_leaves=12,
).map(lambda value: json.dumps({"targets": value})))  # fmt: skip
def test_no_text_makes_it_crash_and_no_directory_leads_elsewhere(text):
    try:
        found = parse_targets(text)
    except TargetsError:
        return
    for target in found.targets:
        assert "/" not in target.folder
        assert target.folder not in {".", ".."}


SHARE = Share(window_bytes=1000, journal_bytes=2000, quota_bytes=3000)


def test_the_agent_of_a_target_is_told_who_its_node_is():
    settings = load(
        ["--attachment=remote", "--targets-file=/t", "--capture-dir=/c", "--recorder-dir=/r"], {}
    )
    [target] = parsed(WHOLE).targets
    told = settings_of(target, settings, SHARE)
    assert (told.pod_name, told.pod_namespace, told.cluster) == ("demo-0", "demo", "bydb")
    assert (told.node_host, told.metrics_ports, told.pprof_ports) == (
        "10.0.0.7",
        (2121, 2122),
        (6060,),
    )
    assert (told.node_role, told.node_labels) == ("ROLE_LIAISON", {"type": "hot"})
    assert told.capture_dir == Path("/c/targets") / target.folder
    assert told.recorder_dir == Path("/r/targets") / target.folder
    assert (told.window_budget_bytes, told.recorder_max_bytes) == (1000, 2000)
    assert told.capture_quota_bytes == 3000
    assert told.is_remote


def test_what_a_target_leaves_open_comes_from_the_options():
    settings = load(["--attachment=remote", "--targets-file=/t", "--cluster=c"], {})
    [target] = parsed({"pod_name": "p", "host": "h"}).targets
    told = settings_of(target, settings, SHARE)
    assert (told.metrics_ports, told.pprof_ports, told.cluster) == ((2121,), (6060,), "c")
    assert told.recorder_dir is None


@pytest.mark.parametrize(("nodes", "slots"), [(0, 1), (1, 1), (2, 2), (3, 4), (5, 8), (64, 64)])
def test_the_whole_is_divided_by_a_power_of_two(nodes, slots):
    whole = Share(64 << 20, 128 << 20, 256 << 20)
    assert whole.among(nodes) == Share(
        (64 << 20) // slots, (128 << 20) // slots, (256 << 20) // slots
    )
