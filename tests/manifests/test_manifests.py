# SPDX-License-Identifier: Apache-2.0
"""The manifests as files: complete, without wildcards, restricted, and as scrapers expect them.

The one idea: what a server would not notice is checked here, what it would notice is left to it.
"""

import copy
import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fodc_agent.settings import load
from fodc_api.words import ArtifactState
from fodc_client.arguments import DEFAULT_SERVICE
from fodc_operator.policies import remote_targets
from fodc_operator.policies.standing import PodState
from fodc_operator.settings import OPTIONS
from fodc_protocol.profiles import Profile
from fodc_webhook import settings as webhook_settings
from fodc_webhook.inject import marks
from fodc_webhook.inject.outcome import SkipReason
from fodc_webhook.inject.rendering import credentials, proxy_arguments
from fodc_webhook.kinds import CANCELLED_BY, REQUESTED_BY
from fodc_webhook.resources.fodc_injection import MIB, AgentTemplate
from fodc_webhook.server import PATHS
from tests.manifests.schemas import ROOT
from tests.manifests.words import known_families

MANIFESTS = ROOT / "manifests"
BASE = MANIFESTS / "base"
KUSTOMIZATIONS = sorted(MANIFESTS.glob("**/kustomization.yaml"))
COMPONENT = {
    "app.kubernetes.io/name": "banyandb-fodc",
    "app.kubernetes.io/component": "fodc-proxy",
}


WEBHOOK = {**COMPONENT, "app.kubernetes.io/component": "fodc-webhook"}


@functools.cache
def parsed(path: Path) -> list[dict[str, Any]]:
    """What is an object, or patches one; a configuration of kustomize has no kind."""
    return [d for d in yaml.safe_load_all(path.read_text()) if d and "kind" in d]


def documents(*paths: Path) -> list[dict[str, Any]]:
    """What files hold, each parsed once; a caller may change its own copy."""
    return [copy.deepcopy(d) for path in paths for d in parsed(path)]


def everything() -> list[dict[str, Any]]:
    return documents(*sorted(MANIFESTS.glob("**/*.yaml")))


def added() -> list[dict[str, Any]]:
    """What there is beside patches, which repeat the name of another object."""
    found = []
    for path in KUSTOMIZATIONS:
        names = yaml.safe_load(path.read_text()).get("resources", [])
        found += documents(*(path.parent / name for name in names if name.endswith(".yaml")))
    return found


def one(kind: str, name: str, *, among: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    found = [
        d
        for d in (among if among is not None else documents(*sorted(BASE.glob("*.yaml"))))
        if (d["kind"], d.get("metadata", {}).get("name")) == (kind, name)
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def pod_template(name: str = "fodc-operator") -> dict[str, Any]:
    return dict(one("Deployment", name)["spec"]["template"])


def container(name: str = "fodc-operator") -> dict[str, Any]:
    (only,) = pod_template(name)["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize(
    "path", KUSTOMIZATIONS, ids=lambda path: path.parent.relative_to(MANIFESTS).as_posix()
)
def test_a_kustomization_names_every_file_beside_it(path: Path) -> None:
    whole = yaml.safe_load(path.read_text())
    named = {
        *(name for name in whole.get("resources", []) if name.endswith(".yaml")),
        *whole.get("configurations", []),
        *(patch["path"] for patch in whole.get("patches", []) if "path" in patch),
    }

    assert named == {file.name for file in path.parent.glob("*.yaml")} - {"kustomization.yaml"}


# ---- permissions -----------------------------------------------------------------------------


def rules() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{d['kind']} {d['metadata']['name']}", rule)
        for d in added()
        if d["kind"] in {"Role", "ClusterRole"}
        for rule in d["rules"]
    ]


def test_no_role_has_a_wildcard() -> None:
    wild = [
        name
        for name, rule in rules()
        for field in ("apiGroups", "resources", "verbs", "resourceNames", "nonResourceURLs")
        if any("*" in word for word in rule.get(field, []))
    ]

    assert wild == []


def test_no_role_reaches_pods_from_inside_or_rights_of_others() -> None:
    risky = {"pods/exec", "serviceaccounts/token", "clusterroles", "nodes/proxy"}
    verbs = {"escalate", "bind", "impersonate"}

    assert [
        name
        for name, rule in rules()
        if risky & {*rule.get("resources", ())} or verbs & {*rule["verbs"]}
    ] == []


def test_one_secret_of_the_own_namespace_is_reached_and_none_is_listed() -> None:
    """But for the component by which somebody lets the operator look for those of others."""
    found = [(name, rule) for name, rule in rules() if "secrets" in rule.get("resources", ())]
    asked_for = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    found.remove(("ClusterRole fodc-operator-pull-secrets", asked_for))

    named = {"resourceNames": ["fodc-webhook-certificate"]}
    assert found == [
        (f"Role {role}", {"apiGroups": [""], "resources": ["secrets"]} | more)
        for role, more in (
            ("fodc-webhook-certificate", {**named, "verbs": ["get"]}),
            ("fodc-operator-webhook", {"verbs": ["create"]}),
            ("fodc-operator-webhook", {**named, "verbs": ["get", "patch"]}),
        )
    ]


def test_what_a_rule_about_create_cannot_name_a_policy_names() -> None:
    secret = one("ValidatingAdmissionPolicy", "fodc-operator-secret", among=added())
    ca = one("ValidatingAdmissionPolicy", "fodc-operator-config-map", among=added())

    for policy, name in ((secret, "fodc-webhook-certificate"), (ca, "fodc-proxy-ca")):
        (condition,) = policy["spec"]["matchConditions"]
        assert f"object.metadata.name == '{name}'" in policy["spec"]["validations"][0]["expression"]
        assert "endsWith(':fodc-operator')" in condition["expression"]
        assert policy["spec"]["failurePolicy"] == "Fail"


def test_the_webhook_is_the_one_configuration_that_the_operator_may_change() -> None:
    found = [
        rule["resourceNames"]
        for _, rule in rules()
        if "mutatingwebhookconfigurations" in rule.get("resources", ())
    ]

    assert found == [["fodc-injection"]]


def test_only_the_viewer_is_part_of_a_role_that_clusters_have() -> None:
    aggregated = {
        d["metadata"]["name"]: label
        for d in everything()
        if d["kind"] == "ClusterRole"
        for label in d["metadata"].get("labels", {})
        if "aggregate" in label
    }

    assert aggregated == {"fodc-viewer": "rbac.authorization.k8s.io/aggregate-to-view"}


def test_each_role_for_people_can_do_what_the_lesser_one_can() -> None:
    roles = ("fodc-viewer", "fodc-profiler", "fodc-admin")
    viewer, profiler, admin = (rights(one("ClusterRole", name)) for name in roles)

    assert viewer < profiler < admin


def rights(role: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (resource, verb)
        for rule in role["rules"]
        for resource in rule.get("resources", ())
        for verb in rule["verbs"]
    }


def test_the_policy_knows_every_capture_that_it_speaks_of() -> None:
    policy = one("ValidatingAdmissionPolicy", "fodc-capture-rights")
    text = "".join(v["expression"] for v in policy["spec"]["validations"])
    known = {kind.facts.crd_type for kind in Profile}

    assert {name for name in known if f"'{name}'" in text} == {
        "HeapSnapshot",
        "AllocationProfile",
        "ExecutionTrace",
    }
    assert policy["spec"]["failurePolicy"] == "Fail"


# ---- the pod ---------------------------------------------------------------------------------


def test_the_pod_asks_for_nothing_that_the_restricted_level_forbids() -> None:
    pod = pod_template()["spec"]

    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert one("Namespace", "fodc-system")["metadata"]["labels"] == {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/audit": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
    }


def test_what_is_written_has_a_place_in_a_read_only_container() -> None:
    mounts = {mount["mountPath"]: mount["name"] for mount in container()["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod_template()["spec"]["volumes"]}

    assert mounts == {"/var/lib/fodc": "artifacts", "/tmp": "tmp"}
    assert volumes["tmp"]["emptyDir"] == {"sizeLimit": "128Mi"}
    assert volumes["artifacts"]["persistentVolumeClaim"] == {"claimName": "fodc-artifacts"}
    assert "--data-dir=/var/lib/fodc" in container()["args"]


def test_scrape_configurations_of_existing_clusters_find_the_pod() -> None:
    """Component label, port name `http`, port 17913, path /metrics (upstream-proxy §15.3)."""
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}

    assert pod_template()["metadata"]["labels"] == COMPONENT
    assert ports == {"grpc": 17912, "http": 17913}


PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
SERVICES = ("fodc-proxy-grpc", "fodc-proxy-http", "fodc-webhook")


def test_the_probes_ask_the_port_that_people_ask() -> None:
    probes = {name: container()[name]["httpGet"] for name in PROBES}

    assert probes == {
        "startupProbe": {"path": "/healthz", "port": "http", "scheme": "HTTPS"},
        "livenessProbe": {"path": "/healthz", "port": "http", "scheme": "HTTPS"},
        "readinessProbe": {"path": "/readyz", "port": "http", "scheme": "HTTPS"},
    }


def test_the_program_learns_who_it_is() -> None:
    told = {
        one["name"]: one["valueFrom"]["fieldRef"]["fieldPath"]
        for one in container()["env"]
        if "valueFrom" in one
    }

    assert told == {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "POD_UID": "metadata.uid",
    }


def test_the_program_learns_the_image_that_it_puts_into_pods() -> None:
    """By a variable: an overlay replaces it by its name, where a list of arguments is one piece."""
    told = {one["name"]: one["value"] for one in container()["env"] if "value" in one}

    assert told == {
        "FODC_OPERATOR_AGENT_IMAGE": "banyandb-fodc-agent:0.1.0",
        "FODC_OPERATOR_HTTP_TLS": "true",
    }


# ---- the webhook's pods ----------------------------------------------------------------------


def test_an_upgrade_of_the_webhook_leaves_no_moment_without_one() -> None:
    """K5: one replica, Recreate and a claim: each upgrade was a time without injection."""
    spec, pod = one("Deployment", "fodc-webhook")["spec"], pod_template("fodc-webhook")["spec"]
    (spread,) = pod["topologySpreadConstraints"]
    budget = one("PodDisruptionBudget", "fodc-webhook")["spec"]

    assert spec["replicas"] == 2
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    assert "volumes" not in pod
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert (budget["maxUnavailable"], budget["selector"]["matchLabels"]) == (1, WEBHOOK)
    # It answers on while API servers hear that it leaves, and ends well within the grace.
    assert "--drain=5s" in container("fodc-webhook")["args"]
    assert pod["terminationGracePeriodSeconds"] == 30
    assert container("fodc-webhook")["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_everything_that_the_webhook_is_told_is_an_option_of_it() -> None:
    found = container("fodc-webhook")
    told = {one.removeprefix("--").partition("=")[0] for one in [*found["args"], "--cert-dir="]}
    variables = {one["name"] for one in found["env"]}

    assert told <= {option.name for option in webhook_settings.OPTIONS}
    assert variables == {"POD_NAME", "POD_NAMESPACE", "FODC_WEBHOOK_AGENT_IMAGE"}
    assert found["command"] == ["fodc-webhook"]


def told_options() -> dict[str, str]:
    """What the manifests and their components tell the program, by the name of the option."""
    component = yaml.safe_load(
        (MANIFESTS / "components/cert-manager/kustomization.yaml").read_text()
    )
    patches = [yaml.safe_load(one["patch"]) for one in component["patches"] if "patch" in one]
    added = [step["value"] for steps in patches if isinstance(steps, list) for step in steps]
    added = [one for one in added if not one.startswith("--cert-dir=")]
    flags = [flag.removeprefix("--").partition("=") for flag in [*container()["args"], *added]]
    variables = {
        one["name"].removeprefix("FODC_OPERATOR_").lower().replace("_", "-"): one["value"]
        for one in container()["env"]
        if one["name"].startswith("FODC_OPERATOR_")
    }
    return {name: value for name, _, value in flags} | variables


def test_everything_that_the_pod_is_told_is_an_option_of_the_operator() -> None:
    told = told_options()

    assert set(told) - {option.name for option in OPTIONS} == set()
    assert told["webhook-config-name"] == ""
    assert told["agent-image"] == "banyandb-fodc-agent:0.1.0"


def test_nothing_is_in_the_clear_as_far_as_prometheus_and_the_api_server() -> None:
    monitor = yaml.safe_load_all(
        (MANIFESTS / "components/monitoring/service-monitor.yaml").read_text()
    )
    (scraped,) = next(monitor)["spec"]["endpoints"]
    (reached,) = one("Role", "fodc-proxy-access")["rules"]
    ports = [
        port["appProtocol"] for name in SERVICES for port in one("Service", name)["spec"]["ports"]
    ]

    assert ports == ["https"] * 3
    assert scraped["scheme"] == "https"
    assert scraped["tlsConfig"] == {
        "ca": {"configMap": {"name": "fodc-proxy-ca", "key": "ca.crt"}},
        "serverName": "fodc-proxy-http.fodc-system.svc",
    }
    # What `fodc --context` asks for unless told otherwise.
    assert reached["resourceNames"] == [f"{DEFAULT_SERVICE.rpartition('/')[2]}:http"]


def test_in_the_clear_is_a_component_that_says_so_by_its_name() -> None:
    folder = MANIFESTS / "components/insecure-http"
    deployment = yaml.safe_load((folder / "deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    probes = {name: told["httpGet"] for name, told in container.items() if "Probe" in name}
    patches = yaml.safe_load((folder / "kustomization.yaml").read_text())["patches"]
    steps = {p["target"]["kind"]: yaml.safe_load(p["patch"]) for p in patches if "target" in p}

    assert container["env"] == [{"name": "FODC_OPERATOR_HTTP_TLS", "value": "false"}]
    assert probes == {name: {"scheme": "HTTP"} for name in PROBES}
    assert [step["value"] for step in steps["Role"]] == ["fodc-proxy-http:http"]
    assert [step["value"] for step in steps["Service"]] == ["http"]
    assert [step["op"] for step in steps["ServiceMonitor"]] == ["replace", "remove"]


def test_the_names_that_the_operator_expects_are_those_of_the_manifests() -> None:
    defaults = {option.name: option.default for option in OPTIONS}

    assert one("MutatingWebhookConfiguration", defaults["webhook-config-name"])
    assert one("Service", defaults["webhook-service-name"])
    assert [
        rule["resourceNames"]
        for _, rule in rules()
        if "secrets" in rule.get("resources", ()) and "resourceNames" in rule
    ] == [[defaults["webhook-secret-name"]]] * 2
    assert one("Service", webhook_settings.GRPC_SERVICE)
    assert (MANIFESTS / "components" / remote_targets.COMPONENT).is_dir()
    role = one("Role", "fodc-operator-remote-agent", among=added())
    assert role["rules"][0]["resourceNames"] == [remote_targets.NAME]


def test_the_remote_agent_shows_and_asks_of_the_proxy_what_an_agent_beside_a_database_does() -> (
    None
):
    """The manifest is written by hand."""
    deployment = one("Deployment", "fodc-remote-agent", among=added())
    spec = deployment["spec"]["template"]["spec"]
    (container,), volumes = spec["containers"], {v["name"]: v for v in spec["volumes"]}
    beside = AgentTemplate("agent:1", "proxy:17912", is_secured=True)
    told = load(container["args"], {})

    assert volumes["token"]["projected"]["sources"] == credentials(beside)
    for name, value in proxy_arguments(beside):
        assert f"--{name}={value}" in container["args"]
    assert volumes["targets"]["configMap"]["name"] == remote_targets.NAME
    assert (told.attachment, told.targets_file) == (
        "remote",
        Path("/etc/fodc") / remote_targets.TARGETS,
    )
    host = f"{webhook_settings.GRPC_SERVICE}.fodc-system.svc"
    assert told.proxy_endpoints == ((host, webhook_settings.GRPC_PORT),)
    # The kubelet evicts a pod whose volume is over its limit.
    written = told.capture_quota_bytes + told.recorder_max_bytes
    assert volumes["data"]["emptyDir"] == {"sizeLimit": f"{written * 5 // 4 // MIB}Mi"}


def test_the_services_lead_to_the_leader_only() -> None:
    found = {name: one("Service", name)["spec"] for name in ("fodc-proxy-grpc", "fodc-proxy-http")}

    assert {name: spec["selector"] for name, spec in found.items()} == {
        "fodc-proxy-grpc": {**COMPONENT, "fodc.banyandb.dev/leader": "true"},
        "fodc-proxy-http": {**COMPONENT, "fodc.banyandb.dev/leader": "true"},
    }
    assert {spec["type"] for spec in found.values()} == {"ClusterIP"}
    assert {p["name"]: p["port"] for spec in found.values() for p in spec["ports"]} == {
        "grpc": 17912,
        "http": 17913,
    }


def test_no_pod_selector_of_ours_matches_the_pods_of_others() -> None:
    """BanyanDB's own pods carry the name `banyandb`."""
    selectors = [
        d["spec"].get("selector", d["spec"].get("podSelector", {}))
        for d in everything()
        if d["kind"] in {"Deployment", "PodDisruptionBudget", "NetworkPolicy"}
        and "spec" in d
        and "selector" in d["spec"] | {"selector": d["spec"].get("podSelector")}
    ]

    components = [s["matchLabels"]["app.kubernetes.io/component"] for s in selectors if s]
    names = {s["matchLabels"]["app.kubernetes.io/name"] for s in selectors if s}

    assert set(components) == {"fodc-proxy", "fodc-webhook", "fodc-remote-agent"}
    assert names == {"banyandb-fodc"}


def test_no_image_floats() -> None:
    tags = [
        image["newTag"]
        for path in KUSTOMIZATIONS
        for image in yaml.safe_load(path.read_text()).get("images", [])
    ]

    assert tags == ["0.1.0"] * 5


# ---- the webhook -----------------------------------------------------------------------------


def all_webhooks() -> list[dict[str, Any]]:
    return list(one("MutatingWebhookConfiguration", "fodc-injection")["webhooks"])


def webhooks() -> list[dict[str, Any]]:
    """Those about pods."""
    return [entry for entry in all_webhooks() if entry["clientConfig"]["service"]["path"] != STAMP]


STAMP = "/stamp"


LABEL = "fodc.banyandb.dev/inject"


def requirement(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


NOT_OURS = requirement("kubernetes.io/metadata.name", "NotIn", "kube-system", "fodc-system")


def test_no_answer_of_the_webhook_holds_a_pod_up() -> None:
    for entry in webhooks():
        assert (entry["failurePolicy"], entry["timeoutSeconds"]) == ("Ignore", 2)
        assert entry["reinvocationPolicy"] == "IfNeeded"
        assert entry["sideEffects"] == "None"
        assert entry["admissionReviewVersions"] == ["v1"]


def test_the_webhook_is_asked_who_creates_a_request_and_holds_none_up() -> None:
    (entry,) = (one for one in all_webhooks() if one["clientConfig"]["service"]["path"] == STAMP)

    (rule,) = entry["rules"]
    assert rule["operations"] == ["CREATE", "UPDATE", "DELETE"]
    assert rule["resources"] == ["diagnosticrequests"]
    assert entry["sideEffects"] == "NoneOnDryRun"
    assert (entry["failurePolicy"], entry["timeoutSeconds"]) == ("Ignore", 2)
    assert entry["clientConfig"]["service"]["path"] in PATHS


def test_the_policy_about_the_requester_speaks_of_the_annotation_that_is_stamped() -> None:
    policy = one("ValidatingAdmissionPolicy", "fodc-requester")

    said = {one["name"]: one["expression"] for one in policy["spec"]["variables"]}
    assert all(f"['{REQUESTED_BY}']" in said[name] for name in ("after", "before"))
    assert all(f"['{CANCELLED_BY}']" in said[name] for name in ("endedAfter", "endedBefore"))
    assert policy["spec"]["matchConstraints"]["resourceRules"][0]["operations"] == [
        "CREATE",
        "UPDATE",
    ]
    assert policy["spec"]["failurePolicy"] == "Fail"


def test_the_webhook_is_asked_about_new_pods_and_nothing_else() -> None:
    for entry in webhooks():
        assert entry["rules"] == [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
                "scope": "Namespaced",
            }
        ]


def test_only_who_opted_in_is_asked_about_and_no_pod_twice() -> None:
    by_pod, by_namespace = webhooks()

    assert by_pod["objectSelector"] == {"matchExpressions": [requirement(LABEL, "In", "enabled")]}
    assert by_pod["namespaceSelector"] == {"matchExpressions": [NOT_OURS]}
    assert by_namespace["objectSelector"] == {
        "matchExpressions": [requirement(LABEL, "NotIn", "enabled", "disabled")]
    }
    assert by_namespace["namespaceSelector"] == {
        "matchExpressions": [requirement(LABEL, "In", "enabled"), NOT_OURS]
    }


def test_the_names_of_the_webhook_are_those_of_the_operator() -> None:
    assert LABEL == marks.OPT_IN_LABEL
    assert {marks.ENABLED, marks.DISABLED} == {"enabled", "disabled"}
    assert [entry["name"] for entry in webhooks()] == [
        "pods.inject.fodc.banyandb.dev",
        "namespaces.inject.fodc.banyandb.dev",
    ]


def test_nothing_but_labels_decides_which_pods_are_asked_about() -> None:
    """A condition costs the API server time for each pod; our mark would end the second
    question, which comes when another webhook changed the pod."""
    for entry in webhooks():
        assert "matchConditions" not in entry
        keys = {one["key"] for one in entry["objectSelector"]["matchExpressions"]}
        assert keys == {marks.OPT_IN_LABEL}


def test_the_webhook_reaches_every_replica_at_the_port_of_the_pod() -> None:
    service = one("Service", "fodc-webhook")["spec"]

    assert service["selector"] == WEBHOOK
    assert service["ports"] == [
        {"name": "webhook", "port": 443, "targetPort": "webhook", "appProtocol": "https"}
    ]
    for entry in webhooks():
        assert entry["clientConfig"] == {
            "service": {
                "name": "fodc-webhook",
                "namespace": "fodc-system",
                "path": "/inject",
                "port": 443,
            }
        }


def test_api_servers_reach_the_webhook_from_anywhere() -> None:
    rules = one("NetworkPolicy", "fodc-webhook")["spec"]["ingress"]

    assert [rule for rule in rules if "from" not in rule] == [
        {"ports": [{"port": "webhook", "protocol": "TCP"}]}
    ]


# ---- monitoring ------------------------------------------------------------------------------


def test_the_monitor_scrapes_every_replica_under_the_job_that_dashboards_know() -> None:
    monitor = one("ServiceMonitor", "fodc-proxy", among=everything())["spec"]
    (endpoint,) = monitor["endpoints"]
    service = one("Service", "fodc-operator-replicas", among=everything())
    labels = service["metadata"]["labels"]
    wanted = dict(monitor["selector"]["matchLabels"])

    assert wanted.pop("app.kubernetes.io/name") == "banyandb-fodc"
    assert wanted.items() <= labels.items()
    assert wanted.items().isdisjoint(
        one("Service", "fodc-proxy-http")["metadata"]["labels"].items()
    )
    assert service["spec"]["selector"] == COMPONENT
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "fodc-proxy"}]


def test_every_alert_tells_what_it_means_and_what_to_do() -> None:
    rule = one("PrometheusRule", "fodc", among=everything())
    alerts = [alert for group in rule["spec"]["groups"] for alert in group["rules"]]

    assert [a["alert"] for a in alerts if set(a["annotations"]) != {"summary", "description"}] == []
    assert [a["alert"] for a in alerts if "severity" not in a["labels"]] == []


def test_every_family_of_an_alert_is_one_that_the_programs_have() -> None:
    rule = one("PrometheusRule", "fodc", among=everything())
    asked = set(re.findall(r"fodc_(?:proxy|operator|webhook)_\w+", yaml.safe_dump(rule)))

    assert len(asked) >= 8
    assert asked - known_families() == set()


def test_every_word_of_an_alert_about_pods_is_one_of_the_operator() -> None:
    rule = yaml.safe_dump(one("PrometheusRule", "fodc", among=everything()))
    of_pods = re.findall(r'injection_pods\{state="(\w+)"', rule)

    assert set(of_pods) <= {str(state) for state in PodState}
    assert set(re.findall(r'fodc_proxy_artifacts\{state="(\w+)"', rule)) <= set(ArtifactState)
    assert set(re.findall(r'reason="(\w+)"', rule)) <= {str(reason) for reason in SkipReason}


@pytest.mark.parametrize(
    "path", sorted(MANIFESTS.glob("**/*.yaml")), ids=lambda path: str(path.relative_to(MANIFESTS))
)
def test_no_file_deletes_several_objects_for_kubectl_up_to_1_32_panics(path: Path) -> None:
    deleted = [d for d in documents(path) if d.get("$patch") == "delete"]

    assert len(deleted) <= 1
