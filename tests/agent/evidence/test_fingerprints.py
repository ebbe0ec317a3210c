# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of schema objects: upstream-agent §12.6, T-FP and T-DR; F01–F06, D01–D04."""

import pytest
from google.protobuf.struct_pb2 import Struct

from fodc_agent.evidence.fingerprints import base, fingerprint, xxh64
from fodc_agent.evidence.registry import bound_rules
from fodc_protocol.protobuf import WireError, message, messages, text

from .schemas import (
    GROUP,
    PRINTED,
    RULE_0,
    RULE_1,
    STREAM,
    STREAM_WITH_RULES,
    binding,
    metadata,
)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
        (b"The quick brown fox jumps over the lazy dog", 0x0B242D361FDA71BC),
    ],
)
def test_the_hash_is_xxh64(data, value):
    assert xxh64(data) == value


@pytest.mark.parametrize(
    ("subject", "kind"), [(RULE_0, "indexRule"), (STREAM, "stream"), (GROUP, "group")]
)
def test_vectors_of_single_objects(subject, kind):
    assert fingerprint(subject, kind) == PRINTED[subject]


def test_t_fp_01_f01_id_and_revisions_do_not_count():
    stream = metadata("foo", id_=7, created=3, changed=9) + STREAM[10:]

    assert fingerprint(stream, "stream") == PRINTED[STREAM]


def test_t_fp_02_f02_another_content_is_seen():
    assert fingerprint(STREAM.replace(b"service", b"servers"), "stream") != PRINTED[STREAM]


def test_t_fp_03_f03_bound_rules_count():
    assert fingerprint(STREAM, "stream", [RULE_0]) != PRINTED[STREAM]


@pytest.mark.parametrize("rules", [[RULE_0, RULE_1], [RULE_1, RULE_0], [RULE_1, RULE_0, RULE_1]])
def test_t_fp_04_f04_order_and_repeats_of_rules_do_not_count(rules):
    assert fingerprint(STREAM, "stream", rules) == STREAM_WITH_RULES


def test_t_fp_05_f05_what_is_given_stays_as_it_is():
    rules = [RULE_1, RULE_0]
    fingerprint(STREAM, "stream", rules)

    assert rules == [RULE_1, RULE_0]


def test_t_fp_06_f06_another_content_of_a_bound_rule_is_seen():
    changed = RULE_1[:-1] + b"c"

    assert fingerprint(STREAM, "stream", [RULE_0, changed]) != STREAM_WITH_RULES


def test_an_object_of_a_newer_version_counts_with_what_is_not_known_here():
    newer = STREAM + message(99, b"new")

    assert base(newer) not in (base(STREAM), base(STREAM + message(99, b"old")))


def group_with(settings: bytes) -> bytes:
    """A group with a pipeline whose plugin, and that of one stage, have these settings."""
    plugin = text(1, "sampler.so") + message(4, settings)
    pipeline = message(3, text(1, "hot") + message(2, plugin)) + message(6, plugin)
    return GROUP + message(6, pipeline)


def test_settings_of_a_plugin_count_in_any_order_that_an_encoder_writes_them():
    """Go writes maps in an order of its own each time."""
    settings = Struct()
    settings.update({"rate": 0.5, "keep": ["a", {"y": 1, "x": 2}], "nested": {"b": 1, "a": None}})
    written = settings.SerializeToString(deterministic=True)
    nested = Struct()
    nested.update({"b": 1, "a": None})
    entries = sorted(settings.fields.items(), reverse=True)
    turned = messages(
        1, (text(1, key) + message(2, value.SerializeToString()) for key, value in entries)
    )
    other = Struct()
    other.update({**dict(settings), "rate": 0.6})

    prints = [fingerprint(group_with(one), "group") for one in (written, turned)]

    assert written != turned
    assert prints[0] == prints[1]
    assert fingerprint(group_with(other.SerializeToString()), "group") != prints[0]


def test_settings_that_are_nested_without_end_are_refused():
    nested = b""
    for _ in range(3_000):
        nested = message(1, text(1, "a") + message(2, message(5, nested)))

    with pytest.raises(WireError, match="nested too deep"):
        fingerprint(group_with(nested), "group")


# ---- rules that bindings give an object ----------------------------------------------------------


RULES = [RULE_0, RULE_1]


def test_t_dr_01_d01_rules_of_all_bindings_count():
    bindings = [binding("foo", 1, "r0"), binding("foo", 1, "r1"), binding("bar", 1, "r0")]

    assert bound_rules(bindings, RULES, 1, "foo") == [RULE_0, RULE_1]


def test_t_dr_02_d02_a_rule_that_is_not_there_is_left_out():
    assert bound_rules([binding("foo", 1, "gone", "r1")], RULES, 1, "foo") == [RULE_1]


def test_t_dr_03_d03_order_and_repeats_are_kept():
    bindings = [binding("foo", 1, "r1", "r0"), binding("foo", 1, "r1")]

    assert bound_rules(bindings, RULES, 1, "foo") == [RULE_1, RULE_0, RULE_1]


def test_t_dr_04_d04_without_a_binding_there_are_none():
    assert bound_rules([binding("foo", 2, "r0")], RULES, 1, "foo") == []
