# SPDX-License-Identifier: Apache-2.0
"""`fodc windows`: how a metric of a node went, drawn in the terminal."""

import argparse
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fodc_api.windows import WindowSeries
from fodc_client import charts, completing, window_files
from fodc_client.api import Coverage, ProxyClient
from fodc_client.arguments import Settings, add_verb, completed, duration, pair, positive
from fodc_client.commands import SUMMARIES
from fodc_client.errors import BadUsageError, ClientError, ExitCode, NotFoundError
from fodc_client.formats import counted, printable, quantity, span
from fodc_client.output import Json, Output
from fodc_client.suggestions import did_you_mean
from fodc_client.ways import way_of
from fodc_protocol.times import format_rfc3339, format_rfc3339_ms, parse_rfc3339_ms

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
            fodc windows banyandb-data-0 banyandb_system_disk --label kind=used -o json
            fodc windows banyandb-data-0-window-20261129T030000Z.om.gz go_goroutines""",
        run=run,
    )
    node = parser.add_argument("node", metavar="NODE", help="the node, or a captured window's file")
    completed(node, completing.nodes)
    metric = parser.add_argument("metric", metavar="METRIC", help="exact name of the samples")
    completed(metric, completing.metrics)
    parser.add_argument(
        "--since",
        type=duration,
        metavar="TIME",
        help="how far back, such as 10m (default: all that the flight recorder holds)",
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
        "--limit", type=positive, default=4, metavar="N", help="series to draw (default: 4)"
    )


async def run(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Draw the series, or give their points."""
    if args.node.endswith(window_files.SUFFIX):
        return _of_file(args, output)
    start = "" if args.since is None else format_rfc3339(int(time.time() - args.since))
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        await client.cluster(node=args.node)  # an unknown node is told with names that come close
        answer = await client.windows(args.node, start=start)
    found = matching(answer.series, args.metric, dict(args.label))
    if not found:
        raise absence(answer.series, answer.coverage, args)
    return _show(found, args, output)


def _of_file(args: argparse.Namespace, output: Output) -> ExitCode:
    """Draw what a captured window holds; needs no proxy."""
    if args.since is not None:
        raise BadUsageError("--since is for a node: a captured window is drawn whole")
    series = window_files.read_window(Path(args.node), args.metric)
    found = matching(series, args.metric, dict(args.label))
    if not found:
        raise absence(series, Coverage(asked=1, answered=1, missing=()), args)
    return _show(found, args, output)


def _show(found: Sequence[WindowSeries], args: argparse.Namespace, output: Output) -> ExitCode:
    if not output.format.is_table:
        output.document(document_of(found, rate=args.rate))
        return ExitCode.OK
    _draw(found, args, output)
    return ExitCode.OK


def _draw(found: Sequence[WindowSeries], args: argparse.Namespace, output: Output) -> None:
    shown = found[: args.limit]
    times = extent_of(shown)
    for series in shown:
        output.lines(_drawn(series, times, args, output))
    held_s = times[1] - times[0]
    if args.since is not None and held_s < 0.9 * args.since:
        output.message(f"the window holds {span(held_s)} of the {span(args.since)} asked for")
    if len(found) > args.limit:
        more = len(found) - args.limit
        output.message(
            f"{more} more series {'is' if more == 1 else 'are'} not drawn; narrow with --label "
            "or raise --limit"
        )


def _drawn(
    series: WindowSeries, times: tuple[float, float], args: argparse.Namespace, output: Output
) -> list[str]:
    width = max(20, min(_WIDEST, output.columns or 80) - 14)
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
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
    series: Sequence[WindowSeries], metric: str, labels: Mapping[str, str]
) -> list[WindowSeries]:
    """Return the series of one metric with the given labels, ordered by labels."""
    found = [
        each for each in series if each.name == metric and labels.items() <= each.labels.items()
    ]
    return sorted(found, key=lambda each: sorted(each.labels.items()))


def absence(
    series: Sequence[WindowSeries], coverage: Coverage, args: argparse.Namespace
) -> ClientError:
    """Return the error that says why there is nothing to draw and what to try."""
    if coverage.missing or not coverage.answered:
        return ClientError(f"{args.node} did not answer; see: fodc doctor")
    names = sorted({each.name for each in series})
    if args.metric in names:
        return NotFoundError(f"{args.node}: {args.metric} has no series with these labels")
    span_ = "its window" if args.since is None else f"the last {span(args.since)}"
    said = f"{args.node}: no samples of {args.metric} in {span_}."
    return NotFoundError(f"{said} {did_you_mean(args.metric, names) or _some(names)}")


def _some(names: Sequence[str]) -> str:
    if not names:
        return "It has no samples at all."
    return f"It has {counted(len(names), 'metric')}, such as {', '.join(names[:3])}."


def extent_of(series: Sequence[WindowSeries]) -> tuple[float, float]:
    """Return the first and the last time of any point, in seconds since 1970."""
    times = [time for each in series for time, _ in values_of(each, rate=False)]
    return (min(times), max(times)) if times else (0.0, 0.0)


def values_of(series: WindowSeries, *, rate: bool) -> list[charts.PlotPoint]:
    """Return the points to draw; what JSON has no number for is left out."""
    points = [
        (parse_rfc3339_ms(point.timestamp) / 1000, float(point.value))
        for point in series.data
        if not isinstance(point.value, str)
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
