# SPDX-License-Identifier: Apache-2.0
"""Build both images with Docker where its daemon answers, else with buildah on a base of Debian.

The one idea: a builder is found once and told by name; archives are kept in the user's cache under
a hash of all that went in, so a second run only looks.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e.commands import CommandError, cache_root, end_running, locked, run_long, say_as
from e2e.images import wanted
from e2e.images.contents import contents_of
from e2e.images.wanted import IMAGES, ROOT, Image

BUILD_DEADLINE_S: Final = 1500.0
PROBE_DEADLINE_S: Final = 20.0
KEPT_S: Final = 86_400.0
"""How long an archive is kept that nobody asks for: other checkouts ask for theirs."""
_CERTIFICATES: Final = Path("/etc/ssl/certs")
_FORWARDED: Final = (
    "cert",
    "index-url",
    "extra-index-url",
    "trusted-host",
    "default-timeout",
    "timeout",
)
"""Settings of pip that a build needs where the machine needs them."""
_say = say_as("images")


class ImagesError(Exception):
    """The images cannot be built here; the text says what is missing or what failed."""


@dataclass(frozen=True, slots=True)
class Builder:
    """A program that builds here, and the image of Python that it builds on."""

    name: str
    base: str


def find_builder() -> Builder:
    """Return what can build on this machine; raises ImagesError with all reasons."""
    given = os.environ.get(wanted.PYTHON_IMAGE_VARIABLE, "")
    reasons = []
    if shutil.which("docker") is None:
        reasons.append("no docker")
    elif not _succeeds("docker", "info"):
        reasons.append("docker has no daemon that answers")
    else:
        return Builder("docker", given or wanted.PYTHON_IMAGE)
    absent = [name for name in ("buildah", "mmdebstrap") if shutil.which(name) is None]
    if absent == ["mmdebstrap"] and given:
        absent = []
    if not absent:
        return Builder("buildah", given or wanted.base_name())
    reasons.append(f"no {' and no '.join(absent)} (packages of these names)")
    raise ImagesError("; ".join(reasons))


def built() -> dict[Image, Path]:
    """Return the archive of each image, building what the cache does not have.

    Raises ImagesError when there is no builder or a build fails.
    """
    builder = find_builder()
    archives = {image: _archive(builder, image) for image in IMAGES}
    if not all(path.exists() for path in archives.values()):
        folder = archives[IMAGES[0]].parent
        with locked(folder / "lock", _say):
            _build(builder, {i: p for i, p in archives.items() if not p.exists()})
            _forget_unused(folder, archives.values())
    for path in archives.values():
        path.touch()
    return archives


def known(image: Image) -> Path:
    """Return where the archive of an image is, or would be; raises ImagesError."""
    return _archive(find_builder(), image)


def sbom_beside(archive: Path) -> Path:
    """Return where the list of an archive's contents is."""
    return archive.with_suffix(".cdx.json")


def _archive(builder: Builder, image: Image) -> Path:
    digest = wanted.digest(image, f"{builder.name} {builder.base} {platform.machine()}")
    return cache_root() / "images" / f"{image.name}-{digest}.tar"


# ---- building ---------------------------------------------------------------------------------


def _build(builder: Builder, missing: dict[Image, Path]) -> None:
    """Build them side by side: each waits for the network half of its time."""
    _say(f"building with {builder.name} on {builder.base}")
    try:
        if builder.base == wanted.base_name():
            _make_base(builder.base)
        with tempfile.TemporaryDirectory(prefix="fodc-images-") as scratch:
            mounts = _mounts(Path(scratch)) if builder.name == "buildah" else []
            with ThreadPoolExecutor() as pool:
                jobs = [
                    pool.submit(_build_one, builder, image, path, mounts)
                    for image, path in missing.items()
                ]
                try:
                    for job in jobs:
                        job.result()
                except BaseException:
                    end_running()
                    raise
    except CommandError as error:
        raise ImagesError(f"building the images failed:\n{error}") from None


def _build_one(
    builder: Builder, image: Image, archive: Path, mounts: list[tuple[Path, str]]
) -> None:
    scratch = archive.with_suffix(f".part-{os.getpid()}")
    if builder.name == "docker":
        commands = [wanted.docker_image(image, builder.base), wanted.docker_save(image, scratch)]
    else:
        build = wanted.buildah_image(image, builder.base, mounts)
        commands = [build, wanted.buildah_save(image, scratch)]
    try:
        for command in commands:
            run_long(command, image.name, _say, deadline_s=BUILD_DEADLINE_S, cwd=ROOT)
        sbom_beside(archive).write_bytes(contents_of(scratch).sbom)
        scratch.replace(archive)
    finally:
        scratch.unlink(missing_ok=True)
    _say(f"built {image.reference}")


def _forget_unused(folder: Path, wanted_now: Iterable[Path]) -> None:
    """Remove archives that nobody has asked for of late, and what builds that were killed left.

    They are large, and every change of the sources makes others.
    """
    for part in folder.glob("*.part-*"):
        part.unlink()
    for archive in set(folder.glob("*.tar")) - set(wanted_now):
        if time.time() - archive.stat().st_mtime > KEPT_S:
            archive.unlink()
            sbom_beside(archive).unlink(missing_ok=True)


def _make_base(name: str) -> None:
    """Make the base once: Debian's own packages, fetched and unpacked."""
    if _succeeds("buildah", "inspect", "--type=image", name):
        return
    _say("a base of Debian's packages, once (about two minutes) …")
    with tempfile.TemporaryDirectory(prefix="fodc-base-") as folder:
        tar, dockerfile = Path(folder) / "base.tar", Path(folder) / "Dockerfile"
        run_long(wanted.bootstrap(tar), "the base", _say, deadline_s=BUILD_DEADLINE_S)
        dockerfile.write_text(wanted.BASE_DOCKERFILE)
        command = wanted.buildah([], str(dockerfile), name)
        run_long(command, "the base", _say, deadline_s=BUILD_DEADLINE_S, cwd=Path(folder))


# ---- what this machine needs to reach its package index -----------------------------------------


def _mounts(folder: Path) -> list[tuple[Path, str]]:
    """Return what a build sees of this machine: its certificates and how its pip is set up."""
    settings = _pip_settings()
    if not settings:
        return []
    lines = [f"{name} = {text}" for name, text in settings.items()]
    path = folder / "pip.conf"
    path.write_text("\n".join(["[global]", *lines, ""]))
    return [(path, "/etc/pip.conf"), (_CERTIFICATES, str(_CERTIFICATES))]


def _pip_settings() -> dict[str, str]:
    """Return the settings of this machine's pip that are about where packages come from."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = {}
    for line in answer.stdout.splitlines():
        name, _, text = line.partition("=")
        key = name.rpartition(".")[2]
        if key in _FORWARDED:
            found[key] = shlex.split(text)[0]
    return found


def _succeeds(*command: str) -> bool:
    try:
        answer = subprocess.run(command, capture_output=True, timeout=PROBE_DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0
