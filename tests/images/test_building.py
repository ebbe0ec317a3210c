# SPDX-License-Identifier: Apache-2.0
"""Archives of images: whose they are, how long they stay, and what is pushed of them."""

import os
import time
from pathlib import Path

import pytest

from e2e import commands
from e2e.commands import CommandError, run_long
from e2e.images import building, wanted

DAYS_S = 86_400


def archive(folder: Path, name: str, *, days: int) -> Path:
    """Make an archive that was asked for so many days ago, and its list of contents."""
    path = folder / f"banyandb-fodc-agent-{name}.tar"
    path.touch()
    building.sbom_beside(path).touch()
    os.utime(path, times=(0, time.time() - days * DAYS_S))
    return path


def test_an_archive_that_another_checkout_asked_for_today_stays(tmp_path: Path) -> None:
    """Two checkouts took each other's archives away while these were read."""
    ours, theirs = archive(tmp_path, "a", days=9), archive(tmp_path, "b", days=0)
    archive(tmp_path, "c", days=2)
    (tmp_path / "banyandb-fodc-agent-d.part-77").touch()

    building._forget_unused(tmp_path, [ours])

    kept = [ours, building.sbom_beside(ours), theirs, building.sbom_beside(theirs)]
    assert sorted(tmp_path.iterdir()) == sorted(kept)


@pytest.mark.parametrize(
    ("builder", "first"),
    [
        ("buildah", "buildah pull --quiet docker-archive:/kept/agent.tar"),
        ("docker", "docker load --input=/kept/agent.tar"),
    ],
)
def test_what_is_pushed_is_the_archive_whatever_the_builder_has_by_its_name(
    builder: str, first: str
) -> None:
    archive = Path("/kept/agent.tar")
    lines = [" ".join(one) for one in wanted.pushes(builder, wanted.AGENT, archive, "host/team")]

    assert lines[0] == first
    assert "host/team/banyandb-fodc-agent:0.1.0" in lines[-1]


def test_a_command_that_takes_too_long_may_clean_up_behind_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was killed left its mounts and its files."""
    monkeypatch.setattr(commands, "PROGRESS_EVERY_S", 0.05)
    script = "trap 'touch cleaned; exit 1' TERM; touch began; while :; do sleep 0.01; done"

    def is_begun(_: str) -> None:
        while not (tmp_path / "began").exists():
            time.sleep(0.01)

    with pytest.raises(CommandError, match=r"the base did not end within 0\.2 s"):
        run_long(["sh", "-c", script], "the base", is_begun, deadline_s=0.2, cwd=tmp_path)
    assert (tmp_path / "cleaned").exists()
