# SPDX-License-Identifier: Apache-2.0
"""The fleet's page: which samples a filter lets through, and who is missing.

The one idea: blocks of sample lines are filtered as text. A rendered label `,role="x"` cannot hide
inside a value, because quotes in values are escaped, so a line either carries the label or not.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.grammar import escape_value
from fodc_protocol.metrics.samples import MetricType, Sample, Series
from fodc_proxy.fleet.membership import Member
from fodc_proxy.queries.results import Missing

_MAX_NAMES_IN_HEADER: Final = 100
_ODD: Final = re.compile(r"[^A-Za-z0-9._:/-]")


def filtered(
    blocks: Iterable[FamilyBlock], role: str = "", pod_name: str = ""
) -> list[FamilyBlock]:
    """Return the samples whose `node_role` and `pod_name` are exactly these; "" lets all through.

    A pod name in another case selects the agent and then lets nothing through, as with the
    existing proxy (§6.3).
    """
    wanted = [("node_role", role), ("pod_name", pod_name)]
    needles = [f'{name}="{escape_value(value)}"'.encode() for name, value in wanted if value]
    if not needles:
        return list(blocks)
    kept = (_filtered_block(block, needles) for block in blocks)
    return [block for block in kept if block.samples]


def _filtered_block(block: FamilyBlock, needles: Sequence[bytes]) -> FamilyBlock:
    # Quotes inside values are escaped, so a needle stands in a line once or not at all, and
    # counting tells for nearly all blocks what going through the lines would.
    if all(_count(block.text, needle) == block.samples for needle in needles):
        return block
    lines = [
        line
        for line in block.text.split(b"\n")  # and not at a carriage return in a value
        if all(b"{" + needle in line or b"," + needle in line for needle in needles)
    ]
    if len(lines) == block.samples:
        return block
    return replace(block, text=b"\n".join([*lines, b""]), samples=len(lines))


def _count(text: bytes, needle: bytes) -> int:
    return text.count(b"{" + needle) + text.count(b"," + needle)


_MISSING_HELP: Final = "1 for each agent that was wanted for this page and whose part is missing."


def missing_samples(missing: Iterable[Missing]) -> list[Sample]:
    """Return the metric of agents whose part is missing, under their identity."""
    samples: list[Sample] = []
    labels = ((*lost.member.identity_labels, ("reason", lost.reason)) for lost in missing)
    for told in dict.fromkeys(labels):
        series = Series("fodc_proxy_agent_missing", told, MetricType.GAUGE, _MISSING_HELP)
        samples.append(Sample(series, 1.0))
    return samples


def refused_header(refused: Sequence[tuple[Member, str]]) -> dict[str, str]:
    """Return the header that names families which were left out, as `pod/family`."""
    if not refused:
        return {}
    names = [header_name(f"{member.pod_name}/{family}") for member, family in refused[:20]]
    more = len(refused) - len(names)
    return {"X-FODC-Refused": ",".join(names) + (f",+{more}" if more else "")}


def header_name(name: str) -> str:
    """Return a name as it may stand in a list in a header."""
    return _ODD.sub("_", name)


def partial_headers(asked: int, answered: int, missing: Sequence[str]) -> dict[str, str]:
    """Return the headers that say how whole an answer is; at most 100 names are listed."""
    headers = {"X-FODC-Asked": str(asked), "X-FODC-Answered": str(answered)}
    if missing:
        names = [header_name(name) for name in missing[:_MAX_NAMES_IN_HEADER]]
        more = len(missing) - len(names)
        headers["X-FODC-Missing"] = ",".join(names) + (f",+{more}" if more else "")
    return headers
