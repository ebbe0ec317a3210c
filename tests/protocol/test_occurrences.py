# SPDX-License-Identifier: Apache-2.0
"""The kinds of occurrences and the fields that each carries."""

from fodc_protocol.occurrences import FIELDS, Field, OccurrenceKind


def test_every_kind_says_which_fields_it_carries() -> None:
    assert set(FIELDS) == set(OccurrenceKind)


def test_every_field_is_one_of_some_kind() -> None:
    assert frozenset().union(*FIELDS.values()) == set(Field)


def test_the_words_of_the_wire_are_these() -> None:
    assert [str(kind) for kind in OccurrenceKind] == [
        "node-gone",
        "node-restarted",
        "node-unreachable",
        "node-back",
        "memory-pressure",
        "oom-kill",
        "crash",
        "trigger",
        "other",
    ]
    assert [str(field) for field in Field] == [
        "pid",
        "started_at_ms",
        "rss_bytes",
        "limit_bytes",
        "percent",
        "trigger_percent",
        "crash",
        "captures",
    ]
