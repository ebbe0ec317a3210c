# SPDX-License-Identifier: Apache-2.0
"""What an API server asks about a DiagnosticRequest."""

from typing import Any

from tests.webhook.asking import NS

SPEC = {"target": {"all": True}, "captures": [{"type": "CPUProfile"}]}


def review(
    metadata: dict[str, Any],
    user: str = "jane",
    operation: str = "CREATE",
    cancel: tuple[str, str] = ("", ""),
) -> dict[str, Any]:
    """`cancel` is before and after."""
    old, new = ({"metadata": metadata, "spec": SPEC | said(one)} for one in cancel)
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "fodc.banyandb.dev", "version": "v1alpha1", "kind": "DiagnosticRequest"},
        "resource": {
            "group": "fodc.banyandb.dev",
            "version": "v1alpha1",
            "resource": "diagnosticrequests",
        },
        "userInfo": {"username": user, "groups": ["system:authenticated"]},
        "operation": operation,
        "namespace": NS,
        "object": None if operation == "DELETE" else new,
        "oldObject": None if operation == "CREATE" else old,
        "dryRun": False,
    }
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def said(cancel: str) -> dict[str, str]:
    return {"cancel": cancel} if cancel else {}
