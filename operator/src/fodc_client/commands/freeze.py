# SPDX-License-Identifier: Apache-2.0
"""`fodc freeze`: every node's window around one instant, as one request with one end."""

import argparse
import time
from typing import TYPE_CHECKING, Final

from fodc_client.arguments import Settings, add_directory, add_verb, duration
from fodc_client.commands import SUMMARIES, capture
from fodc_client.errors import BadUsageError, ExitCode
from fodc_client.output import Output
from fodc_protocol.profiles import Profile
from fodc_protocol.times import format_rfc3339_ms, parse_rfc3339_ms

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers

_PARALLELISM: Final = 16


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verb."""
    parser = add_verb(
        verbs,
        "freeze",
        summary=SUMMARIES["freeze"],
        examples="""
            fodc freeze --output-dir evidence
            fodc freeze --at 2026-11-29T03:00:00Z --before 30m --after 5m
            fodc freeze --role data --config --purpose "writes stall"
            fodc windows evidence/banyandb-data-0-window-20261129T030000Z.om.gz go_goroutines""",
        run=run,
    )
    capture.add_targets(parser)
    group = parser.add_argument_group("what")
    group.add_argument(
        "--at", type=capture.instant, metavar="TIME", help="the instant (default: now)"
    )
    group.add_argument(
        "--before",
        type=duration,
        metavar="TIME",
        help="how long before it (default: all that the flight recorders hold)",
    )
    group.add_argument("--after", type=duration, metavar="TIME", help="how long after it")
    group.add_argument("--config", action="store_true", help="keep each node's settings as well")
    group.add_argument("--purpose", default="", metavar="TEXT", help="why, for the record")
    group.add_argument(
        "--no-wait", action="store_true", help="only create the request and say its id"
    )
    add_directory(group)


async def run(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Create one request of windows for all chosen nodes, all nodes where none were chosen."""
    return await capture.run(as_capture(args, time.time()), settings, output)


def as_capture(args: argparse.Namespace, now_s: float) -> argparse.Namespace:
    """Return the options of `fodc capture` that mean the same.

    Raises BadUsageError for --after without --at and for an end that has not come.
    """
    if args.after and not args.at:
        raise BadUsageError("--after needs --at: nothing has come after now")
    chosen = args.node or args.role or args.tier
    return argparse.Namespace(
        profiles=[Profile.WINDOW, *([Profile.CONFIG] if args.config else [])],
        node=args.node,
        role=args.role,
        tier=args.tier,
        all=args.all or not chosen,
        include_offline=args.include_offline,
        seconds=None,
        gc=False,
        end=_end_of(args, now_s),
        span=args.before + (args.after or 0) if args.before else None,
        parallelism=_PARALLELISM,
        purpose=args.purpose,
        output_dir=args.output_dir,
        top=0,
        folded=False,
        no_wait=args.no_wait,
    )


def _end_of(args: argparse.Namespace, now_s: float) -> str | None:
    if not args.at:
        return None
    end_ms = parse_rfc3339_ms(args.at) + round(1000 * (args.after or 0))
    if end_ms > now_s * 1000:
        left_s = end_ms / 1000 - now_s
        raise BadUsageError(f"--at: the end has not come yet; ask again in {left_s:.0f} s")
    return format_rfc3339_ms(end_ms)
