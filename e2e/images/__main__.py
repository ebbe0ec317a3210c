# SPDX-License-Identifier: Apache-2.0
"""Build both images: `make images`, with PUSH=host/team also bring them into a registry."""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from e2e.commands import CommandError, end_with, heed_signals, run_long, say_as
from e2e.images import building, wanted

PUSH_DEADLINE_S = 900.0
_say = say_as("images")


def main(arguments: list[str]) -> int:
    """Build what is missing and print the archives; 1 when that is not possible."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m e2e.images")
    parser.add_argument(
        "--push",
        metavar="REGISTRY",
        default="",
        help="where to push, such as registry.example.com/fodc",
    )
    heed_signals()
    registry = parser.parse_args(arguments).push.rstrip("/")
    began = time.monotonic()
    try:
        archives = building.built()
        if registry:
            _push(registry, archives)
    except (building.ImagesError, CommandError) as error:
        _say(str(error))
        return 1
    _say(f"ready after {time.monotonic() - began:.0f} s")
    for image, path in archives.items():
        print(f"{image.reference}  {path.stat().st_size / 2**20:.0f} MiB  {path}")
        print(f"  what it is made of: {building.sbom_beside(path)}")
    if not registry:
        _say("into a registry: make images PUSH=host/team; into Docker: docker load --input FILE")
    return 0


def _push(registry: str, archives: Mapping[wanted.Image, Path]) -> None:
    builder = building.find_builder()
    for image, archive in archives.items():
        _say(f"pushing {registry}/{image.reference} …")
        for command in wanted.pushes(builder.name, image, archive, registry):
            run_long(command, f"pushing {image.name}", _say, deadline_s=PUSH_DEADLINE_S)


if __name__ == "__main__":
    end_with(lambda: main(sys.argv[1:]))
