# SPDX-License-Identifier: Apache-2.0
"""Where the operator's listeners get their certificate from, and agents the authority of it.

The one idea: one certificate, that of the webhook, serves every listener, and the leader keeps it.
Files take its place where somebody else keeps certificates, such as cert-manager.
"""

from pathlib import Path

from fodc_kube.client import Cluster
from fodc_operator.settings import Settings
from fodc_tls.parts import LEAF_CERTIFICATE, LEAF_KEY
from fodc_tls.serving import Source, files_source
from fodc_webhook.certificates import CA_CERTIFICATE
from fodc_webhook.secret_source import secret_source


def kept(cluster: Cluster, settings: Settings) -> Source | None:
    """Return the Secret that the leader keeps, None where somebody else keeps certificates."""
    told = settings.policies
    if not told.config_name:
        return None
    return secret_source(cluster, told.own_namespace, told.secret_name)


def of_http(cluster: Cluster, settings: Settings) -> Source | None:
    """Return what people are shown unless files are told; None leaves the port in the clear.

    It is what agents are shown.
    """
    if not settings.is_http_sealed:
        return None
    agents = settings.proxy.agents
    files = {LEAF_CERTIFICATE: agents.certificate_file, LEAF_KEY: agents.key_file}
    if agents.certificate_file:
        paths = {name: Path(path) for name, path in files.items()}
        return files_source(paths, "--grpc-tls-*-file")
    return kept(cluster, settings)


def authority(cluster: Cluster, settings: Settings) -> Source | None:
    """Return who signs what agents are shown; None where they cannot verify it by us."""
    agents = settings.proxy.agents
    if settings.agent_ca_file:
        return files_source({CA_CERTIFICATE: Path(settings.agent_ca_file)}, "--agent-ca-file")
    # Of a certificate in files the authority is not known.
    return None if agents.certificate_file else kept(cluster, settings)
