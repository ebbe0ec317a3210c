# SPDX-License-Identifier: Apache-2.0
"""The CRD files: described, bounded, exemplified, and of one mind with the programs."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fodc_agent.settings import OPTIONS as AGENT_OPTIONS
from fodc_api import requests as api
from fodc_protocol.capabilities import CapabilityState
from fodc_protocol.profiles import NO_KINDS, PROFILE_PATTERN, Profile
from fodc_proxy.captures import model
from fodc_webhook.resources import fodc_injection
from fodc_webhook.resources.fodc_injection import AgentTemplate, Flavor, Mode, OnError
from tests.manifests.schemas import CRDS, EXAMPLES, Field, Kind, errors, kinds, paths_in

KINDS = kinds()
each_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
# A map's size is told by its properties, a fixed vocabulary by its words.
BOUNDS = {"string": "maxLength", "array": "maxItems"}


def request_schema(*path: str) -> dict[str, Any]:
    return schema_of("DiagnosticRequest", *path)


def schema_of(name: str, *path: str) -> dict[str, Any]:
    (kind,) = (kind for kind in KINDS if kind.name == name)
    schema = kind.schema
    for part in path:
        schema = schema["items"] if part == "[]" else schema["properties"][part]
    return schema


def paths(fields: list[Field]) -> list[str]:
    return [field.path for field in fields]


def test_there_are_the_three_kinds_and_the_kustomization_names_each_file() -> None:
    listed = yaml.safe_load((CRDS / "kustomization.yaml").read_text())["resources"]

    assert [kind.name for kind in KINDS] == ["DiagnosticRequest", "FodcInjection", "FodcNode"]
    assert sorted(listed) == [f"{kind.name.lower()}s.yaml" for kind in KINDS]


@each_kind
def test_names_version_and_categories_are_those_of_the_group(kind: Kind) -> None:
    spec, names = kind.document["spec"], kind.document["spec"]["names"]

    assert kind.document["metadata"]["name"] == f"{names['plural']}.fodc.banyandb.dev"
    assert (spec["group"], spec["scope"]) == ("fodc.banyandb.dev", "Namespaced")
    assert names["categories"] == ["fodc", "banyandb"]
    assert "dr" not in names["shortNames"]  # Istio's
    assert kind.version["name"] == "v1alpha1"
    assert (kind.version["served"], kind.version["storage"]) == (True, True)
    assert kind.version["subresources"] == {"status": {}}


@each_kind
def test_every_field_is_described_in_sentences(kind: Kind) -> None:
    silent = [
        field.path
        for field in kind.fields()
        if not (text := field.schema.get("description", "")).endswith((".", "!"))
        or not text[0].isupper()
    ]

    assert kind.schema["description"].endswith(".")
    assert silent == []


@each_kind
def test_every_text_and_list_is_bounded_so_that_the_cost_of_rules_is_known(kind: Kind) -> None:
    unbounded = [
        field.path
        for field in kind.fields()
        if (bound := BOUNDS.get(field.schema.get("type", "string")))
        and not {bound, "enum"} & set(field.schema)
    ]

    assert unbounded == []


@each_kind
def test_every_list_says_how_it_is_merged(kind: Kind) -> None:
    lists = [field for field in kind.fields() if field.schema.get("type") == "array"]

    assert paths([f for f in lists if "x-kubernetes-list-type" not in f.schema]) == []


@each_kind
def test_a_wrong_word_is_answered_once(kind: Kind) -> None:
    twice = [f.path for f in kind.fields() if {"enum", "maxLength"} <= set(f.schema)]

    assert twice == []


def test_every_span_of_time_is_whole_seconds_within_limits() -> None:
    (kind,) = (kind for kind in KINDS if kind.name == "DiagnosticRequest")
    spans = {f.path: f.schema for f in kind.fields() if "Seconds" in f.path and ".spec" in f.path}

    assert {path: (of["type"], of["minimum"], of["maximum"]) for path, of in spans.items()} == {
        ".spec.captures[].durationSeconds": ("integer", 1, 120),
        ".spec.captures[].window.spanSeconds": ("integer", 1, 86_400),
        ".spec.execution.startDeadlineSeconds": ("integer", 1, 3600),
        ".spec.execution.activeDeadlineSeconds": ("integer", 1, 7200),
        ".spec.execution.targetTimeoutSlackSeconds": ("integer", 1, 600),
        ".spec.ttlSecondsAfterFinished": ("integer", 60, 30 * 24 * 3600),
    }


@each_kind
def test_every_constant_is_in_camel_case(kind: Kind) -> None:
    words = [(f.path, word) for f in kind.fields() for word in f.schema.get("enum", ())]

    assert [pair for pair in words if not re.fullmatch("[A-Z][A-Za-z]*", pair[1])] == []


@each_kind
def test_every_instant_is_called_a_time_and_nothing_else_is(kind: Kind) -> None:
    instants = {f.path for f in kind.fields() if f.schema.get("format") == "date-time"}

    assert instants == {f.path for f in kind.fields() if f.path.endswith("Time")}


@pytest.mark.parametrize("path", sorted(CRDS.glob("*.yaml")), ids=lambda path: path.name)
def test_no_key_is_there_twice_of_which_the_server_would_refuse_the_file(path: Path) -> None:
    twice: list[str] = []

    def seen(node: yaml.Node | None) -> None:
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            twice.extend(key for key in set(keys) if keys.count(key) > 1)
        for child in node.value if isinstance(node, yaml.CollectionNode) else ():
            for one in child if isinstance(child, tuple) else (child,):
                seen(one)

    for document in yaml.compose_all(path.read_text()):
        seen(document)

    assert twice == []


@each_kind
def test_no_pattern_answers_with_a_regular_expression(kind: Kind) -> None:
    of_people = [f for f in kind.fields() if f.path.startswith(".spec")]

    assert [f.path for f in of_people if "pattern" in f.schema] == []


@each_kind
def test_every_default_is_of_its_type_and_allowed(kind: Kind) -> None:
    wrong = [
        (field.path, found)
        for field in kind.fields()
        if "default" in field.schema and (found := errors(field.schema["default"], field.schema))
    ]

    assert wrong == []


@each_kind
def test_every_field_appears_in_an_example(kind: Kind) -> None:
    used = {p for _, document in kind.examples() for p in paths_in(document, kind.schema)}

    assert [path for path in paths(kind.fields()) if path not in used] == []


@each_kind
def test_every_example_fits_the_schema_and_has_no_unknown_field(kind: Kind) -> None:
    found = {path.name: errors(document, kind.schema) for path, document in kind.examples()}

    assert found != {}
    assert {name: told for name, told in found.items() if told} == {}


def test_no_example_is_a_node_or_has_a_status_and_each_folder_has_one_policy_at_most() -> None:
    found = [(path, yaml.safe_load(path.read_text())) for path in EXAMPLES]
    policies = [path.parent for path, document in found if document["kind"] == "FodcInjection"]

    assert {document["kind"] for _, document in found} == {"DiagnosticRequest", "FodcInjection"}
    assert [path for path, document in found if "status" in document] == []
    assert len(policies) == len(set(policies))


def test_the_check_of_examples_finds_unknown_fields_and_wrong_words() -> None:
    schema = request_schema("spec", "captures", "[]")

    assert errors({"type": "CPUProfile", "rate": 1}, schema) != []
    assert errors({"type": "k" * 41}, schema) != []


@each_kind
def test_every_column_and_selector_points_at_a_field(kind: Kind) -> None:
    columns = [column["jsonPath"] for column in kind.version["additionalPrinterColumns"]]
    selectors = [one["jsonPath"] for one in kind.version["selectableFields"]]
    # One item of a list, such as a condition, is found by a filter.
    columns = [re.sub(r"\[(\?\(@\.\w+==\"\w+\"\)|\d)\]", "[]", path) for path in columns]
    known = {*paths(kind.fields()), ".metadata.creationTimestamp"}

    assert [path for path in (*columns, *selectors) if path not in known] == []


@each_kind
def test_every_date_column_is_a_time_and_every_column_is_described(kind: Kind) -> None:
    schemas = {field.path: field.schema for field in kind.fields()}
    columns = kind.version["additionalPrinterColumns"]
    dates = [c["jsonPath"] for c in columns if c["type"] == "date"]

    assert {schemas[p].get("format") for p in dates if p in schemas} <= {"date-time"}
    assert [column["name"] for column in columns if not column.get("description")] == []
    assert columns[-1]["name"] == "Age"


@each_kind
def test_every_rule_has_a_message(kind: Kind) -> None:
    silent = [
        (field.path, rule["rule"])
        for field in (Field("", kind.schema), *kind.fields())
        for rule in field.schema.get("x-kubernetes-validations", [])
        if not rule.get("message")
    ]

    assert silent == []


# ---- of one mind with the programs -----------------------------------------------------------


def test_the_types_of_captures_are_those_that_the_product_can_take() -> None:
    known, refused = request_schema("spec", "captures", "[]", "type")["x-kubernetes-validations"]
    crd_types = [kind.facts.crd_type for kind in Profile]
    aliases = {"profile", *(name.lower() for name in crd_types)}

    assert re.findall("'([A-Z][A-Za-z]+)'", known["rule"]) == crd_types
    assert f"^{PROFILE_PATTERN}$" in known["rule"]
    assert ", ".join(crd_types) in known["message"]
    assert set(re.findall("'([a-z]+)'", refused["rule"])) == {*Profile, *aliases, *NO_KINDS}


def test_the_names_that_captures_get_by_default_are_those_of_the_table_of_profiles() -> None:
    (*_, rule) = rules("spec", "captures")

    assert [k for k in Profile if f"['{k.facts.crd_type}', '{k}']" not in rule] == []
    assert api.MAX_CAPTURES == 8  # so many places the rule knows


def rules(*path: str) -> list[str]:
    return [rule["rule"] for rule in request_schema(*path)["x-kubernetes-validations"]]


def test_the_rules_about_durations_are_those_of_the_table_of_profiles() -> None:
    item, spec = rules("spec", "captures", "[]"), rules("spec")
    timed = [kind.facts for kind in Profile if kind.facts.timed]

    assert {facts.crd_type: facts.max_duration_s for facts in timed} == {
        "CPUProfile": 120,
        "BlockProfile": 120,
        "MutexProfile": 120,
        "ExecutionTrace": 30,
        "OnCPUProfile": 60,
        "OffCPUProfile": 60,
        "ReadLatency": 60,
        "BlockLatency": 60,
    }
    assert {facts.crd_type: facts.default_duration_s for facts in timed} == {
        "CPUProfile": 30,
        "BlockProfile": 30,
        "MutexProfile": 30,
        "ExecutionTrace": 5,
        "OnCPUProfile": 10,
        "OffCPUProfile": 10,
        "ReadLatency": 10,
        "BlockLatency": 10,
    }
    assert any("'ExecutionTrace' ||" in r and "self.durationSeconds <= 30" in r for r in item)
    assert any("'OffCPUProfile'" in r and "self.durationSeconds <= 60" in r for r in item)
    assert "c.type == 'ExecutionTrace' ? 5" in spec[-1]
    assert "'BlockLatency'] ? 10" in spec[-1]


def test_the_exclusive_types_are_those_of_the_table_of_profiles() -> None:
    (rule, *_) = rules("spec", "captures")
    exclusive = [kind.facts.crd_type for kind in Profile if kind.facts.exclusive]

    assert exclusive == ["CPUProfile", "ExecutionTrace"]
    assert all(f"c.type == '{name}').size() <= 1" in rule for name in exclusive)


def test_the_defaults_of_the_execution_are_those_of_the_coordinator() -> None:
    properties = request_schema("spec", "execution")["properties"]
    known = model.Execution()

    assert {name: schema["default"] for name, schema in properties.items()} == {
        "parallelism": known.parallelism,
        "startDeadlineSeconds": known.start_deadline_s,
        "activeDeadlineSeconds": known.active_deadline_s,
        "targetTimeoutSlackSeconds": known.target_timeout_slack_s,
        "backoffLimit": known.backoff_limit,
        "failurePolicy": str(known.failure_policy),
    }


def test_the_limits_are_those_of_the_coordinator() -> None:
    assert request_schema("spec", "captures")["maxItems"] == api.MAX_CAPTURES
    assert request_schema("spec", "target", "names")["maxItems"] == api.MAX_NAMES
    assert request_schema("spec", "purpose")["maxLength"] == api.MAX_PURPOSE_LENGTH


def test_the_phases_are_those_of_the_coordinator() -> None:
    whole = request_schema("status", "phase")["enum"]
    target = request_schema("status", "targets", "[]", "phase")["enum"]
    result = request_schema("status", "targets", "[]", "results", "[]", "phase")["enum"]

    assert whole == [str(phase) for phase in model.RequestPhase]
    assert target == result == [str(phase) for phase in model.Phase]


def test_the_states_of_capabilities_are_those_that_agents_tell() -> None:
    (node,) = (kind for kind in KINDS if kind.name == "FodcNode")
    (state,) = (f for f in node.fields() if f.path == ".status.capabilities[].state")

    assert state.schema["enum"] == [str(word) for word in CapabilityState]


def injection_schema(*path: str) -> dict[str, Any]:
    return schema_of("FodcInjection", "spec", *path)


def defaults(*path: str) -> dict[str, Any]:
    properties = injection_schema(*path)["properties"]
    return {name: one["default"] for name, one in properties.items() if "default" in one}


MIB = 1024 * 1024


def test_the_words_of_an_injection_are_those_of_the_operator() -> None:
    words = {name: injection_schema(*name.split("."))["enum"] for name in INJECTION_WORDS}

    assert words == {
        name: [str(word) for word in vocabulary] for name, vocabulary in INJECTION_WORDS.items()
    }


INJECTION_WORDS = {
    "mode": Mode,
    "flavor": Flavor,
    "onError": OnError,
    "onAgentFailure": fodc_injection.OnAgentFailure,
    "agent.imagePullPolicy": fodc_injection.PullPolicy,
}


def test_the_defaults_of_an_injection_are_those_of_the_operator() -> None:
    known = AgentTemplate("image", "proxy:1")
    plain = {"mode": "Auto", "flavor": "Basic", "onError": "Admit"}

    assert defaults() == plain | {
        "agent": {},
        "onAgentFailure": "Release",
        "attachRemotely": False,
        "ptrace": False,
        "takeOver": False,
        "paused": False,
    }
    assert defaults("agent", "resources", "requests") == known.requests
    assert defaults("agent", "resources", "limits") == known.limits
    assert defaults("agent") == {
        "resources": {},
        "captureQuota": f"{known.capture_quota_bytes // MIB}Mi",
        "windowSize": f"{known.window_bytes // MIB}Mi",
        "logLevel": known.log_level,
    }


def test_the_agent_starts_with_the_least_quota_that_is_accepted() -> None:
    """It refuses a quota below the largest single capture."""
    (largest,) = (one for one in AGENT_OPTIONS if one.name == "capture-max-bytes")
    (rule,) = injection_schema("agent", "captureQuota")["x-kubernetes-validations"]

    assert largest.default == "64MiB"
    assert "compareTo(quantity('64Mi')) >= 0" in rule["rule"]


def test_the_agent_knows_every_level_of_logging_that_is_accepted() -> None:
    (option,) = (one for one in AGENT_OPTIONS if one.name == "log-level")

    assert injection_schema("agent", "logLevel")["enum"] == [
        one.capitalize() for one in option.choices
    ]


def test_no_key_of_a_file_stands_twice_so_that_every_reader_sees_the_same() -> None:
    """A reader of Go's refuses such a file; Python's takes the last one and says nothing."""

    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice.extend(str(key) for key in set(keys) if keys.count(key) > 1)
            return super().construct_mapping(node, deep)

    twice: list[str] = []
    for path in sorted(CRDS.rglob("*.yaml")):
        list(yaml.load_all(path.read_text(), Strict))

    assert twice == []
