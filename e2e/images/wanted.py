# SPDX-License-Identifier: Apache-2.0
"""What the images are called and made of, and the commands that make them; nothing is run here.

The one idea: every command is a value and every archive is named after all that goes into it, so
what was built once is taken again, and nothing stale ever is; but for what Debian has mended since
the base was made, which comes when the base is removed (`buildah rmi`, see FODC_PYTHON_IMAGE too).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
VERSION: Final = "0.1.0"
PYTHON_IMAGE: Final = "docker.io/library/python:3.11-slim"
PYTHON_IMAGE_VARIABLE: Final = "FODC_PYTHON_IMAGE"
SUITE: Final = "bookworm"
PACKAGES: Final = ("python3", "python3-venv", "python3-pip", "ca-certificates")
"""What a base of Debian needs beside the essential packages."""
_FILES: Final = (
    ".dockerignore",
    "pyproject.toml",
    "constraints.txt",
    "README.md",
    "LICENSE",
    "e2e/images/sbom.py",
)
_TREES: Final = ("proto/src", "agent/src", "operator/src")


@dataclass(frozen=True, slots=True)
class Image:
    """One image and the folder of its Dockerfile."""

    name: str
    folder: str

    @property
    def reference(self) -> str:
        """Name and tag, as the manifests write them."""
        return f"{self.name}:{VERSION}"

    @property
    def dockerfile(self) -> str:
        """Path of its Dockerfile below the root."""
        return f"{self.folder}/Dockerfile"


OPERATOR: Final = Image("banyandb-fodc-operator", "operator")
AGENT: Final = Image("banyandb-fodc-agent", "agent")
IMAGES: Final = (OPERATOR, AGENT)


# ---- what goes in -----------------------------------------------------------------------------


def digest(image: Image, base: str, root: Path = ROOT) -> str:
    """Return a short hash of everything that decides what is in an image built on this base."""
    found = hashlib.sha256(f"{image.reference}\0{base}\0".encode())
    for path in sorted(_inputs(image, root)):
        found.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _inputs(image: Image, root: Path) -> Iterator[Path]:
    yield root / image.dockerfile
    yield from (root / name for name in _FILES)
    for tree in _TREES:
        yield from (path for path in (root / tree).rglob("*") if _is_input(path))


def _is_input(path: Path) -> bool:
    """Leave out what .dockerignore leaves out."""
    made = any(part == "__pycache__" or part.endswith(".egg-info") for part in path.parts)
    return path.is_file() and not made


def base_name() -> str:
    """Return the name of the base that is made of Debian's packages, by what goes into it."""
    recipe = " ".join((*bootstrap(Path("base.tar")), BASE_DOCKERFILE))
    return f"{_OWN_BASE}{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"


# ---- commands ---------------------------------------------------------------------------------

BASE_DOCKERFILE: Final = "FROM scratch\nADD base.tar /\n"
_OWN_BASE: Final = "localhost/banyandb-fodc-base:"
_KEPT: Final = "docker.io/library"
"""Where archives say that they are from, as those of Docker do."""


def bootstrap(target: Path) -> list[str]:
    """Return how Debian makes the files of a base."""
    include = f"--include={','.join(PACKAGES)}"
    return ["mmdebstrap", "--quiet", "--variant=minbase", include, SUITE, str(target)]


def buildah(
    arguments: Sequence[str], dockerfile: str, tag: str, mounts: Iterable[tuple[Path, str]] = ()
) -> list[str]:
    """Return how buildah builds without a daemon; mounts are seen while it builds only."""
    volumes = [f"--volume={source}:{at}:ro" for source, at in mounts]
    fixed = ["buildah", "bud", "--quiet", "--isolation=chroot", "--format=docker"]
    return [*fixed, *volumes, *arguments, f"--file={dockerfile}", f"--tag={tag}", "."]


def is_own(base: str) -> bool:
    """Say whether a base is made here, and so is in no registry."""
    return base.startswith(_OWN_BASE)


def buildah_image(image: Image, base: str, mounts: Iterable[tuple[Path, str]]) -> list[str]:
    """Return how buildah builds an image."""
    # No registry has ours; of another base the newest is taken, or what is here.
    never = ["--pull-never"] if is_own(base) else []
    argument = f"--build-arg=PYTHON_IMAGE={base}"
    return buildah([*never, argument], image.dockerfile, f"localhost/{image.reference}", mounts)


def buildah_save(image: Image, path: Path) -> list[str]:
    """Return how buildah writes an archive as `docker save` does."""
    target = f"docker-archive:{path}:{_KEPT}/{image.reference}"
    return ["buildah", "push", "--quiet", f"localhost/{image.reference}", target]


def docker_image(image: Image, base: str) -> list[str]:
    """Return how Docker builds an image."""
    argument = f"--build-arg=PYTHON_IMAGE={base}"
    return [
        "docker",
        "build",
        argument,
        f"--file={image.dockerfile}",
        f"--tag={image.reference}",
        ".",
    ]


def docker_save(image: Image, path: Path) -> list[str]:
    """Return how Docker writes an archive."""
    return ["docker", "save", f"--output={path}", image.reference]


def docker_load(archive: Path) -> list[str]:
    """Return how Docker takes an archive."""
    return ["docker", "load", f"--input={archive}"]


def pushes(builder: str, image: Image, archive: Path, registry: str) -> list[list[str]]:
    """Return the commands that bring an archive into a registry, such as host:5000/team.

    The archive is loaded first: what the builder has by this name may be of another checkout.
    """
    target = f"{registry}/{image.reference}"
    if builder == "buildah":
        return [
            ["buildah", "pull", "--quiet", f"docker-archive:{archive}"],
            ["buildah", "push", f"{_KEPT}/{image.reference}", f"docker://{target}"],
        ]
    return [
        docker_load(archive),
        ["docker", "tag", image.reference, target],
        ["docker", "push", target],
    ]
