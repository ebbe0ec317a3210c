# SPDX-License-Identifier: Apache-2.0
"""The kinds of objects that the operator touches, and where the API server keeps them."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

GROUP: Final = "fodc.banyandb.dev"
VERSION: Final = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Place:
    """Group, version, plural and kind of a resource; the core group is empty."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """What `apiVersion` of an object says."""
        return f"{self.group}/{self.version}" if self.group else self.version


class Kind(Enum):
    """All of them are namespaced."""

    FODC_NODE = Place(GROUP, VERSION, "fodcnodes", "FodcNode")
    DIAGNOSTIC_REQUEST = Place(GROUP, VERSION, "diagnosticrequests", "DiagnosticRequest")
    POD = Place("", "v1", "pods", "Pod")
    STATEFUL_SET = Place("apps", "v1", "statefulsets", "StatefulSet")
    EVENT = Place("events.k8s.io", "v1", "events", "Event")
