# SPDX-License-Identifier: Apache-2.0
"""Labels and annotations by which people and the injection talk to each other.

The one idea: a label decides whether a pod reaches the webhook at all, because the API server
selects by labels; annotations say the rest, and what the injection did is written as both.
"""

from typing import Final

from fodc_webhook.kinds import GROUP as LABEL_PREFIX

# ---- what people write ------------------------------------------------------------------------

OPT_IN_LABEL: Final = f"{LABEL_PREFIX}/inject"
"""On a namespace or a pod: `enabled`; on a pod also `disabled`, which wins over its namespace."""
ENABLED: Final = "enabled"
DISABLED: Final = "disabled"

POLICY: Final = f"{LABEL_PREFIX}/injection"
"""Pod annotation: the name of the FodcInjection to use, when several would fit."""
CONTAINER: Final = f"{LABEL_PREFIX}/container"
"""Pod annotation: name of the database container."""
FLAVOR: Final = f"{LABEL_PREFIX}/flavor"
MODE: Final = f"{LABEL_PREFIX}/mode"
PPROF_PORT: Final = f"{LABEL_PREFIX}/pprof-port"
ROLE: Final = f"{LABEL_PREFIX}/node-role"
"""Pod annotation: data, liaison or standalone, where the pod does not tell."""
TIER: Final = f"{LABEL_PREFIX}/tier"
"""Pod annotation: hot, warm, cold or another word, where the pod does not tell."""

# ---- what the injection writes ----------------------------------------------------------------

INJECTED_BY: Final = f"{LABEL_PREFIX}/injected-by"
"""Pod label: the name of the FodcInjection that was used."""
REVISION: Final = f"{LABEL_PREFIX}/revision"
"""Pod annotation: hash of what was put in; another hash means that the pod is out of date."""
USED_FLAVOR: Final = f"{LABEL_PREFIX}/used-flavor"
NOTE: Final = f"{LABEL_PREFIX}/note"
"""Pod annotation: what is less than the policy asked for, and why; absent when nothing is."""
SKIPPED: Final = f"{LABEL_PREFIX}/not-injected"
"""Pod annotation: `<Reason>: <sentence>` on a pod that was admitted without an agent."""

LOCAL_VOLUMES: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
"""Pod annotation of the cluster autoscaler: emptyDirs that keep no node from being drained."""

AGENT_CONTAINER: Final = "fodc-agent"
"""Name of the container; the chart of BanyanDB calls its own so too (upstream-proxy §16.3)."""
TOKEN_AUDIENCE: Final = "fodc-proxy"  # noqa: S105 - a name
