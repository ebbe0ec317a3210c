# SPDX-License-Identifier: Apache-2.0
"""The images as they are built: nothing to install with inside, and a true list of what is.

K12: no image was built or started by any test; e2e/kubelet starts these.

Needs a builder of images (`make images` says which) and builds where that is allowed.
"""

import functools
import json
import re

import pytest

from e2e.controlplane.build import building_is_permitted
from e2e.images import building
from e2e.images.contents import Contents, contents_of
from e2e.images.wanted import IMAGES, Image

pytestmark = pytest.mark.timeout(1800)
each_image = pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
TOOLS = re.compile(
    r"(?:^|/)(?:pip\d?(?:\.\d+)?|easy_install|ensurepip/__init__\.py|gcc(?:-\d+)?|cc|g\+\+|make|ld|as)$"
)
INSTALLERS = re.compile(r"/(?:site|dist)-packages/(?:pip|setuptools)/")


@functools.cache
def built(image: Image) -> Contents:
    try:
        archive = building.known(image)
    except building.ImagesError as error:
        pytest.skip(f"NO IMAGES: {error}")
    if not archive.exists():
        if not building_is_permitted():
            pytest.skip(f"NO IMAGES: {archive.name} is not built; make images")
        if failure := failure_of_building():
            pytest.fail(failure, pytrace=False)
    return contents_of(archive)


@functools.cache
def failure_of_building() -> str:
    """Build what is missing, once; return why that failed, empty when it did not."""
    try:
        building.built()
    except building.ImagesError as error:
        return str(error)
    return ""


@each_image
def test_nothing_can_be_installed_or_compiled_in_a_container(image: Image) -> None:
    files = built(image).files

    assert [one for one in sorted(files) if TOOLS.search(one)] == []
    assert [one for one in sorted(files) if INSTALLERS.search(one)] == []


@each_image
def test_the_list_of_contents_names_each_distribution_inside(image: Image) -> None:
    found = built(image)
    bill = json.loads(found.sbom)
    listed = {one["name"] for one in bill["components"] if one["type"] == "library"}
    inside = {
        re.sub(r"[-_.]+", "-", match[1]).lower()
        for one in found.files
        if (
            match := re.search(
                r"opt/fodc/lib/[^/]+/site-packages/([^/]+?)-[^-/]+\.dist-info/METADATA", one
            )
        )
    }

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert bill["metadata"]["component"]["name"] == image.name
    assert {re.sub(r"[-_.]+", "-", one) for one in listed} == inside
    assert "banyandb-fodc" in inside


@each_image
def test_the_same_list_is_beside_the_archive(image: Image) -> None:
    contents = built(image)

    assert building.sbom_beside(building.known(image)).read_bytes() == contents.sbom


@each_image
def test_an_image_says_what_it_is_and_is_run_by_nobody_in_particular(image: Image) -> None:
    settings = built(image).settings
    labels = {key.rpartition(".")[2]: text for key, text in settings["Labels"].items()}

    assert settings["User"] == "65532:65532"
    assert (labels["version"], labels["licenses"]) == ("0.1.0", "Apache-2.0")
    assert labels["title"].startswith("FODC ")
