# SPDX-License-Identifier: Apache-2.0
"""The webhook's configuration on an API server that reaches it by URL, not by a Service.

The one idea: what is applied is what people apply, the configuration of manifests/, except that
it leads to an address and, on request, to one namespace only, so that tests do not meet.
"""

import base64
import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from e2e import operators, programs
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import ROOT

MANIFEST: Final = ROOT / "manifests" / "base" / "webhook.yaml"
CONFIGURATIONS: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
NAME_LABEL: Final = "kubernetes.io/metadata.name"
OPT_IN: Final = "fodc.banyandb.dev/inject"


def rendered(
    name: str, address: str, *, only_namespace: str = "", ca_bundle: bytes = b""
) -> dict[str, Any]:
    """Return the configuration of manifests/ with `address` (host:port) for its Service.

    `only_namespace` narrows it to one namespace; `ca_bundle` (PEM) is for servers whose CA no
    operator keeps.
    """
    found: dict[str, Any] = copy.deepcopy(_manifest())
    found["metadata"] = {"name": name}
    for entry in found["webhooks"]:
        path = entry["clientConfig"]["service"].get("path", "")
        entry["clientConfig"] = {"url": f"https://{address}{path}"}
        if ca_bundle:
            entry["clientConfig"]["caBundle"] = base64.b64encode(ca_bundle).decode("ascii")
        if only_namespace:
            requirement = {"key": NAME_LABEL, "operator": "In", "values": [only_namespace]}
            selector = entry.setdefault("namespaceSelector", {})
            selector.setdefault("matchExpressions", []).append(requirement)
    return found


def apply(plane: ControlPlane, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Create the configuration, or put it in the place of the one of its name.

    Returns it as the server then had it.
    """
    answer = plane.api().create(CONFIGURATIONS, configuration)
    if answer.status == 409:
        # An operator may be writing its CA into the one that is there.
        return operators.wait_for("replaced", lambda: _replaced(plane, configuration))
    assert answer.status == 201, answer.body
    return dict(answer.body)


def _replaced(plane: ControlPlane, configuration: Mapping[str, Any]) -> dict[str, Any]:
    name = configuration["metadata"]["name"]
    version = configuration_of(plane, name)["metadata"]["resourceVersion"]
    body = {**configuration, "metadata": {"name": name, "resourceVersion": version}}
    answer = plane.api().send("PUT", f"{CONFIGURATIONS}/{name}", body)
    return dict(answer.body) if answer.status == 200 else {}


def configuration_of(plane: ControlPlane, name: str) -> dict[str, Any]:
    """Return the configuration as the server has it."""
    answer = plane.api().get(f"{CONFIGURATIONS}/{name}")
    assert answer.status == 200, answer.body
    return dict(answer.body)


def remove(plane: ControlPlane, name: str) -> None:
    """Delete the configuration if it is there."""
    plane.api().delete(f"{CONFIGURATIONS}/{name}")


@contextmanager
def applied(plane: ControlPlane, configuration: Mapping[str, Any]) -> Iterator[str]:
    """Own a configuration for a with-block; gives its name."""
    apply(plane, configuration)
    try:
        yield str(configuration["metadata"]["name"])
    finally:
        remove(plane, configuration["metadata"]["name"])


def ca_bundles(plane: ControlPlane, name: str) -> list[bytes]:
    """Return the CAs that the server trusts for each entry, empty where there is none."""
    return ca_bundles_in(configuration_of(plane, name))


def ca_bundles_in(configuration: Mapping[str, Any]) -> list[bytes]:
    """Return the CAs of each entry of a configuration, empty where there is none."""
    entries = configuration["webhooks"]
    return [base64.b64decode(one["clientConfig"].get("caBundle", "")) for one in entries]


# ---- an operator that injects ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Injecting:
    """Operator and webhook, their configuration, and the namespaces that all are about."""

    operator: programs.Program
    webhook: programs.Program
    configuration: str
    home: str
    """Namespace of the operator, with lease and Secret."""
    namespace: str
    """Namespace whose pods are asked about."""

    @property
    def address(self) -> str:
        """Where API servers ask."""
        return self.webhook.addresses["webhook"]


@contextmanager
def injecting(
    folder: Path,
    plane: ControlPlane,
    *,
    home: str,
    namespace: str,
    name: str = "operator",
    arguments: tuple[str, ...] = (),
    both: tuple[str, ...] = (),
    address: str = "127.0.0.1:0",
    drain: str = "1s",
) -> Iterator[Injecting]:
    """Run an operator that leads and a webhook for the pods of one namespace, by URL.

    The operator is given `arguments`, it and the webhook `both`.
    Returns when the API server trusts it; `address` may be one that another machine or network
    namespace reaches, its host is then a name in the certificate too.
    """
    host = address.rpartition(":")[0].strip("[]")
    configuration = f"fodc-{namespace}"
    started = operators.start_operator(
        folder,
        plane,
        home,
        f"--webhook-config-name={configuration}",
        f"--webhook-extra-sans={host}",
        *arguments,
        *both,
        name=name,
        keeps_certificate=True,
    )
    with programs.running(started) as operator:
        asked = operators.start_webhook(
            folder, plane, home, *both, name=f"{name}-webhook", address=address, drain=drain
        )
        with programs.running(asked) as webhook:
            wanted = rendered(configuration, webhook.addresses["webhook"], only_namespace=namespace)
            with applied(plane, wanted):
                operators.wait_leads(operator)
                _wait_ready(webhook)
                operators.wait_for("trusted", lambda: all(ca_bundles(plane, configuration)))
                yield Injecting(operator, webhook, configuration, home, namespace)


def _wait_ready(webhook: programs.Program) -> None:
    try:
        operators.wait_for("the webhook is ready", lambda: webhook_fault(webhook) == "")
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {webhook_fault(webhook)}\n{webhook.tail()}") from error


def webhook_fault(webhook: programs.Program) -> str:
    """Return what /readyz has against a replica of the webhook; empty for nothing."""
    checks = operators.ready(webhook).get("checks", [])
    if not checks:
        return "it does not answer"
    return "; ".join(str(one["message"]) for one in checks if not one["ok"])


def opt_in(plane: ControlPlane, namespace: str) -> None:
    """Label a namespace so that all its pods are asked about."""
    body = {"metadata": {"labels": {OPT_IN: "enabled"}}}
    answer = plane.api().merge(f"/api/v1/namespaces/{namespace}", body)
    assert answer.status == 200, answer.body


def _manifest() -> dict[str, Any]:
    documents = yaml.safe_load_all(MANIFEST.read_text())
    found = [one for one in documents if one["kind"] == "MutatingWebhookConfiguration"]
    assert len(found) == 1, f"{MANIFEST} holds one configuration"
    return dict(found[0])
