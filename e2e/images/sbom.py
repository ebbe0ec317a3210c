# SPDX-License-Identifier: Apache-2.0
"""Write what an image is made of as CycloneDX 1.5, from the distributions that are installed.

The one idea: it runs where the image is built, by a plain Python, and says nothing that depends on
the time, so equal images have equal lists.

    python3 sbom.py NAME SITE_PACKAGES > FILE
"""

import json
import platform
import sys
from importlib.metadata import Distribution, distributions
from typing import Any

_LONGEST_LICENSE = 100
"""Some put the whole text into the field that is for a name."""


def license_of(told: Any) -> list[dict[str, Any]]:
    """Return the license of a distribution as CycloneDX writes it, nothing where none is told."""
    if expression := told.get("License-Expression"):
        return [{"expression": expression}]
    name = told.get("License") or ""
    if name and len(name) < _LONGEST_LICENSE and "\n" not in name:
        return [{"license": {"name": name}}]
    words = [one for one in told.get_all("Classifier", []) if one.startswith("License ::")]
    return [{"license": {"name": one.rpartition(" :: ")[2]}} for one in words]


def component_of(one: Distribution) -> dict[str, Any]:
    """Return one distribution as a component."""
    name = one.metadata["Name"].lower().replace("_", "-")
    purl = f"pkg:pypi/{name}@{one.version}"
    found = {"type": "library", "bom-ref": purl, "name": name, "version": one.version, "purl": purl}
    if licenses := license_of(one.metadata):
        found["licenses"] = licenses
    return found


def bill_of(image: str, folder: str) -> dict[str, Any]:
    """Return the bill of materials of an image whose packages are in a folder."""
    found = [component_of(one) for one in distributions(path=[folder])]
    python = {"type": "platform", "name": "cpython", "version": platform.python_version()}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": image}},
        "components": [python, *sorted(found, key=lambda component: str(component["name"]))],
    }


if __name__ == "__main__":
    json.dump(bill_of(*sys.argv[1:]), sys.stdout, indent=1)
