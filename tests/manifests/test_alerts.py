# SPDX-License-Identifier: Apache-2.0
"""The alerts by promtool: each fires when it should, none while all is well.

The one idea: a case is what the programs tell, as promtool writes series, one per alert; names and
words of the families are held against the sources in test_manifests.py.
Needs `promtool` (Debian's package `prometheus`).
"""

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.manifests.schemas import ROOT

RULES = ROOT / "manifests" / "components" / "monitoring" / "rules.yaml"
PROMTOOL = shutil.which("promtool")
WELL = {
    'fodc_operator_leader{pod="a"}': "1+0x120",
    'fodc_operator_leader{pod="b"}': "0+0x120",
    'fodc_proxy_agents{phase="Online",node_role="data"}': "3+0x120",
    'fodc_proxy_agents{phase="Offline",node_role="data"}': "0+0x120",
    "fodc_proxy_conflicts_total": "4+0x120",
    'fodc_proxy_store_state{state="Ready"}': "1+0x120",
    'fodc_proxy_store_state{state="Full"}': "0+0x120",
    'fodc_proxy_artifacts{state="Damaged"}': "0+0x120",
    "fodc_proxy_unreadable_records": "0+0x120",
    'fodc_proxy_incident_causes_total{cause="OOMKilled"}': "4+0x120",
    # What was near its limit and stayed alive is no alert.
    'fodc_proxy_incident_causes_total{cause="MemoryPressure"}': "0+1x120",
    "fodc_proxy_incidents_unstored": "0+0x120",
    "fodc_proxy_occurrences_gapped_total": "4+0x120",
    "fodc_proxy_http_insecure": "0+0x120",
    'fodc_proxy_certificate_expiry_seconds{listener="grpc"}': "867600+0x120",
    'fodc_proxy_agents_refused_total{reason="BadToken"}': "4+0x120",
    "fodc_proxy_audit_lines_lost_total": "0+0x120",
    # Somebody without a token every minute is a browser, not an attack.
    'fodc_proxy_callers_refused_total{reason="NoToken"}': "0+60x120",
    'fodc_proxy_callers_refused_total{reason="WrongToken"}': "0+1x120",
    'banyandb_fodc_schema_consistency_status{group="g"}': "1+0x120",
    "fodc_proxy_schema_check_age_seconds": "300+0x120",
    'fodc_proxy_configuration_drift{namespace="n",pod_name="x"}': "0+0x120",
    'fodc_operator_injection_pods{namespace="n",policy="p",state="Missing"}': "0+0x120",
    'fodc_operator_injection_pods{namespace="n",policy="p",state="Failed"}': "0+0x120",
    'fodc_operator_injection_suspended{namespace="n",policy="p"}': "0+0x120",
    'fodc_webhook_ready{pod="w"}': "1+0x120",
    # Promtool begins at 0: an hour on, ten days are left.
    'fodc_webhook_certificate_expiry_seconds{pod="w"}': "867600+0x120",
    'fodc_webhook_requests_total{pod="w",outcome="injected",reason=""}': "0+1x120",
}
TROUBLE: dict[str, dict[str, str]] = {
    "FodcProxyDown": {'fodc_operator_leader{pod="a"}': "0+0x120"},
    "FodcAgentOffline": {'fodc_proxy_agents{phase="Offline",node_role="data"}': "1+0x120"},
    "FodcAgentMissing": {'fodc_proxy_agent_missing{pod_name="x",reason="Timeout"}': "1+0x120"},
    "FodcPodClaimedTwice": {"fodc_proxy_conflicts_total": "4+0x55 5+0x60"},
    "FodcArtifactStoreInTrouble": {'fodc_proxy_store_state{state="Full"}': "1+0x120"},
    "FodcArtifactsDamaged": {'fodc_proxy_artifacts{state="Damaged"}': "1+0x120"},
    "FodcIncident": {'fodc_proxy_incident_causes_total{cause="OOMKilled"}': "4+0x55 5+0x60"},
    "FodcOccurrencesLost": {"fodc_proxy_occurrences_gapped_total": "4+0x55 5+0x60"},
    "FodcIncidentsNotStored": {"fodc_proxy_incidents_unstored": "1+0x120"},
    "FodcSchemaInconsistent": {'banyandb_fodc_schema_consistency_status{group="g"}': "2+0x120"},
    "FodcSchemaNotChecked": {"fodc_proxy_schema_check_age_seconds": "3601+60x120"},
    "FodcConfigurationDrift": {
        'fodc_proxy_configuration_drift{namespace="n",pod_name="x"}': "2+0x120"
    },
    "FodcProxyIsOpen": {"fodc_proxy_http_insecure": "1+0x120"},
    "FodcProxyCertificateEnds": {
        'fodc_proxy_certificate_expiry_seconds{listener="grpc"}': "600000+0x120"
    },
    "FodcAgentsRefused": {'fodc_proxy_agents_refused_total{reason="BadToken"}': "0+1x120"},
    "FodcAuditLost": {"fodc_proxy_audit_lines_lost_total": "0+0x55 1+0x60"},
    "FodcCallersRefused": {
        'fodc_proxy_callers_refused_total{reason="WrongToken"}': "0+60x120",
    },
    "FodcPodsWithoutAgent": {
        'fodc_operator_injection_pods{namespace="n",policy="p",state="Missing"}': "2+0x120"
    },
    "FodcPodsNotInjectable": {
        'fodc_operator_injection_pods{namespace="n",policy="p",state="Failed"}': "1+0x120"
    },
    "FodcInjectionSuspended": {
        'fodc_operator_injection_suspended{namespace="n",policy="p"}': "1+0x120"
    },
    "FodcWebhookNotReady": {'fodc_webhook_ready{pod="w"}': "0+0x120"},
    "FodcWebhookCertificateEnds": {
        'fodc_webhook_certificate_expiry_seconds{pod="w"}': "600000+0x120"
    },
    "FodcInjectionFault": {
        'fodc_webhook_requests_total{pod="w",reason="InjectionFailed"}': "_x54 1x66"
    },
}


def alerts() -> list[str]:
    groups = yaml.safe_load(RULES.read_text())["spec"]["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def test_every_alert_has_a_case() -> None:
    assert sorted(TROUBLE) == sorted(alerts())


UNANSWERED = {
    "FodcProxyDown": 'fodc_operator_leader{pod="a"}',
    "FodcWebhookNotReady": 'fodc_webhook_ready{pod="w"}',
}


def cases() -> dict[str, dict[str, str]]:
    """Series by the name of their case."""
    return {
        "well": WELL,
        **{alert: WELL | told for alert, told in TROUBLE.items()},
        **{
            f"{alert}Unanswered": {one: told for one, told in WELL.items() if one != name}
            for alert, name in UNANSWERED.items()
        },
    }


def unit_test(case: str, series: dict[str, str]) -> dict[str, Any]:
    """Ask which alerts fire after an hour of these series; the answer names the case."""
    firing = f'label_replace(ALERTS{{alertstate="firing"}}, "case", "{case}", "", "")'
    asked = {"expr": f"sum by (case, alertname) ({firing})", "eval_time": "1h"}
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": told} for name, told in series.items()],
        "promql_expr_test": [asked],
    }


@pytest.fixture(scope="module")
def fired(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Names of the alerts that fire, by case: promtool is asked once for all."""
    if PROMTOOL is None:
        pytest.skip("NO PROMTOOL: not found; apt-get install prometheus")
    folder = tmp_path_factory.mktemp("alerts")
    rules = folder / "rules.yaml"
    rules.write_text(yaml.safe_dump(yaml.safe_load(RULES.read_text())["spec"]))
    tests = [unit_test(case, series) for case, series in cases().items()]
    asked = {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests}
    (folder / "test.yaml").write_text(yaml.safe_dump(asked))
    answer = subprocess.run(
        [PROMTOOL, "test", "rules", str(folder / "test.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    told = answer.stdout + answer.stderr
    assert "FAILED" in told, told
    found: dict[str, list[str]] = {case: [] for case in cases()}
    for alert, case in re.findall(r'{alertname="(\w+)", case="(\w+)"}', told):
        found[case].append(alert)
    return found


def test_no_alert_fires_while_all_is_well(fired: dict[str, list[str]]) -> None:
    assert fired["well"] == []


@pytest.mark.parametrize("alert", list(TROUBLE))
def test_an_alert_fires_when_it_should_and_no_other_does(
    fired: dict[str, list[str]], alert: str
) -> None:
    assert fired[alert] == [alert]


@pytest.mark.parametrize("alert", list(UNANSWERED))
def test_an_alert_fires_when_nobody_answers(fired: dict[str, list[str]], alert: str) -> None:
    assert fired[f"{alert}Unanswered"] == [alert]
