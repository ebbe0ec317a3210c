# SPDX-License-Identifier: Apache-2.0
"""Kinds of objects and where the API server keeps them; whoever has kinds of its own adds them."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Kind:
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


POD: Final = Kind("", "v1", "pods", "Pod")
NAMESPACE: Final = Kind("", "v1", "namespaces", "Namespace", is_namespaced=False)
NODE: Final = Kind("", "v1", "nodes", "Node", is_namespaced=False)
SECRET: Final = Kind("", "v1", "secrets", "Secret")
CONFIG_MAP: Final = Kind("", "v1", "configmaps", "ConfigMap")
SERVICE_ACCOUNT: Final = Kind("", "v1", "serviceaccounts", "ServiceAccount")
STATEFUL_SET: Final = Kind("apps", "v1", "statefulsets", "StatefulSet")
DEPLOYMENT: Final = Kind("apps", "v1", "deployments", "Deployment")
EVENT: Final = Kind("events.k8s.io", "v1", "events", "Event")
LEASE: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")
TOKEN_REVIEW: Final = Kind(
    "authentication.k8s.io", "v1", "tokenreviews", "TokenReview", is_namespaced=False
)
SUBJECT_ACCESS_REVIEW: Final = Kind(
    "authorization.k8s.io",
    "v1",
    "subjectaccessreviews",
    "SubjectAccessReview",
    is_namespaced=False,
)
MUTATING_WEBHOOK_CONFIGURATION: Final = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    is_namespaced=False,
)
