# SPDX-License-Identifier: Apache-2.0
"""Make a Helm chart of the manifests: `make chart` writes charts/banyandb-fodc.

The one idea: nothing is written twice. Every combination that the chart offers is rendered by
kustomize, and what differs between two of them, line by line, stands between `if` and `end`; so
`helm template` gives what `kubectl kustomize` gives, which e2e/test_chart.py tries for each.

    python -m manifests.chart [FOLDER]
"""

import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from e2e.controlplane import build

MANIFESTS: Final = Path(__file__).resolve().parent
ROOT: Final = MANIFESTS.parent
FOLDER: Final = ROOT / "charts" / "banyandb-fodc"
VERSION: Final = "0.1.0"
NAMESPACE: Final = "fodc-system"
MODES: Final = ("default", "ha", "small", "namespaced")
COMPONENTS: Final = {
    "cert-manager": "certManager",
    "monitoring": "monitoring",
    "pull-secrets": "pullSecrets",
    "remote-agent": "remoteAgent",
    # Behind monitoring, whose ServiceMonitor it changes.
    "insecure-http": "insecureHttp",
}
"""Folder of a component, and the value that switches it on."""
ADDING: Final = {"dashboards": "dashboards"}
"""The same of components that change nothing and add objects, whatever else is chosen."""
NOT_WITH_SMALL: Final = frozenset({"cert-manager", "monitoring"})
"""Both are about the Deployment of the webhook, which `small` has not."""

Tokens: TypeAlias = tuple[str, ...]
"""Lines, and blocks from `if` to `end` that stay in one piece."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What somebody may choose."""

    mode: str
    components: frozenset[str] = frozenset()


def variants() -> list[Variant]:
    """Return every combination that the chart offers; what only adds comes with each mode once."""
    return _changing() + [Variant(mode, frozenset(ADDING)) for mode in MODES]


def _changing() -> list[Variant]:
    found = [Variant(mode) for mode in MODES]
    for one in COMPONENTS:
        found += [replace(v, components=v.components | {one}) for v in found]
    return [v for v in found if v.mode != "small" or not v.components & NOT_WITH_SMALL]


def values_of(variant: Variant) -> dict[str, Any]:
    """Return the values that choose a variant."""
    words = COMPONENTS | ADDING
    switched = {words[one]: {"enabled": True} for one in sorted(variant.components)}
    return {"mode": variant.mode, **switched}


# ---- what kustomize gives ---------------------------------------------------------------------


def rendered(variant: Variant, kustomize: Sequence[str]) -> list[dict[str, Any]]:
    """Return the objects of a variant; raises CalledProcessError with what kustomize says.

    They are read only: variants share what is the same in them.
    """
    return parsed(_rendered(variant, tuple(kustomize)))


def parsed(text: str) -> list[dict[str, Any]]:
    """Return the objects of a text of several documents."""
    return [one for one in map(_parsed, re.split(r"^---\n", text, flags=re.MULTILINE)) if one]


@cache
def _parsed(text: str) -> dict[str, Any]:
    """Return one object; nearly all are in every variant, and reading them is what takes long."""
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@cache
def _rendered(variant: Variant, kustomize: tuple[str, ...]) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        base = Path(os.path.relpath(MANIFESTS, folder))
        whole = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [str(base / "overlays" / variant.mode)],
            # In their order: a later one changes what an earlier one brought.
            "components": [
                str(base / "components" / one)
                for one in (*COMPONENTS, *ADDING)
                if one in variant.components
            ],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(whole))
        answer = subprocess.run(  # noqa: S603 - kustomize on a folder that was just written
            [*kustomize, str(folder)], capture_output=True, text=True, check=True
        )
    return answer.stdout


def render_all(wanted: Iterable[Variant], kustomize: Sequence[str]) -> None:
    """Render several at a time, for `rendered` to have them at once."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda one: _rendered(one, tuple(kustomize)), wanted):
            pass


# ---- values in place of words -----------------------------------------------------------------

_WORDS: Final = {
    f"banyandb-fodc-operator:{VERSION}": "{{ .Values.images.operator }}",
    f"banyandb-fodc-agent:{VERSION}": "{{ .Values.images.agent }}",
    NAMESPACE: "{{ .Release.Namespace }}",
    "kubernetes.io/metadata.name: monitoring": (
        "kubernetes.io/metadata.name: {{ .Values.monitoring.namespace }}"
    ),
    "serviceaccounts:monitoring": "serviceaccounts:{{ .Values.monitoring.namespace }}",
    "name: fodc-artifact-store": "name: {{ .Values.artifacts.storeSecretName }}",
}
_STORAGE_CLASS: Final = (
    "{{- with .Values.artifacts.storageClassName }}\n  storageClassName: {{ . }}\n{{- end }}"
)


def lines_of(document: dict[str, Any]) -> Tokens:
    """Return an object as lines of a template."""
    return _lines_of(json.dumps(document))


@cache
def _lines_of(written: str) -> Tokens:
    document: dict[str, Any] = json.loads(written)
    text = yaml.safe_dump(document, sort_keys=False, width=10_000, allow_unicode=True)
    # What is a template already is one of somebody else, such as of an alert.
    text = text.replace("{{", "\0").replace("}}", '{{ "}}" }}').replace("\0", '{{ "{{" }}')
    for word, value in _WORDS.items():
        text = text.replace(word, value)
    lines = text.splitlines()
    match document["kind"], document["metadata"]["name"]:
        case "Deployment", "fodc-webhook":
            lines = _said(lines, "  replicas:", "{{ .Values.webhook.replicas }}")
        case "Deployment", "fodc-operator" if document["spec"]["replicas"] > 1:
            lines = _said(lines, "  replicas:", "{{ .Values.operator.replicas }}")
        case "PersistentVolumeClaim", _:
            lines = _said(lines, "      storage:", "{{ .Values.artifacts.size }}")
            at = lines.index("spec:") + 1
            lines[at:at] = [_STORAGE_CLASS]
    return tuple(lines)


def _said(lines: list[str], start: str, value: str) -> list[str]:
    found = [f"{start} {value}" if line.startswith(start) else line for line in lines]
    assert found != lines, f"no line {start}"
    return found


# ---- one template of several texts ------------------------------------------------------------


def merged(yes: Tokens, no: Tokens, condition: str) -> Tokens:
    """Return tokens that are the first where the condition holds, else the second."""
    if yes == no:
        return yes
    found: list[str] = []
    matcher = difflib.SequenceMatcher(a=yes, b=no, autojunk=False)
    for what, yes_at, yes_end, no_at, no_end in matcher.get_opcodes():
        if what == "equal":
            found += yes[yes_at:yes_end]
        else:
            found.append(_block(yes[yes_at:yes_end], no[no_at:no_end], condition))
    return tuple(found)


def _block(yes: Tokens, no: Tokens, condition: str) -> str:
    if not yes:
        return "\n".join([f"{{{{- if not ({condition}) }}}}", *no, "{{- end }}"])
    otherwise = ["{{- else }}", *no] if no else []
    return "\n".join([f"{{{{- if {condition} }}}}", *yes, *otherwise, "{{- end }}"])


def template_of(bodies: dict[Variant, Tokens]) -> Tokens:
    """Return one template of an object in every variant; absent ones have no lines."""
    for component, value in COMPONENTS.items():
        without = {v: body for v, body in bodies.items() if component not in v.components}
        joined = dict(without)
        for variant, body in without.items():
            given = replace(variant, components=variant.components | {component})
            if given in bodies:
                joined[variant] = merged(bodies[given], body, f".Values.{value}.enabled")
        bodies = joined
    of_modes = {variant.mode: body for variant, body in bodies.items()}
    found = of_modes["default"]
    for mode in MODES[1:]:
        found = merged(of_modes[mode], found, f'eq .Values.mode "{mode}"')
    return found


# ---- the chart --------------------------------------------------------------------------------

_CHART: Final = {
    "apiVersion": "v2",
    "name": "banyandb-fodc",
    "description": "First Occurrence Data Collection for Apache SkyWalking BanyanDB",
    "type": "application",
    "version": VERSION,
    "appVersion": VERSION,
    "kubeVersion": ">= 1.30.0-0",
}
_VALUES: Final = f"""\
# SPDX-License-Identifier: Apache-2.0
# Made by `make chart`; what the words mean is in manifests/README.md.

# default: one operator with a claim, two replicas of the webhook. ha: two operators and a bucket.
# small: both programs in one pod, without certManager and monitoring.
# namespaced: the default with rights in the namespace of the release and in no other.
mode: default
images:
  operator: banyandb-fodc-operator:{VERSION}
  # What is put into database pods.
  agent: banyandb-fodc-agent:{VERSION}
# Only with mode ha.
operator:
  replicas: 2
webhook:
  replicas: 2
artifacts:
  # Of the claim; mode ha has none.
  size: 10Gi
  storageClassName: ""
  # Only with mode ha: the Secret that says which bucket.
  storeSecretName: fodc-artifact-store
certManager:
  enabled: false
monitoring:
  enabled: false
  # Where Prometheus lives.
  namespace: monitoring
# Four Grafana boards as a ConfigMap for Grafana's sidecar.
dashboards:
  enabled: false
# Whether the operator may look if imagePullSecrets of FodcInjections exist.
pullSecrets:
  enabled: false
remoteAgent:
  enabled: false
# HTTP inside the cluster in the clear: tokens can be read on its network.
insecureHttp:
  enabled: false
# Kinds are objects of the release: an uninstallation takes them, and all that is of these kinds.
crds: true
# Helm wants the namespace of a release to be there before it, or to make it by itself.
createNamespace: false
"""
_REFUSAL: Final = """\
{{- if and (eq .Values.mode "small") (or .Values.certManager.enabled .Values.monitoring.enabled) }}
{{- fail "mode small has no webhook apart: certManager and monitoring need another mode" }}
{{- end }}
"""
_GUARDS: Final = {
    "CustomResourceDefinition": ".Values.crds",
    "Namespace": ".Values.createNamespace",
}


def schema_of(value: object) -> dict[str, Any]:
    """Return a JSON schema that knows exactly the values that there are."""
    match value:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer", "minimum": 1, "maximum": 5}
        case dict():
            return {
                "type": "object",
                "additionalProperties": False,
                "properties": {name: schema_of(one) for name, one in value.items()},
            }
        case _:
            return {"type": "string"}


def values_schema() -> dict[str, Any]:
    """Return the schema of the values: a word that nobody reads is refused by helm."""
    schema = schema_of(yaml.safe_load(_VALUES))
    schema["properties"]["mode"] = {"enum": list(MODES)}
    # Helm itself puts this one in.
    schema["properties"]["global"] = {"type": "object"}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **schema}


def templates(kustomize: Sequence[str]) -> dict[str, str]:
    """Return the templates by the name of their file."""
    offered = _changing()
    render_all(offered, kustomize)
    every: dict[tuple[str, str], dict[Variant, Tokens]] = {}
    for variant in offered:
        for one in rendered(variant, kustomize):
            bodies = every.setdefault(
                (one["kind"], one["metadata"]["name"]), dict.fromkeys(offered, ())
            )
            bodies[variant] = lines_of(one)
    found = {"refusals.yaml": _REFUSAL}
    for (kind, name), bodies in every.items():
        tokens = template_of(bodies)
        if guard := _GUARDS.get(kind):
            tokens = (_block(tokens, (), guard),)
        found[_file_of(kind, name)] = _text_of(tokens)
    for component, value in ADDING.items():
        for one in rendered(Variant(MODES[0], frozenset({component})), kustomize):
            kind, name = one["kind"], one["metadata"]["name"]
            if (kind, name) not in every:
                guarded = _block(lines_of(one), (), f".Values.{value}.enabled")
                found[_file_of(kind, name)] = _text_of((guarded,))
    return found


def _file_of(kind: str, name: str) -> str:
    return f"{kind.lower()}-{name}.yaml"


def _text_of(tokens: Tokens) -> str:
    return "\n".join(tokens).lstrip("\n") + "\n"


def write(folder: Path, kustomize: Sequence[str]) -> None:
    """Write the chart anew."""
    made = templates(kustomize)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(yaml.safe_dump(_CHART, sort_keys=False))
    (folder / "values.yaml").write_text(_VALUES)
    (folder / "values.schema.json").write_text(json.dumps(values_schema(), indent=2) + "\n")
    for name, text in made.items():
        (folder / "templates" / name).write_text(text)


def kustomize_here() -> Sequence[str] | None:
    """Return the command that renders a folder, None where there is none.

    Programs of a distribution are often years old and know no components: they come last.
    """
    match build.binaries(build=False, names=("kubectl",)):
        case build.Binaries() as built:
            return (built.path("kubectl"), "kustomize")
    if found := shutil.which("kustomize"):
        return (found, "build")
    found = shutil.which("kubectl")
    return (found, "kustomize") if found else None


def main(arguments: Iterable[str]) -> int:
    """Write the chart; 1 where nothing renders the manifests."""
    kustomize = kustomize_here()
    if kustomize is None:
        print("neither kubectl nor kustomize is here, nor built by `make e2e`", file=sys.stderr)
        return 1
    folder = next((Path(one) for one in arguments), FOLDER)
    try:
        write(folder, kustomize)
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(error.cmd)}: {error.stderr.strip()}", file=sys.stderr)
        return 1
    print(f"{folder}: {len(list((folder / 'templates').iterdir()))} templates")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
