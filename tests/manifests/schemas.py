# SPDX-License-Identifier: Apache-2.0
"""CRD files and their examples as tests read them, without a server."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "crds"
EXAMPLES = sorted(CRDS.glob("examples/*/*.yaml"))
"""What people apply, one folder per use."""
READ_BACK = sorted((Path(__file__).parent / "read_back").glob("*.yaml"))
"""Objects with a status, as the server holds them."""
IMPLIED = frozenset({"apiVersion", "kind", "metadata"})


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a schema; a list's items have `[]` in their path, a map's values `{}`."""

    path: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One custom resource definition."""

    document: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.document["spec"]["names"]["kind"])

    @property
    def version(self) -> dict[str, Any]:
        (version,) = self.document["spec"]["versions"]
        return dict(version)

    @property
    def schema(self) -> dict[str, Any]:
        return dict(self.version["schema"]["openAPIV3Schema"])

    def fields(self) -> list[Field]:
        """Every field below the root that we define."""
        return [f for f in walk(self.schema, "") if f.path.split(".")[1] not in IMPLIED]

    def examples(self) -> list[tuple[Path, dict[str, Any]]]:
        """The example files of this kind, and how it is read back."""
        return [(path, document) for path, document in read() if document["kind"] == self.name]


@functools.cache
def read() -> list[tuple[Path, dict[str, Any]]]:
    """All examples; nobody changes what is told."""
    return [(path, yaml.safe_load(path.read_text())) for path in (*EXAMPLES, *READ_BACK)]


@functools.cache
def kinds() -> list[Kind]:
    """Every CRD of the folder; nobody changes what is told."""
    documents = [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yaml"))]
    return [Kind(d) for d in documents if d["kind"] == "CustomResourceDefinition"]


def walk(schema: dict[str, Any], path: str) -> Iterator[Field]:
    """Each field below a schema, parents first."""
    if path:
        yield Field(path, schema)
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from walk(schema["additionalProperties"], f"{path}{{}}")


def paths_in(value: object, schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """The paths of the schema that a value uses."""
    if path:
        yield path
    if isinstance(value, list):
        for item in value:
            yield from paths_in(item, schema["items"], f"{path}[]")
    elif isinstance(value, dict) and "additionalProperties" in schema:
        for item in value.values():
            yield from paths_in(item, schema["additionalProperties"], f"{path}{{}}")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from paths_in(item, schema.get("properties", {}).get(name, {}), f"{path}.{name}")


def errors(value: object, schema: dict[str, Any]) -> list[str]:
    """What is wrong with a value; unknown fields are wrong too."""
    validator = jsonschema_rs.Draft7Validator(closed(schema))
    return [f"{list(e.instance_path)}: {e.message}" for e in validator.iter_errors(value)]


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with no field beyond those that it names, metadata excepted."""
    copy = {key: value for key, value in schema.items() if not key.startswith("x-")}
    if "properties" in schema:
        copy["properties"] = {name: closed(child) for name, child in schema["properties"].items()}
        copy["additionalProperties"] = False
    if "items" in schema:
        copy["items"] = closed(schema["items"])
    return copy
