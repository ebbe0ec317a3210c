# SPDX-License-Identifier: Apache-2.0
"""Series, absent samples, family names and node labels."""

import array
import math
import struct

import pytest

from fodc_protocol.metrics.families import component_base, family_name
from fodc_protocol.metrics.samples import ABSENT, MetricType, is_absent, with_node_labels


def test_absent_mark_has_its_own_bits():
    assert struct.pack(">d", ABSENT).hex() == "7ff800000000f0dc"


def test_absent_mark_survives_a_row_of_doubles():
    row = array.array("d", [1.5, ABSENT, math.nan])
    assert [is_absent(value) for value in array.array("d", row.tobytes())] == [False, True, False]


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, 0.0, -0.0, 1e308])
def test_is_absent_is_false_for_what_a_node_exports(value):
    assert not is_absent(value)


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("x_bucket", "x"),
        ("x_sum", "x"),
        ("x_count", "x"),
        ("x", ""),
        ("x_total", ""),
        ("", ""),
        ("_bucket", ""),
        ("x_bucket_sum", "x_bucket"),
    ],
)
def test_h09_component_base_of_names(name, base):
    assert component_base(name) == base


def test_a13_a_sample_with_a_quantile_names_its_family_itself():
    labels = (("a", "b"), ("quantile", "0.5"))
    assert family_name("queue_count", MetricType.SUMMARY, labels) == "queue_count"
    assert family_name("queue_count_count", MetricType.SUMMARY, (("a", "b"),)) == "queue_count"
    assert family_name("queue_count", MetricType.SUMMARY, (("a", "b"),)) == "queue"


@pytest.mark.parametrize(
    ("name", "kind", "family"),
    [
        ("x_bucket", MetricType.HISTOGRAM, "x"),
        ("x_sum", MetricType.SUMMARY, "x"),
        ("x", MetricType.SUMMARY, "x"),
        ("_bucket", MetricType.HISTOGRAM, "_bucket"),
        ("requests_count", MetricType.COUNTER, "requests_count"),
        ("x_bucket", MetricType.UNTYPED, "x_bucket"),
        ("x_bucket", MetricType.UNSPECIFIED, "x_bucket"),
    ],
)
def test_h13_family_name_drops_suffixes_of_histograms_and_summaries_only(name, kind, family):
    assert family_name(name, kind) == family


def test_metric_types_have_wire_numbers_and_words():
    assert [(kind.value, kind.text) for kind in MetricType] == [
        (0, ""),
        (1, "gauge"),
        (2, "counter"),
        (3, "histogram"),
        (4, "summary"),
        (5, "untyped"),
    ]


def test_m17_agent_labels_become_node_labels():
    labels = with_node_labels((("type", "file"),), [("type", "hot"), ("zone", "z1")])
    assert labels == (("type", "file"), ("node_type", "hot"), ("node_zone", "z1"))


def test_m18_existing_labels_are_not_overwritten():
    own = (("node_type", "cold"), ("zone", "mine"))
    agent = [("type", "hot"), ("zone", ""), ("pod_name", "p"), ("container_name", "c")]
    assert with_node_labels(own, agent) == own
