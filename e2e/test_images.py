# SPDX-License-Identifier: Apache-2.0
"""Both images are built and started as the manifests start them: no root, nothing writable.

Needs a container builder with a daemon; FODC_PYTHON_IMAGE names another base image.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASE = os.environ.get("FODC_PYTHON_IMAGE", "docker.io/library/python:3.11-slim")
RESTRICTED = (
    "--read-only",
    "--user=65532:65532",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--network=none",
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=ROOT
    )


@pytest.fixture(scope="module")
def builder() -> str:
    """A builder that works and has the base image, or a skip that says what is missing."""
    reasons = ["no docker or podman"]
    for name in ("docker", "podman"):
        if shutil.which(name) is None:
            continue
        if run(name, "info").returncode != 0:
            reasons.append(f"{name} has no daemon")
        elif run(name, "pull", "--quiet", BASE, timeout_s=300).returncode != 0:
            reasons.append(f"{name} cannot pull {BASE} (FODC_PYTHON_IMAGE names another)")
        else:
            return name
    pytest.skip(f"NO IMAGES BUILT: {'; '.join(reasons)}")


@pytest.mark.parametrize(
    ("program", "folder"), [("fodc-operator", "operator"), ("fodc-agent", "agent")]
)
def test_an_image_is_built_and_starts_restricted(builder: str, program: str, folder: str) -> None:
    tag = f"banyandb-fodc-test/{folder}:e2e"
    built = run(
        builder,
        "build",
        f"--build-arg=PYTHON_IMAGE={BASE}",
        f"--file={folder}/Dockerfile",
        f"--tag={tag}",
        ".",
        timeout_s=600,
    )
    assert built.returncode == 0, built.stderr[-4000:]
    try:
        started = run(builder, "run", "--rm", *RESTRICTED, tag, "--version")
    finally:
        run(builder, "rmi", "--force", tag)

    assert (started.returncode, started.stdout.split()[0]) == (0, program)
