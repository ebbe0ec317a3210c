# SPDX-License-Identifier: Apache-2.0
"""Filters of the fleet's page, and who is missing from it."""

from fodc_protocol.link import frames
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.samples import MetricType
from fodc_proxy.fleet.membership import Contract, Member, Phase
from fodc_proxy.queries.pages.metrics import filtered, missing_samples, partial_headers
from fodc_proxy.queries.results import Missing

TEXT = (
    b'up{node_role="ROLE_DATA",pod_name="pod-0"} 1\n'
    b'up{note=",node_role=\\"ROLE_META\\"",node_role="ROLE_DATA",pod_name="pod-1"} 2\n'
    b"up 3\n"
)
BLOCK = FamilyBlock("up", MetricType.GAUGE, "h", TEXT, 3)


def lines(blocks):
    return [line for block in blocks for line in block.text.decode().splitlines()]


def test_m15_no_filter_lets_everything_through():
    assert filtered([BLOCK]) == [BLOCK]


def test_m10_role_filter_is_exact_on_the_label():
    assert len(lines(filtered([BLOCK], role="ROLE_DATA"))) == 2
    assert filtered([BLOCK], role="role_data") == []


def test_m11_pod_filter_in_another_case_lets_nothing_through():
    """The agent was selected whatever the case; its samples are then left out (§6.3)."""
    assert lines(filtered([BLOCK], pod_name="pod-0")) == [
        'up{node_role="ROLE_DATA",pod_name="pod-0"} 1'
    ]
    assert filtered([BLOCK], pod_name="POD-0") == []


def test_label_inside_a_value_is_no_label():
    assert filtered([BLOCK], role="ROLE_META") == []


def test_missing_agents_become_a_metric_once_each():
    identity = frames.Identity("pod-0", namespace="banyandb", cluster="c1")
    state = frames.NodeState("ROLE_DATA", {"tier": "hot"})
    member = Member("id", identity, state, Contract.LINK, Phase.OFFLINE, 0, 0)
    samples = missing_samples([Missing(member, "Offline", "")] * 2)

    assert [dict(s.series.labels) for s in samples] == [
        {
            "namespace": "banyandb",
            "cluster": "c1",
            "pod_name": "pod-0",
            "node_role": "ROLE_DATA",
            "node_tier": "hot",
            "reason": "Offline",
        }
    ]


def test_headers_say_how_whole_the_answer_is():
    assert partial_headers(2, 2, []) == {"X-FODC-Asked": "2", "X-FODC-Answered": "2"}
    assert partial_headers(2, 1, ["pod-a"])["X-FODC-Missing"] == "pod-a"


def test_headers_stay_short_and_cannot_be_broken_by_names():
    named = partial_headers(300, 0, ["a\r\nX: y", *(f"p{n}" for n in range(200))])

    assert named["X-FODC-Missing"].startswith("a__X:_y,p0,")
    assert named["X-FODC-Missing"].endswith(",+101")
