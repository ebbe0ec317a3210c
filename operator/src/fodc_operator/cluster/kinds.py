# SPDX-License-Identifier: Apache-2.0
"""The kinds of objects that the operator touches, and where the API server keeps them."""

from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import quote

GROUP: Final = "fodc.banyandb.dev"
VERSION: Final = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Place:
    """Group, version, plural and kind of a resource; the core group is empty."""

    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool = True

    @property
    def api_version(self) -> str:
        """What `apiVersion` of an object says."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Return the URL path of a collection, an object or a part of it.

        None is every namespace; for a kind without namespaces what is given is left out.
        """
        within = f"namespaces/{quote(namespace, safe='')}" if namespace else ""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root, within if self.is_namespaced else "", self.plural, quote(name, safe="")]
        return "/".join(part for part in (*parts, subresource) if part)


class Kind(Enum):
    """Each has its place."""

    FODC_NODE = Place(GROUP, VERSION, "fodcnodes", "FodcNode")
    DIAGNOSTIC_REQUEST = Place(GROUP, VERSION, "diagnosticrequests", "DiagnosticRequest")
    FODC_INJECTION = Place(GROUP, VERSION, "fodcinjections", "FodcInjection")
    POD = Place("", "v1", "pods", "Pod")
    NAMESPACE = Place("", "v1", "namespaces", "Namespace", is_namespaced=False)
    NODE = Place("", "v1", "nodes", "Node", is_namespaced=False)
    SECRET = Place("", "v1", "secrets", "Secret")
    CONFIG_MAP = Place("", "v1", "configmaps", "ConfigMap")
    SERVICE_ACCOUNT = Place("", "v1", "serviceaccounts", "ServiceAccount")
    STATEFUL_SET = Place("apps", "v1", "statefulsets", "StatefulSet")
    DEPLOYMENT = Place("apps", "v1", "deployments", "Deployment")
    EVENT = Place("events.k8s.io", "v1", "events", "Event")
    MUTATING_WEBHOOK_CONFIGURATION = Place(
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        is_namespaced=False,
    )
