# SPDX-License-Identifier: Apache-2.0
"""The verdicts on the schema as metrics, pure (upstream-proxy §10.5).

The one idea: the family of the existing proxy is there after every check, whoever asked for it; how
old it is and how many nodes stand behind it are families beside it, the age from the start on.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Final

from fodc_protocol.metrics.samples import MetricType, Sample, Series
from fodc_proxy.evidence.consistency import Status
from fodc_proxy.evidence.lifecycle import Judged

_STATUS: Final = "banyandb_fodc_schema_consistency_status"
_STATUS_HELP: Final = (
    "Schema consistency verdict per group (1=CONSISTENT, 2=INCONSISTENT, 3=UNKNOWN)."
)
_AGE: Final = "fodc_proxy_schema_check_age_seconds"
_AGE_HELP: Final = "Seconds since the schema was checked last, NaN before the first check."
_NODES: Final = "fodc_proxy_schema_nodes"
_NODES_HELP: Final = "Nodes whose schema of a group is expected, and was told."


def schema_samples(judged: Iterable[Judged], age_ms: int | None) -> Iterator[Sample]:
    """Yield the families; `age_ms` is None before the first check."""
    age_s = math.nan if age_ms is None else age_ms / 1000
    yield Sample(Series(_AGE, (), MetricType.GAUGE, _AGE_HELP), age_s)
    for one in judged:
        if one.group.schema_consistency is None:
            continue
        group = ("group", one.group.name)
        status = Status(str(one.group.schema_consistency.status)).number
        yield Sample(Series(_STATUS, (group,), MetricType.GAUGE, _STATUS_HELP), status)
        counts = (("answered", one.coverage.answered), ("expected", one.coverage.expected))
        for state, count in counts:
            labels = (group, ("state", state))
            yield Sample(Series(_NODES, labels, MetricType.GAUGE, _NODES_HELP), count)
