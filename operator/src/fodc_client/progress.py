# SPDX-License-Identifier: Apache-2.0
"""What a person sees while a request runs: a bar per target on a terminal, lines elsewhere.

The one idea: one pure function says what stands in each row (`rows_of`); the terminal redraws the
rows four times a second, a log gets one line when a state changed and never a bar.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

from fodc_api.requests import Request, Result, Target
from fodc_api.words import Phase
from fodc_client import wording
from fodc_client.formats import size, span
from fodc_client.output import Output
from fodc_client.reasons import because

Show: TypeAlias = Callable[[Request], None]
"""Takes the newest state of a request."""

# ---- pure -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One capture on one node; `share` is 0..1, None where no length is known."""

    node_id: str
    profile: str
    phase: Phase
    share: float | None
    elapsed_s: float
    received_bytes: int
    note: str

    @property
    def ended(self) -> bool:
        """Whether the row will not change any more."""
        return self.phase.ended


def rows_of(request: Request) -> tuple[Row, ...]:
    """Return a row per target and capture; a target without results yet has one per profile."""
    return tuple(row for target in request.targets for row in _rows_of_target(request, target))


def _rows_of_target(request: Request, target: Target) -> tuple[Row, ...]:
    if target.results:
        return tuple(_row(target, result) for result in target.results)
    note = because(target.reason, wording.of_message(target.message))
    return tuple(
        Row(target.node_id, capture.profile, target.phase, None, 0.0, 0, note)
        for capture in request.captures
    )


def _row(target: Target, result: Result) -> Row:
    done = result.phase is Phase.SUCCEEDED
    return Row(
        node_id=target.node_id,
        profile=result.profile,
        phase=result.phase,
        share=1.0 if done else share_of(result.elapsed_seconds, result.duration_seconds),
        elapsed_s=result.elapsed_seconds,
        received_bytes=(result.size_bytes or 0) if done else result.received_bytes,
        note="empty: nothing was sampled"
        if result.empty
        else because(result.reason, wording.of_message(result.message)),
    )


def share_of(elapsed_s: float, duration_s: float) -> float | None:
    """Return how much of the duration is over, None for captures without one."""
    return min(1.0, elapsed_s / duration_s) if duration_s > 0 else None


def later(row: Row, seconds: float, duration_s: float) -> Row:
    """Return a running row as it must look `seconds` after the proxy's last word."""
    if row.phase is not Phase.RUNNING:
        return row
    elapsed_s = row.elapsed_s + seconds
    return replace(row, elapsed_s=elapsed_s, share=share_of(elapsed_s, duration_s))


def line(row: Row) -> str:
    """Return a row as one line of a log; why something failed is told at the end, once."""
    words = [row.node_id, row.profile, row.phase]
    if row.phase is Phase.SUCCEEDED:
        words.append(f"{size(row.received_bytes)} in {span(row.elapsed_s)}")
    return " ".join(words) + (f" ({row.note})" if row.note and not row.ended else "")


def changed_lines(shown: Mapping[tuple[str, str], str], rows: tuple[Row, ...]) -> list[Row]:
    """Return the rows whose phase differs from the one that was shown last."""
    return [
        row
        for row in rows
        if shown.get((row.node_id, row.profile)) != row.phase and row.phase is not Phase.PENDING
    ]


def durations(request: Request) -> dict[tuple[str, str], float]:
    """Return how long each capture was asked to last, by node and profile."""
    return {
        (target.node_id, result.profile): result.duration_seconds
        for target in request.targets
        for result in target.results
    }


# ---- views ----------------------------------------------------------------------------------


@contextmanager
def view_for(output: Output) -> Iterator[Show]:
    """Show a request while it runs: bars on a terminal that can redraw, lines elsewhere."""
    if output.redraws:
        from fodc_client.bars import bars  # noqa: PLC0415 - only what moves pays for rich

        with bars(plain=output.plain) as show:
            yield show
    else:
        yield _lines_to(output)


def _lines_to(output: Output) -> Show:
    """Return what says each change as a line; for files, pipes and simple terminals."""
    shown: dict[tuple[str, str], str] = {}

    def show(request: Request) -> None:
        for row in changed_lines(shown, rows_of(request)):
            shown[row.node_id, row.profile] = row.phase
            output.message(line(row))

    return show
