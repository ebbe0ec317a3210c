# SPDX-License-Identifier: Apache-2.0
"""From a request that ended to files on this machine, and to the exit code that it deserves.

The one idea: only a profile that was taken, is not empty and lies here whole counts as a success;
everything else is named with its reason and with what to do.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fodc_client.api import ProxyClient
from fodc_client.downloads import Saved, Wanted, save
from fodc_client.errors import ClientError, ExitCode
from fodc_client.reading import Json
from fodc_client.reasons import because, with_advice
from fodc_client.resources import Request, Result, Target
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
            sha256=result.sha256,
            captured_at=target.started_at or request.started_at or request.created_at,
        )
        for target in request.targets
        for result in target.results
        if result.artifact_id and result.phase == "Succeeded"
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a person asked for and did not get; `node_id` is "" for the whole request."""

    node_id: str
    profile: str
    phase: str
    reason: str
    message: str

    @property
    def sentence(self) -> str:
        """The problem in words, with advice where the reason is known."""
        who = " ".join(word for word in (self.node_id, self.profile, self.phase) if word)
        why = because(self.reason, self.message)
        return with_advice(f"{who}: {why}" if why else who, self.reason)


def problems_of(request: Request) -> tuple[Problem, ...]:
    """Return everything of a request that is no success."""
    found = [problem for target in request.targets for problem in _of_target(target)]
    if not found and request.phase not in {"Succeeded", "Cancelled"}:
        found.append(Problem("", "", request.phase, request.reason, request.message))
    return tuple(found)


def _of_target(target: Target) -> list[Problem]:
    found = [_of_result(target, result) for result in target.results if _is_problem(result)]
    if not found and target.phase != "Succeeded":
        found = [Problem(target.node_id, "", target.phase, target.reason, target.message)]
    return found


def _is_problem(result: Result) -> bool:
    return result.phase != "Succeeded" or result.empty


def _of_result(target: Target, result: Result) -> Problem:
    reason = result.reason or (Reason.EMPTY_PROFILE.value if result.empty else target.reason)
    phase = "is empty" if result.empty and result.phase == "Succeeded" else result.phase
    message = result.message or ("" if result.reason or result.empty else target.message)
    return Problem(target.node_id, result.profile, phase, reason, message)


def exit_code(request: Request, *, good: int, bad: int) -> ExitCode:
    """Return the code for `good` saved profiles and `bad` problems."""
    if bad == 0 and request.phase == "Succeeded":
        return ExitCode.OK
    return ExitCode.PARTIAL if good else ExitCode.FAILED


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
