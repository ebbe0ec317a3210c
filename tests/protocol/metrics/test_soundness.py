# SPDX-License-Identifier: Apache-2.0
"""What of an agent's page may stand beside that of others (A3, P16, T5)."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from fodc_protocol.metrics.families import FamilyBlock, blocks_of
from fodc_protocol.metrics.page import merge
from fodc_protocol.metrics.samples import MetricType, Sample, Series
from fodc_protocol.metrics.soundness import Gate, Unsound, shapes_of
from fodc_protocol.steps import run_through

IDENTITY = (("namespace", "n"), ("cluster", "c"), ("pod_name", "pod-0"), ("node_role", "data"))
OWN = 'node_role="data",pod_name="pod-0"'
FULL = f'cluster="c",namespace="n",{OWN}'


def admit(gate, blocks):
    """What may stand on a page."""
    return run_through(gate.steps(blocks))


def block(text, name="x", kind=MetricType.GAUGE):
    return FamilyBlock(name, kind, "", text if isinstance(text, bytes) else text.encode(), 0)


def lines(admitted):
    return [line for one in admitted.blocks for line in one.text.decode().split("\n") if line]


def test_lines_with_the_agents_identity_get_what_only_the_proxy_knows():
    gate = Gate(IDENTITY)
    text = f'x{{a="1",{OWN}}} 1\nx{{a="2",{OWN}}} 2.5\n'

    for _ in range(3):  # judged, then remembered
        admitted = admit(gate, [block(text)])
        assert admitted.refused == ()
        assert [one.samples for one in admitted.blocks] == [2]
        assert lines(admitted) == [
            f'x{{cluster="c",namespace="n",a="1",{OWN}}} 1',
            f'x{{cluster="c",namespace="n",a="2",{OWN}}} 2.5',
        ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"x{{{OWN}}} 1\n# EOF\n", Unsound.BAD_VALUE),
        (f"x{{{OWN}}} 1\n# TYPE y gauge\n", Unsound.BAD_VALUE),
        (f"x{{{OWN}}} 1\n\n", Unsound.MALFORMED),
        (f"x{{{OWN}}} 1 1700000000\n", Unsound.MALFORMED),
        (f'x{{a="1",a="2",{OWN}}} 1\n', Unsound.MALFORMED),
        (f'x{{a="\\d",{OWN}}} 1\n', Unsound.MALFORMED),
        (f'x{{a="1"{OWN}}} 1\n', Unsound.MALFORMED),
        (f'x{{a="\0",{OWN}}} 1\n', Unsound.MALFORMED),
        ("x", Unsound.BAD_VALUE),
        (f"x{{{OWN}}} one\n", Unsound.BAD_VALUE),
        (f"x{{{OWN}}} 1_0\n", Unsound.BAD_VALUE),
        (f"x{{{OWN}}} 1e999\n", Unsound.BAD_VALUE),
        (f"x{{{OWN}}} {'9' * 400}\n", Unsound.BAD_VALUE),
        (f"x{{{OWN}}} +NaN\n", Unsound.BAD_VALUE),
        (f"x{{{OWN}}} 1\r\n", Unsound.BAD_VALUE),
        (f'x{{__name__="up",{OWN}}} 1\n', Unsound.RESERVED_LABEL),
        (f"y{{{OWN}}} 1\n", Unsound.WRONG_FAMILY),
        (f"x_sum{{{OWN}}} 1\n", Unsound.WRONG_FAMILY),
        (b'x{a="\xff"} 1\n', Unsound.BAD_TEXT),
    ],
)
def test_family_that_is_not_sound_costs_its_agent_that_family_only(text, reason):
    """A3: each of these made Prometheus refuse the page of the whole fleet."""
    admitted = admit(Gate(IDENTITY), [block(text), block(f"z{{{OWN}}} 1\n", "z")])

    assert admitted.refused == (("x", reason),)
    assert lines(admitted) == [f"z{{{FULL}}} 1"]


@pytest.mark.parametrize("name", ["fodc_proxy_agents", "fodc_operator_leader"])
def test_our_own_families_cannot_be_forged(name):
    admitted = admit(Gate(IDENTITY), [block(f"{name}{{{OWN}}} 1\n", name)])

    assert admitted.refused == ((name, Unsound.RESERVED_NAME),)


def test_family_after_the_first_that_claims_a_sample_name_is_left_out():
    histogram = block(f'x_bucket{{le="+Inf",{OWN}}} 1\nx_count{{{OWN}}} 1\n', "x", MetricType(3))
    gauge = block(f"x_count{{{OWN}}} 7\n", "x_count")

    admitted = admit(Gate(IDENTITY), [histogram, gauge])

    assert admitted.refused == (("x_count", Unsound.NAME_TWICE),)


def test_series_of_another_agent_cannot_be_forged():
    """A3: `up{pod_name="other"} 0` of one agent stood beside that of the other."""
    forged = 'x{pod_name="other",namespace="m",cluster="d",node_role="liaison"} 0\n'

    (line,) = lines(admit(Gate(IDENTITY), [block(forged)]))

    assert line == (
        'x{cluster="c",exported_cluster="d",exported_namespace="m",'
        'exported_node_role="liaison",exported_pod_name="other",namespace="n",'
        'node_role="data",pod_name="pod-0"} 0'
    )


def test_agent_without_a_namespace_cannot_claim_one():
    gate = Gate((("pod_name", "pod-0"),))

    assert lines(admit(gate, [block('x{namespace="n",pod_name="pod-0"} 1\n')])) == [
        'x{exported_namespace="n",pod_name="pod-0"} 1'
    ]


def test_identity_is_added_where_it_is_missing_and_values_keep_their_escapes():
    text = 'x 1\nx{a="{\\"q\\\\\\n"} NaN\nx{a=""} +Inf\n'

    admitted = admit(Gate(IDENTITY), [block(text)])

    assert lines(admitted) == [
        f"x{{{FULL}}} 1",
        f'x{{a="{{\\"q\\\\\\n",{FULL}}} NaN',
    ]
    assert admitted.duplicates == 1  # an empty label is no label


def test_of_equal_series_the_first_stays_whatever_the_order_of_labels():
    """P16: 260 of 609 series came twice."""
    text = f'x{{a="1",b="2",{OWN}}} 1\nx{{b="2",{OWN},a="1"}} 2\nx{{a="3",{OWN}}} 3\n'
    gate = Gate(IDENTITY)

    for _ in range(2):
        admitted = admit(gate, [block(text)])
        assert [line[-1] for line in lines(admitted)] == ["1", "3"]
        assert admitted.duplicates == 1


def test_parts_of_one_family_are_one_family_and_may_not_repeat_each_other():
    part = block(f"x{{{OWN}}} 1\n")

    admitted = admit(Gate(IDENTITY), [part, block(f'x{{a="1",{OWN}}} 2'), part])

    assert [one.samples for one in admitted.blocks] == [2]
    assert admitted.duplicates == 1


def test_line_of_another_agent_is_no_line_of_this_one_and_quotes_hide_nothing():
    other = tuple((n, "pod-1" if n == "pod_name" else v) for n, v in IDENTITY)
    # Valid once the pair inside is taken away, and not as it stands.
    odd = 'x{a="b,pod_name="pod-1"",node_role="data",pod_name="pod-1"} 1\n'

    stranger = admit(Gate(other), [block(f'x{{a="b",{OWN}}} 1\n')])
    broken = admit(Gate(other), [block(odd)])

    assert 'exported_pod_name="pod-0"' in lines(stranger)[0]
    assert broken.refused == (("x", Unsound.MALFORMED),)


def test_label_whose_name_ends_like_one_of_the_identity_does_not_stand_for_it():
    text = 'x{node_role="other",pod_name="pod-0",x_node_role="data"} 1\n'

    (line,) = lines(admit(Gate((("pod_name", "pod-0"), ("node_role", "data"))), [block(text)]))

    assert line == (
        'x{exported_node_role="other",node_role="data",pod_name="pod-0",x_node_role="data"} 1'
    )


def test_last_line_without_an_end_is_a_line():
    gate = Gate((("pod_name", "pod-0"),))
    unended = [block('x{pod_name="pod-0"} 1'), block('y{pod_name="pod-0"} 2', "y")]

    for _ in range(2):
        admitted = admit(gate, unended)
        assert [one.text[-2:] for one in admitted.blocks] == [b"1\n", b"2\n"]
        assert admitted.duplicates == 0


def test_change_of_one_line_is_noticed_behind_the_remembered_outline():
    gate = Gate(IDENTITY)
    good = f'x{{a="1",{OWN}}} 1\n'
    admit(gate, [block(good)])
    admit(gate, [block(good)])

    assert admit(gate, [block(good.replace('a="1"', "a=1"))]).refused
    assert admit(gate, [block(good.replace(" 1\n", " z\n"))]).refused
    assert admit(gate, [block(good.replace("x{", "y{"))]).refused
    assert admit(gate, [block(good)]).refused == ()


TEXT = st.text(st.sampled_from('ab"\\\n{},=# \x00é_1'), max_size=8)
LINE = st.one_of(
    st.builds(lambda a, v: f'x{{a="{a}",{OWN}}} {v}\n', TEXT, TEXT),
    st.builds(lambda a: f'x{{{a}="1",{OWN}}} 1\n', TEXT),
    st.builds(lambda a: a + "\n", TEXT),
    st.sampled_from([f"x{{{OWN}}} 1\n", 'x{pod_name="pod-1"} 1\n', "# EOF\n", "x 1\n"]),
)
PAGES = st.lists(st.lists(LINE, max_size=4).map("".join), min_size=1, max_size=3)


@example(['x{pod_name="pod-1"} 1\nx{a="",node_role="data",pod_name="pod-0"} \n'], [""])
@given(PAGES, PAGES)
def test_whatever_agents_send_the_page_is_read_and_no_series_comes_twice(first, second):
    sound = blocks_of([Sample(Series("x", (("pod_name", "pod-9"),), MetricType.GAUGE), 1.0)])
    pages = [sound]
    for number, texts in enumerate((first, second)):
        gate = Gate((("pod_name", f"pod-{number}"),))
        for _ in range(2):
            admitted = admit(gate, [block(text.encode("utf-8", "replace")) for text in texts])
        pages.append(admitted.blocks)

    text = b"".join(merge(pages)).decode()

    samples = [s for f in text_string_to_metric_families(text) for s in f.samples]
    series = [(s.name, *sorted(s.labels.items())) for s in samples]
    assert len(set(series)) == len(series)
    assert {s.labels["pod_name"] for s in samples} <= {"pod-0", "pod-1", "pod-9"}
    assert sum(s.labels["pod_name"] == "pod-9" for s in samples) == 1


WHOLE_LINE = re.compile(
    rb'[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{(?:[a-zA-Z_]\w*="(?:[^"\\\n\x00]|\\["\\n])*",?)*\})?', re.ASCII
)


@example('x{a="}\n')
@example('x{a="x\\q",b="z"}\n')
@example('x{a="""}\nx{b="\\""}\n')
@given(st.lists(LINE, max_size=4).map("".join))
def test_quotes_are_in_order_when_they_are_in_every_line(text):
    """The quick look at all lines finds what a look at each would find."""
    outline = text.encode("utf-8", "replace")
    outline = outline if outline.endswith(b"\n") else outline + b"\n"
    by_line = [
        re.sub(rb'"(?:[^"\\]|\\.)*"', b'""', line)
        for line in outline.split(b"\n")[:-1]
        if WHOLE_LINE.fullmatch(line)
    ]

    shapes = shapes_of(outline)

    wellformed = [one for one in shapes or [] if WHOLE_LINE.fullmatch(one)]
    if len(by_line) == outline.count(b"\n"):
        assert wellformed == by_line
    else:
        assert len(wellformed) < outline.count(b"\n")


def test_a_page_that_is_new_is_looked_at_in_steps_and_the_same_outline_at_once():
    gate = Gate(IDENTITY)
    pages = [[block(f"f{n}{{{OWN}}} {value}\n", f"f{n}") for n in range(2_000)] for value in (1, 2)]
    steps = [len(list(gate.steps(page))) for page in pages]

    assert steps[0] > 2
    assert steps[1] == 0
    assert len(admit(gate, pages[0]).blocks) == 2_000
