# SPDX-License-Identifier: Apache-2.0
"""Asks the API server what a caller may: the proxy's port AccessReviewer.

The one idea: each right of the proxy is a verb on one of our own resources, so whoever may do
something with kubectl may do the same through the proxy, and nobody keeps a second list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fodc_api.words import Right
from fodc_kube import kinds
from fodc_kube.client import Cluster
from fodc_kube.errors import ClusterError
from fodc_operator.access.token_reviews import DEADLINE_S
from fodc_proxy.access.access_reviews import Allowed, Decision
from fodc_proxy.access.answers import Away, Denied
from fodc_proxy.access.callers import Caller
from fodc_webhook.kinds import GROUP


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb on one of our resources, or on a path when it begins with a slash."""

    verb: str
    on: str

    def __str__(self) -> str:
        """Return it as RBAC is spoken of."""
        return f"{self.verb} on {self.on}"

    def attributes(self, namespace: str) -> Mapping[str, object]:
        """Return the part of a SubjectAccessReview that asks for it."""
        if self.on.startswith("/"):
            return {"nonResourceAttributes": {"verb": self.verb, "path": self.on}}
        resource, _, part = self.on.partition("/")
        asked = {"group": GROUP, "resource": resource, "verb": self.verb}
        more = {"subresource": part, "namespace": namespace}
        return {"resourceAttributes": {**asked, **{k: v for k, v in more.items() if v}}}


_VIEW: Final = Verb("list", "fodcnodes")
# Any one of them is enough; the first is the one that a refusal names, with the role that has it.
VERBS: Final[Mapping[Right, tuple[Sequence[Verb], str]]] = {
    Right.METRICS: ((Verb("get", "/metrics"), _VIEW), "fodc-scraper"),
    Right.VIEW: ((_VIEW,), "fodc-viewer"),
    Right.CONFIGURATION: ((Verb("get", "fodcnodes/config"),), "fodc-profiler"),
    Right.CAPTURE: ((Verb("create", "diagnosticrequests"),), "fodc-profiler"),
    Right.CANCEL: ((Verb("patch", "diagnosticrequests"),), "fodc-profiler"),
    Right.ARTIFACTS: ((Verb("get", "diagnosticrequests/artifacts"),), "fodc-profiler"),
    Right.INCIDENTS: ((Verb("get", "fodcnodes/incidents"),), "fodc-profiler"),
    Right.HEAP: ((Verb("create", "diagnosticrequests/heapsnapshot"),), "fodc-admin"),
    Right.TRACE: ((Verb("create", "diagnosticrequests/executiontrace"),), "fodc-admin"),
    Right.REMOVE: ((Verb("delete", "diagnosticrequests/artifacts"),), "fodc-admin"),
}


class ClusterAccessReviews:
    """Reviews through `authorization.k8s.io`; needs `create` on `subjectaccessreviews`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def review(self, caller: Caller, right: Right, namespace: str) -> Decision:
        """Say whether a caller may."""
        try:
            for verb in VERBS[right][0]:
                if await self._may(caller, verb, namespace):
                    return Allowed()
        except ClusterError as error:
            return Away(f"the API server cannot say what callers may now: {error.message}")
        return Denied(_missing(caller, right, namespace))

    async def _may(self, caller: Caller, verb: Verb, namespace: str) -> bool:
        """Ask about one verb; what is not clearly a yes is a no."""
        spec: dict[str, Any] = {"user": caller.name, **verb.attributes(namespace)}
        who = {
            "groups": list(caller.groups),
            "uid": caller.uid,
            "extra": {key: list(values) for key, values in caller.extra.items()},
        }
        spec.update({key: value for key, value in who.items() if value})
        said = await self._cluster.create(
            kinds.SUBJECT_ACCESS_REVIEW, "", {"spec": spec}, deadline_s=DEADLINE_S
        )
        status = said.get("status")
        return isinstance(status, dict) and status.get("allowed") is True


def _missing(caller: Caller, right: Right, namespace: str) -> str:
    """Name what is missing and who grants it."""
    verbs, role = VERBS[right]
    where = f"namespace {namespace}" if namespace else "all namespaces"
    bound = "a RoleBinding there or a ClusterRoleBinding" if namespace else "a ClusterRoleBinding"
    return (
        f"{caller.name} lacks the right {right}: {verbs[0]} in {where}; {caller.granted_by} grants "
        f"it by {bound} of {role}"
    )
