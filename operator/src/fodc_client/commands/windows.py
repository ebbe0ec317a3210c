# SPDX-License-Identifier: Apache-2.0
"""`fodc windows`: how a metric of a node went, drawn in the terminal."""

import argparse
import difflib
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fodc_client import charts
from fodc_client.api import Coverage, ProxyClient
from fodc_client.arguments import Settings, add_verb, count, duration, pair
from fodc_client.commands import SUMMARIES
from fodc_client.errors import ExitCode, NotFoundError
from fodc_client.formats import counted, printable, quantity, span
from fodc_client.output import Output
from fodc_client.reading import Json
from fodc_client.resources import WindowSeries
from fodc_protocol.times import format_rfc3339_ms

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers

_WIDEST = 100


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verb."""
    parser = add_verb(
        verbs,
        "windows",
        summary=SUMMARIES["windows"],
        examples="""
            fodc windows banyandb-data-0 process_resident_memory_bytes
            fodc windows banyandb-data-0 banyandb_measure_total_written --since 10m --rate
            fodc windows banyandb-data-0 banyandb_system_disk --label kind=used -o json""",
        run=run,
    )
    parser.add_argument("node", metavar="NODE", help="the node")
    parser.add_argument("metric", metavar="METRIC", help="exact name of the samples")
    parser.add_argument(
        "--since", type=duration, default=1800.0, metavar="TIME", help="how far back (default: 30m)"
    )
    parser.add_argument(
        "--label",
        type=pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="only series with this label; may be repeated",
    )
    parser.add_argument("--rate", action="store_true", help="increase per second, for counters")
    parser.add_argument(
        "--limit", type=count, default=4, metavar="N", help="series to draw (default: 4)"
    )


async def run(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Draw the series, or give their points."""
    end = datetime.now(UTC)
    start = end - timedelta(seconds=args.since)
    async with ProxyClient(settings.proxy_url, timeout_s=settings.answer_timeout_s) as client:
        answer = await client.windows(args.node, args.metric, _rfc3339(start), _rfc3339(end))
    found = matching(answer.value.series, args.node, args.metric, dict(args.label))
    if not found:
        raise NotFoundError(absence(answer.value.series, answer.value.coverage, args))
    if not output.format.is_table:
        output.document(document_of(found, rate=args.rate))
        return ExitCode.OK
    for series in found[: args.limit]:
        output.lines(_drawn(series, (start.timestamp(), end.timestamp()), args, output))
    if len(found) > args.limit:
        output.message(
            f"{len(found) - args.limit} more series are not drawn; narrow with --label "
            "or raise --limit"
        )
    return ExitCode.OK


def _rfc3339(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _drawn(
    series: WindowSeries, times: tuple[float, float], args: argparse.Namespace, output: Output
) -> list[str]:
    width = max(20, min(_WIDEST, output.out.width if output.out.is_terminal else 80) - 14)
    ascii_only = not (output.out.encoding or "").lower().startswith("utf")
    unit = unit_of(series.name)
    points = values_of(series, rate=args.rate)
    lines = charts.chart(
        points,
        area=charts.Area(width, 10),
        start_s=times[0],
        end_s=times[1],
        label=lambda value: quantity(value, unit),
        ascii_only=ascii_only,
    )
    return [caption(series, points, rate=args.rate), *lines, ""]


# ---- pure -----------------------------------------------------------------------------------


def matching(
    series: Sequence[WindowSeries], node: str, metric: str, labels: Mapping[str, str]
) -> list[WindowSeries]:
    """Return the series of one node and metric with the given labels, ordered by labels."""
    found = [
        each
        for each in series
        if each.name == metric
        and (not each.pod_name or each.pod_name in {node, node.rpartition("/")[2]})
        and labels.items() <= each.labels.items()
    ]
    return sorted(found, key=lambda each: sorted(each.labels.items()))


def absence(series: Sequence[WindowSeries], coverage: Coverage, args: argparse.Namespace) -> str:
    """Say why there is nothing to draw and what to try."""
    if coverage.asked == 0:
        return f"no such node: {args.node}. `fodc nodes` lists what there is."
    if args.node in coverage.missing:
        return f"{args.node} did not answer; see: fodc doctor"
    names = sorted({each.name for each in series})
    if args.metric in names:
        return f"{args.node}: {args.metric} has no series with these labels"
    close = difflib.get_close_matches(args.metric, names, n=3, cutoff=0.5)
    hint = f" Did you mean: {', '.join(close)}?" if close else ""
    return f"{args.node}: no samples of {args.metric} in the last {span(args.since)}.{hint}"


def values_of(series: WindowSeries, *, rate: bool) -> list[charts.PlotPoint]:
    """Return the points to draw; what the node could not express as a number is left out."""
    points = [
        (point.time.timestamp(), point.value) for point in series.points if point.value is not None
    ]
    return charts.rates(points) if rate else points


def unit_of(name: str) -> str:
    """Return the unit that a metric's name ends in, "" when it names none."""
    base = name.removesuffix("_total").removesuffix("_sum")
    return next((unit for unit in ("bytes", "seconds") if base.endswith(f"_{unit}")), "")


def caption(series: WindowSeries, points: Sequence[charts.PlotPoint], *, rate: bool) -> str:
    """Return the line above a chart: name, labels, least, greatest and last value."""
    own = {"pod_name", "node_role", "container_name"}
    labels = ",".join(
        f'{key}="{value}"' for key, value in sorted(series.labels.items()) if key not in own
    )
    name = printable(series.name + (f"{{{labels}}}" if labels else "")) + (
        " per second" if rate else ""
    )
    values = [value for _, value in points if math.isfinite(value)]
    if not values:
        return f"{name}: no points"
    unit = unit_of(series.name)
    least, greatest, last = (
        quantity(each, unit) for each in (min(values), max(values), values[-1])
    )
    points_ = counted(len(values), "point")
    return f"{name}: {points_}, min {least}, max {greatest}, last {last}; times in UTC"


def document_of(series: Sequence[WindowSeries], *, rate: bool) -> Json:
    """Return the points for `-o json`, in the shape of the proxy's own answer."""
    return [
        {
            "name": each.name,
            "labels": dict(each.labels),
            "pod_name": each.pod_name,
            "data": [
                {"timestamp": format_rfc3339_ms(round(time * 1000)), "value": value}
                for time, value in values_of(each, rate=rate)
            ],
        }
        for each in series
    ]
