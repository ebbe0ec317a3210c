# SPDX-License-Identifier: Apache-2.0
"""The Helm chart that `make chart` writes: what it gives is what kustomize gives.

Needs helm, which is built from its Go module where that is allowed, as the control plane is.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import applied
from e2e.controlplane import build
from e2e.controlplane.cluster import ControlPlane, programs
from e2e.controlplane.cluster import control_plane as running_control_plane
from manifests import chart

# The chart is rendered once, which on a busy machine is most of a minute.
pytestmark = pytest.mark.timeout(300)
KUBERNETES = f"--kube-version={build.KUBERNETES_VERSION}"


@pytest.fixture(scope="session")
def helm() -> str:
    found = build.binaries(build=False, names=("helm",))
    if isinstance(found, build.Unavailable):
        pytest.skip(f"NO HELM: {found.reason}; python -m e2e.controlplane.build helm")
    return found.path("helm")


@pytest.fixture(scope="session")
def kustomize(control_plane: ControlPlane) -> list[str]:
    return [control_plane.binaries.path("kubectl"), "kustomize"]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, kustomize: list[str]) -> Path:
    """The chart, as it is written."""
    folder = tmp_path_factory.mktemp("chart") / "banyandb-fodc"
    chart.write(folder, kustomize)
    return folder


def template(
    helm: str, folder: Path, values: dict[str, Any], namespace: str = "fodc-system"
) -> subprocess.CompletedProcess[str]:
    command = [helm, "template", "fodc", str(folder), KUBERNETES, f"--namespace={namespace}"]
    given = json.dumps(values)
    return subprocess.run(
        [*command, "--values=-"], input=given, capture_output=True, text=True, check=False
    )


def objects(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    return by_name(chart.parsed(text))


def by_name(documents: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    found = {(d["kind"], d["metadata"]["name"]): d for d in documents}
    assert len(found) == len(documents)
    return found


@pytest.fixture(scope="module")
def given(helm: str, made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What helm gives for each variant, by one call: a chart of charts, one under each alias."""
    whole = tmp_path_factory.mktemp("all") / "all"
    shutil.copytree(made, whole / "charts" / made.name)
    variants = {f"variant{number}": one for number, one in enumerate(chart.variants())}
    about = {"apiVersion": "v2", "name": "all", "version": "0.1.0"}
    one = {"name": made.name, "version": chart.VERSION}
    about["dependencies"] = [{**one, "alias": alias} for alias in variants]
    (whole / "Chart.yaml").write_text(yaml.safe_dump(about))
    values = {
        alias: chart.values_of(variant) | {"createNamespace": True}
        for alias, variant in variants.items()
    }
    answer = template(helm, whole, values)
    assert (answer.returncode, answer.stderr) == (0, "")
    found = dict.fromkeys(variants, "")
    for text in answer.stdout.split("---\n# Source: all/charts/")[1:]:
        source, _, content = text.partition("\n")
        found[source.partition("/")[0]] += f"---\n{content}"
    return {name_of(variants[alias]): text for alias, text in found.items()}


def name_of(variant: chart.Variant) -> str:
    return "+".join((variant.mode, *sorted(variant.components)))


@pytest.mark.parametrize("variant", chart.variants(), ids=name_of)
def test_the_chart_gives_what_kustomize_gives(
    given: dict[str, str], kustomize: list[str], variant: chart.Variant
) -> None:
    expected = by_name(chart.rendered(variant, kustomize))

    assert objects(given[name_of(variant)]) == expected
    assert len(expected) > 20


def test_every_overlay_is_a_choice_of_the_chart() -> None:
    there = {path.name for path in (chart.MANIFESTS / "overlays").iterdir()}
    components = {path.name for path in (chart.MANIFESTS / "components").iterdir()}

    assert set(chart.MODES) | {"monitoring"} == there
    assert set(chart.COMPONENTS) | set(chart.ADDING) == components


def test_the_values_say_images_sizes_and_where(helm: str, made: Path) -> None:
    values = {
        "images": {"operator": "r.example/o:2", "agent": "r.example/a:2"},
        "artifacts": {"size": "50Gi", "storageClassName": "fast"},
        "webhook": {"replicas": 3},
        "monitoring": {"enabled": True, "namespace": "prom"},
    }

    answer = template(helm, made, values, "elsewhere")

    found = objects(answer.stdout)
    webhook = found["Deployment", "fodc-webhook"]["spec"]
    claim = found["PersistentVolumeClaim", "fodc-artifacts"]["spec"]
    (container,) = webhook["template"]["spec"]["containers"]
    assert answer.returncode == 0, answer.stderr
    for old in ("fodc-system", "banyandb-fodc-operator:", "banyandb-fodc-agent:", ": monitoring\n"):
        assert old not in answer.stdout
    assert (webhook["replicas"], container["image"]) == (3, "r.example/o:2")
    assert {"name": "FODC_WEBHOOK_AGENT_IMAGE", "value": "r.example/a:2"} in container["env"]
    assert claim["resources"]["requests"]["storage"] == "50Gi"
    assert claim["storageClassName"] == "fast"
    assert "Namespace" not in {kind for kind, _ in found}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mode": "small", "certManager": {"enabled": True}}, "certManager and monitoring need"),
        ({"mode": "large"}, "mode"),
        ({"image": "a"}, "image"),
        ({"webhook": {"replicas": 0}}, "replicas"),
    ],
)
def test_values_that_cannot_be_had_are_refused(
    helm: str, made: Path, values: dict[str, Any], words: str
) -> None:
    answer = template(helm, made, values)

    assert answer.returncode == 1
    assert words in answer.stderr


@pytest.mark.parametrize("mode", chart.MODES)
def test_the_server_accepts_what_the_chart_gives(
    control_plane: ControlPlane, helm: str, made: Path, mode: str
) -> None:
    applied.install(control_plane)
    text = template(helm, made, {"mode": mode, "createNamespace": True}).stdout

    answer = control_plane.kubectl(
        *("apply", "--dry-run=server", "--validate=strict", "-f", "-"), stdin=text
    )

    assert (answer.returncode, answer.stderr) == (0, "")
    assert "deployment.apps/fodc-operator " in answer.stdout


def test_helm_installs_upgrades_and_takes_all_of_it_away(
    helm: str, made: Path, tmp_path: Path
) -> None:
    """On a server of its own, on which nothing of ours has been."""
    found = build.binaries(build=False, names=programs())
    assert isinstance(found, build.Binaries)
    with running_control_plane(tmp_path / "run") as plane:
        before = ours(plane)
        told = [helm_on(plane, helm, "install", "fodc", str(made), "--create-namespace")]
        installed = ours(plane)
        told.append(helm_on(plane, helm, "upgrade", "fodc", str(made), "--set=webhook.replicas=3"))
        path = "/apis/apps/v1/namespaces/fodc-system/deployments/fodc-webhook"
        replicas = plane.api().get(path).body["spec"]["replicas"]
        told.append(helm_on(plane, helm, "uninstall", "fodc", "--wait"))

        assert [answer.stderr for answer in told if answer.returncode] == []
        assert (before, replicas) == ([], 3)
        assert "deployment.apps/fodc-operator" in installed
        assert (
            "mutatingwebhookconfiguration.admissionregistration.k8s.io/fodc-injection" in installed
        )
        assert ours(plane) == []


def helm_on(plane: ControlPlane, helm: str, *command: str) -> subprocess.CompletedProcess[str]:
    where = [f"--kubeconfig={plane.kubeconfig}", "--namespace=fodc-system"]
    return subprocess.run([helm, *command, *where], capture_output=True, text=True, check=False)


OF_THE_CHART = (
    "deployments,services,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,"
    "persistentvolumeclaims,networkpolicies,poddisruptionbudgets,customresourcedefinitions,"
    "mutatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings"
)


def ours(plane: ControlPlane) -> list[str]:
    """What there is of ours on a server."""
    selector = "--selector=app.kubernetes.io/part-of=banyandb-fodc"
    answer = plane.kubectl("get", OF_THE_CHART, "-A", selector, "--output=name", check=True)
    return answer.stdout.split()
