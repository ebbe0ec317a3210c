# SPDX-License-Identifier: Apache-2.0
"""The Dockerfiles as files: an exchangeable base, no root, all that the programs are made of."""

import re
import tomllib

import pytest

from bench.figures import MALLOC
from tests.manifests.schemas import ROOT

FILES = {name: (ROOT / name / "Dockerfile").read_text() for name in ("agent", "operator")}
each_file = pytest.mark.parametrize("name", FILES)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@each_file
def test_the_base_image_is_an_argument_of_every_stage(name: str) -> None:
    assert re.findall(r"^FROM (\S+)", FILES[name], re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2
    assert re.findall(r"^ARG (\w+)", FILES[name], re.MULTILINE) == ["PYTHON_IMAGE"]


@each_file
def test_the_label_says_the_version_of_the_distribution(name: str) -> None:
    (told,) = re.findall(r'image\.version="(\S+)"', FILES[name])

    assert told == PROJECT["project"]["version"]


@each_file
def test_the_program_runs_without_root_by_number(name: str) -> None:
    """Kubernetes cannot tell that a user with a name is not root."""
    assert re.findall(r"^USER (\S+)", FILES[name], re.MULTILINE) == ["65532:65532"]


@each_file
def test_the_started_program_and_the_extra_exist(name: str) -> None:
    (program,) = re.findall(r'^ENTRYPOINT \["(\S+)"\]', FILES[name], re.MULTILINE)
    (extra,) = re.findall(r"'\.\[(\w+)\]'", FILES[name])

    assert program in PROJECT["project"]["scripts"]
    assert extra in PROJECT["project"]["optional-dependencies"]


@each_file
def test_every_source_folder_of_the_distribution_is_copied_and_let_through(name: str) -> None:
    where = PROJECT["tool"]["setuptools"]["packages"]["find"]["where"]
    copied = re.findall(r"^COPY (\S+/src) \1$", FILES[name], re.MULTILINE)
    ignore = (ROOT / ".dockerignore").read_text().splitlines()

    assert copied == where
    assert [folder for folder in where if f"!{folder}" not in ignore] == []


@each_file
def test_a_program_gives_memory_back_as_it_was_measured(name: str) -> None:
    assert dict(re.findall(r"(MALLOC_\w+)=(\d+)", FILES[name])) == MALLOC


def test_the_agents_image_is_rid_of_the_packages_of_the_others_and_of_no_other() -> None:
    gone = set(re.findall(r"\bfodc_\w+", FILES["agent"]))
    others = {path.name for path in (ROOT / "operator" / "src").iterdir() if path.is_dir()}

    assert gone == {name for name in others if name.startswith("fodc_")} | {"fodc_api"}
    programs = PROJECT["project"]["scripts"]
    (removed,) = re.findall(r"rm -f ((?:[-\w]*fodc[-\w]*\s(?:\\\s+)?)+)", FILES["agent"])
    assert set(removed.replace("\\", "").split()) == set(programs) - {"fodc-agent"}
