# SPDX-License-Identifier: Apache-2.0
"""Rendering of Go agents' samples: the quick way gives what the plain rules give."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.metrics.families import blocks_of
from fodc_protocol.metrics.grammar import sample_prefix
from fodc_protocol.metrics.page import render_page
from fodc_protocol.metrics.samples import (
    MetricType,
    Sample,
    Series,
    with_identity,
    with_node_labels,
)
from fodc_proxy.wire.bounds import WireError
from fodc_proxy.wire.existing.lines import MetricsDecoder
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as pb

STAMPED = {"pod_name": "pod-0", "container_name": "data", "node_role": "ROLE_DATA"}


def message(*metrics):
    return pb.StreamMetricsRequest(metrics=metrics).SerializeToString()


def metric(name, value=1.0, kind=1, text="", **labels):
    return pb.Metric(name=name, value=value, type=kind, labels=labels, description=text)


def rendered(*metrics, node=(), decoder=None):
    blocks = (decoder or MetricsDecoder()).page(message(*metrics), tuple(node)).blocks
    return render_page(blocks).decode()


def test_m05_m08_many_metrics_make_families():
    page = rendered(metric("b", 2, text="B", **STAMPED), metric("a", 0.5, **STAMPED))

    labels = 'container_name="data",node_role="ROLE_DATA",pod_name="pod-0"'
    assert page == (
        f"# TYPE a gauge\na{{{labels}}} 0.5\n# HELP b B\n# TYPE b gauge\nb{{{labels}}} 2\n"
    )


def test_m03_m17_agent_labels_become_node_labels_but_for_stamped_and_empty_ones():
    node = [("type", "hot"), ("pod_name", "x"), ("container_name", "y"), ("zone", "")]

    assert rendered(metric("a", type="file"), node=node).endswith(
        'a{node_type="hot",type="file"} 1\n'
    )


def test_m18_existing_node_label_is_not_overwritten():
    node = [("type", "hot"), ("zone", "z1")]

    page = rendered(metric("a", node_type="own"), metric("a", x="1"), node=node)

    assert 'a{node_type="own",node_zone="z1"} 1' in page
    assert 'a{node_type="hot",node_zone="z1",x="1"} 1' in page


def test_h15_values_are_escaped_and_per_cent_signs_survive():
    page = rendered(metric("a", v='q"\\\n%s%%', **STAMPED), metric("a", v="100%", **STAMPED))

    assert 'v="q\\"\\\\\\n%s%%"' in page
    assert 'v="100%"' in page


def test_buckets_stand_in_order_of_their_bounds_before_sum_and_count():
    """Upstream prints them in the random order of a map."""
    parts = [metric("h_count", 3, 3), metric("h_sum", 9, 3)]
    parts += [metric("h_bucket", n, 3, le=le) for n, le in ((3, "+Inf"), (2, "10"), (1, "2"))]

    lines = rendered(*parts).splitlines()

    assert lines[1:] == [
        'h_bucket{le="2"} 1',
        'h_bucket{le="10"} 2',
        'h_bucket{le="+Inf"} 3',
        "h_sum 9",
        "h_count 3",
    ]


def test_two_agents_share_the_table_and_keep_their_own_values():
    decoder = MetricsDecoder()
    first = rendered(metric("a", group="g", **STAMPED), decoder=decoder)
    other = {**STAMPED, "pod_name": "pod-1"}

    second = rendered(metric("a", group="g", **other), decoder=decoder)

    assert 'pod_name="pod-0"' in first
    assert 'pod_name="pod-1"' in second
    assert second == first.replace("pod-0", "pod-1")


def test_sample_without_the_stamped_labels_is_rendered_too():
    """Kernel metrics of Go agents come without identity."""
    page = rendered(metric("a", **STAMPED), metric("ktm_x", cpu="0"), node=[("type", "hot")])

    assert 'ktm_x{cpu="0",node_type="hot"} 1' in page


def test_a_long_message_is_rendered_in_steps_that_leave_room_for_others():
    many = [metric("a", n, n=str(n), **STAMPED) for n in range(1000)]
    *pauses, last = MetricsDecoder().steps(message(*many))

    assert pauses == [None] * 8
    assert render_page(last.blocks) == rendered(*many).encode()
    assert rendered(*many).count("\na{") == 1000


def test_a_message_that_is_left_in_its_midst_spoils_none_that_come_later():
    decoder = MetricsDecoder()
    other = {**STAMPED, "pod_name": "pod-1"}
    before = rendered(metric("a", pod="pod-0", **other), decoder=decoder)
    left = decoder.steps(message(*[metric("a", n, n=str(n), **STAMPED) for n in range(1000)]))
    next(left)
    left.close()

    assert rendered(metric("a", pod="pod-0", **other), decoder=decoder) == before


def test_no_metrics_are_no_blocks():
    assert MetricsDecoder().page(message()).blocks == ()


def test_garbage_is_an_error():
    with pytest.raises(WireError):
        MetricsDecoder().page(b"\xff\xff\xff")


NAMES = st.sampled_from(["a", "le", "pod_name", "node_role", "node_type", "zone", "odd-name", "x"])
METRICS = st.lists(
    st.tuples(
        st.sampled_from(["up", "h_bucket", "h_sum", "h_count", "odd.name"]),
        st.sampled_from([0, 1, 2, 3, 4, 5]),
        st.floats(allow_nan=False),
        st.dictionaries(NAMES, st.text(max_size=6), max_size=5),
    ),
    min_size=1,
    max_size=20,
)


IDENTITIES = st.sampled_from(
    [(), (("pod_name", "pod-0"),), (("pod_name", "p"), ("namespace", "n"), ("node_role", "r"))]
)


@given(
    METRICS,
    st.dictionaries(st.sampled_from(["type", "zone", "role"]), st.text(max_size=4)),
    IDENTITIES,
)
def test_quick_lines_are_those_of_the_plain_rules(metrics, node, identity):
    """Against blocks_of, sample by sample; names of one type only, as one page has them.

    Labels without a value are no labels, and of equal series the first stays.
    """
    kinds = {name: kind for name, kind, _, _ in metrics}
    kinds["h_sum"] = kinds["h_count"] = kinds.get("h_bucket", 3)
    data = message(*(metric(n, v, kinds[n], **labels) for n, _, v, labels in metrics))
    overlay = tuple(node.items())
    decoder = MetricsDecoder()
    decoder.page(data, overlay, identity)  # the second time all is in the table

    page = decoder.page(data, overlay, identity)

    series = {}
    for name, _, value, labels in metrics:
        own = tuple(
            (name, value.replace("\0", "\ufffd")) for name, value in labels.items() if value
        )
        told = with_identity(with_node_labels(own, overlay), identity)
        series.setdefault(sample_prefix(name, told), Sample(Series(name, told, kinds[name]), value))
    samples = [
        replace(s, series=replace(s.series, type=MetricType(s.series.type)))
        for s in series.values()
    ]
    expected = sorted(b"".join(b.text for b in blocks_of(samples)).split(b"\n"))
    assert sorted(b"".join(b.text for b in page.blocks).split(b"\n")) == expected
    assert page.duplicates == len(metrics) - len(series)


def test_m04_columns_take_the_metrics_time_else_the_messages_else_now():
    request = pb.StreamMetricsRequest(metrics=[metric("a"), metric("b")])
    request.metrics[0].timestamp.FromMilliseconds(5_000)
    decoder = MetricsDecoder()

    assert [list(c.times_ms) for c in decoder.columns(request.SerializeToString(), (), 7_000)] == [
        [5_000],
        [7_000],
    ]
    request.timestamp.FromMilliseconds(6_000)
    columns = decoder.columns(request.SerializeToString(), (("type", "hot"),), 7_000)
    assert [list(c.times_ms) for c in columns] == [[5_000], [6_000]]
    assert columns[0].labels == (("node_type", "hot"),)


def test_points_of_one_series_are_joined_whatever_the_order_of_labels():
    request = pb.StreamMetricsRequest()
    for second in range(50):
        labels = list(STAMPED.items())
        random.Random(second).shuffle(labels)
        one = metric("a", float(second), **dict(labels))
        one.timestamp.FromMilliseconds(second * 1000)
        request.metrics.append(one)

    (column,) = MetricsDecoder().columns(request.SerializeToString(), (), 0)

    assert list(column.values) == [float(second) for second in range(50)]
