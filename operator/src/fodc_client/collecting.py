# SPDX-License-Identifier: Apache-2.0
"""From a request that ended to files on this machine, and to the exit code that it deserves.

The one idea: only a profile that was taken, is not empty and lies here whole counts as a success;
everything else is named with its reason and with what to do.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fodc_api.requests import Request, Result, Target
from fodc_api.words import Phase, RequestPhase
from fodc_client import wording
from fodc_client.api import ProxyClient
from fodc_client.downloads import Saved, Wanted, save
from fodc_client.errors import ClientError, ExitCode
from fodc_client.output import Json, Output
from fodc_client.reasons import advice_for, because
from fodc_protocol.errors import Reason

_AT_ONCE: Final = 4


# ---- pure -----------------------------------------------------------------------------------


def wanted_of(request: Request) -> tuple[Wanted, ...]:
    """Return the artifacts of a request in the order of its targets."""
    return tuple(
        Wanted(
            artifact_id=result.artifact_id,
            node_id=target.node_id,
            profile=result.profile,
            size_bytes=result.size_bytes,
            sha256=result.sha256 or "",
            captured_at=target.started_at or request.started_at or request.created_at,
        )
        for target in request.targets
        for result in target.results
        if result.artifact_id and result.phase is Phase.SUCCEEDED
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a person asked for and did not get; no `nodes` means the whole request."""

    nodes: tuple[str, ...]
    profile: str
    phase: str
    reason: str
    message: str

    @property
    def sentence(self) -> str:
        """The problem in words, without advice."""
        who = " ".join(word for word in (", ".join(self.nodes), self.profile, self.phase) if word)
        why = because(self.reason, self.message)
        return f"{who}: {why}" if why else who


def problems_of(request: Request) -> tuple[Problem, ...]:
    """Return everything of a request that is no success; what nodes have in common stands once."""
    found = [problem for target in request.targets for problem in _of_target(target)]
    fine = {RequestPhase.SUCCEEDED, RequestPhase.CANCELLED}
    if not found and request.phase.ended and request.phase not in fine:
        found.append(Problem((), "", request.phase, request.reason, request.message))
    return _joined(found)


def _joined(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    nodes: dict[Problem, list[str]] = {}
    for problem in problems:
        nodes.setdefault(replace(problem, nodes=()), []).extend(problem.nodes)
    return tuple(replace(problem, nodes=tuple(found)) for problem, found in nodes.items())


def _of_target(target: Target) -> list[Problem]:
    found = [_of_result(target, result) for result in target.results if _is_problem(result)]
    if not found and target.phase.ended and target.phase is not Phase.SUCCEEDED:
        message = wording.of_message(target.message)
        found = [Problem((target.node_id,), "", target.phase, target.reason, message)]
    return found


def _is_problem(result: Result) -> bool:
    return result.phase.ended and (result.phase is not Phase.SUCCEEDED or result.empty)


def _of_result(target: Target, result: Result) -> Problem:
    reason = result.reason or (Reason.EMPTY_PROFILE.value if result.empty else target.reason)
    is_empty = result.empty and result.phase is Phase.SUCCEEDED
    message = result.message or ("" if result.reason or result.empty else target.message)
    return Problem(
        (target.node_id,),
        result.profile,
        "is empty" if is_empty else result.phase,
        reason,
        wording.of_message(message),
    )


def tell(problems: Sequence[Problem], output: Output) -> None:
    """Say each problem, and after those of one reason once what to do about it."""
    for reason in dict.fromkeys(problem.reason for problem in problems):
        for problem in problems:
            if problem.reason == reason:
                output.error(problem.sentence)
        if advice := advice_for(reason):
            output.message(f"  {advice}")


def advise(problems: Sequence[Problem], output: Output) -> None:
    """Say once for each reason what to do; the problems themselves stand in a table already."""
    for reason in dict.fromkeys(problem.reason for problem in problems):
        if advice := advice_for(reason):
            output.message(f"{reason}: {advice}")


def exit_code(request: Request, *, good: int, problems: Sequence[Problem], lost: int) -> ExitCode:
    """Return the code for `good` saved profiles, what was not captured and `lost` downloads."""
    if not problems and not lost and request.phase is RequestPhase.SUCCEEDED:
        return ExitCode.OK
    if good:
        return ExitCode.PARTIAL
    nowhere = {Reason.NOT_FOUND.value, Reason.NO_TARGETS.value}
    if problems and all(problem.reason in nowhere for problem in problems):
        return ExitCode.NOT_FOUND
    return ExitCode.FAILED


def good_files(request: Request, saved: Sequence[Saved]) -> int:
    """Return how many files hold samples."""
    empty = {
        each.artifact_id for target in request.targets for each in target.results if each.empty
    }
    return sum(file.wanted.artifact_id not in empty for file in saved)


def file_document(file: Saved) -> dict[str, Json]:
    """Return a saved file for `-o json`."""
    return {
        "artifact_id": file.wanted.artifact_id,
        "node_id": file.wanted.node_id,
        "profile": file.wanted.profile,
        "path": str(file.path),
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
    }


# ---- fetching -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Harvest:
    """Files that were saved and what could not be."""

    saved: tuple[Saved, ...]
    errors: tuple[str, ...]


async def harvest(
    client: ProxyClient,
    wanted: Sequence[Wanted],
    directory: Path,
    *,
    on_retry: Callable[[str], None],
) -> Harvest:
    """Fetch artifacts, four at a time; one that fails does not stop the others."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(each: Wanted) -> Saved | str:
        async with slots:
            try:
                return await save(client, each, directory, on_retry=on_retry)
            except ClientError as error:
                return str(error)

    results = await asyncio.gather(*(one(each) for each in wanted))
    return Harvest(
        tuple(each for each in results if isinstance(each, Saved)),
        tuple(each for each in results if isinstance(each, str)),
    )
