# SPDX-License-Identifier: Apache-2.0
"""Strategies for pods that an API server admits, sensible and odd, and for policies."""

from typing import Any

from hypothesis import strategies as st

from fodc_webhook.inject import marks
from fodc_webhook.resources.fodc_injection import Policy
from tests.webhook.pods import crash, policy

NAMES = ("banyandb", "data", "liaison", "lifecycle", "istio-proxy", "fodc-agent", "a", "b", "c")
IMAGES = ("apache/skywalking-banyandb:0.10.0", "busybox", "registry:5000/x/banyandb@sha256:00", "")
WORDS = ("data", "liaison", "standalone", "--grpc-port=27912", "--name", "9090", "/banyand", "sh")
PATHS = ("/tmp/crash", "/tmp", "/data", "/data/crash/", "/var/lib/fodc", "/tmp/crash/below")
VOLUMES = ("data", "fodc-agent-data", "fodc-shared-crash", "scratch")
VARIABLES = (
    "POD_NAME",
    "BYDB_NODE_LABELS",
    "BYDB_PANIC_DIAGNOSTICS_DIR",
    "BYDB_PANIC_DIAGNOSTICS_ENABLED",
    "BYDB_OBSERVABILITY_LISTENER_ADDR",
)
VALUES = ("", "type=warm", "/data/crash", "relative", "false", ":3121", "$(POD_NAME)", "/etc")
CPU = ("0", "100m", "1", "1.5", "2000m")
SIZES = ("0", "64Mi", "1Gi", "128974848", "129e6", "1.5Gi")


def fields(required: dict[str, Any], **optional: st.SearchStrategy[Any]) -> Any:
    """An object with the required fields and any of the others; absent, or as they come."""
    always = {name: st.just(value) for name, value in required.items()}
    return st.fixed_dictionaries(always, optional=optional)


def listed(strategy: st.SearchStrategy[Any], most: int = 3) -> Any:
    """A list, empty or null: the API server admits all three where a list may be absent."""
    return st.one_of(st.none(), st.lists(strategy, max_size=most))


quantities = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.sampled_from(CPU),
        "memory": st.sampled_from(SIZES),
        "ephemeral-storage": st.sampled_from(SIZES),
    },
)


@st.composite
def resources(draw: st.DrawFn) -> Any:
    """Requests that are not above the limits, as a server demands; sometimes equal."""
    limits = draw(quantities)
    if draw(st.booleans()):
        return {"limits": limits, "requests": dict(limits)}
    return draw(st.sampled_from([{}, {"limits": limits}, {"requests": limits}]))


field_refs = st.just({"fieldRef": {"fieldPath": "metadata.name"}})
variables = st.one_of(
    st.builds(
        lambda name, value: {"name": name, "value": value},
        st.sampled_from(VARIABLES),
        st.sampled_from(VALUES),
    ),
    st.builds(
        lambda name, source: {"name": name, "valueFrom": source},
        st.sampled_from(VARIABLES),
        st.one_of(field_refs, st.just({"secretKeyRef": {"name": "s", "key": "k"}})),
    ),
)
mounts = st.builds(
    lambda name, path, more: {"name": name, "mountPath": path, **more},
    st.sampled_from(VOLUMES),
    st.sampled_from(PATHS),
    st.sampled_from(
        [
            {},
            {"subPath": "x"},
            {"subPathExpr": "$(POD_NAME)/x"},
            {"subPathExpr": "$(OTHER)"},
            {"readOnly": True},
        ]
    ),
)
ports = st.builds(
    lambda port, more: {"containerPort": port, **more},
    st.sampled_from([2121, 6060, 9090, 17912, 19090]),
    st.sampled_from([{}, {"name": "observability"}, {"name": "fodc-agent-http"}, {"hostPort": 1}]),
)
users = st.fixed_dictionaries(
    {},
    optional={
        "runAsUser": st.sampled_from([0, 1000]),
        "runAsGroup": st.sampled_from([0, 1000]),
        "runAsNonRoot": st.booleans(),
    },
)


def container(name: str) -> Any:
    return fields(
        {"name": name},
        image=st.sampled_from(IMAGES),
        command=listed(st.sampled_from(WORDS)),
        args=listed(st.sampled_from(WORDS)),
        env=listed(variables),
        ports=listed(ports),
        volumeMounts=listed(mounts),
        resources=resources(),
        securityContext=st.one_of(st.none(), users),
        restartPolicy=st.just("Always"),
    )


@st.composite
def containers(draw: st.DrawFn, most: int) -> Any:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=most, unique=True))
    return [draw(container(name)) for name in names]


@st.composite
def databases(draw: st.DrawFn) -> Any:
    """A container that is mostly the only one that looks like a database."""
    found = draw(container(draw(st.sampled_from(["banyandb", "banyandb", "data", "z"]))))
    if draw(st.integers(0, 7)):
        found |= {"args": ["data", *draw(st.sampled_from([[], ["--grpc-port=1"]]))]}
        found.pop("command", None)
    return found


@st.composite
def metadata(draw: st.DrawFn) -> Any:
    labels = draw(st.sampled_from([{}, {"app": "banyandb-data"}, {"app.kubernetes.io/name": "x"}]))
    annotations = draw(
        st.dictionaries(
            st.sampled_from(
                ["else", marks.SKIPPED, marks.REVISION, marks.TIER, marks.FLAVOR, marks.CONTAINER]
            ),
            st.sampled_from(["", "banyandb", "Process", "Basic", "?"]),
            max_size=1,
        )
    )
    maybe = {"name": "p-0", "generateName": "p-", "labels": labels, "annotations": annotations}
    kept = draw(st.sets(st.sampled_from(sorted(maybe))))
    return {name: maybe[name] for name in kept}


volumes = st.lists(
    st.builds(
        lambda name, source: {"name": name, **source},
        st.sampled_from(VOLUMES),
        st.sampled_from([{"emptyDir": {}}, {"persistentVolumeClaim": {"claimName": "c"}}]),
    ),
    max_size=4,
    unique_by=lambda one: one["name"],
)


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    database = draw(databases())
    inits = draw(st.one_of(st.none(), containers(2)))
    taken = {database["name"], *(one["name"] for one in inits or ())}
    others = [one for one in draw(containers(2)) if one["name"] not in taken]
    inits = inits and [one for one in inits if one["name"] != database["name"]]
    spec = draw(
        fields(
            {"containers": [database, *others]},
            volumes=st.one_of(st.none(), volumes),
            hostNetwork=st.booleans(),
            hostPID=st.booleans(),
            hostUsers=st.booleans(),
            shareProcessNamespace=st.booleans(),
            restartPolicy=st.sampled_from([*["Always"] * 7, "Never"]),
            securityContext=st.one_of(st.none(), users),
            resources=st.one_of(st.none(), resources()),
            nodeSelector=st.one_of(st.none(), st.just({"kubernetes.io/os": "linux"})),
            dnsPolicy=st.sampled_from(["ClusterFirst", "None"]),
        )
    )
    if inits is not None or draw(st.booleans()):
        spec["initContainers"] = inits
    return {"metadata": draw(metadata()), "spec": spec}


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    flavor = draw(st.sampled_from(["Basic", "Process", "EBPF"]))
    shared = [crash(draw(st.sampled_from(["/tmp/crash", "/data/crash"])))]
    shared.append({"name": "more", "mountPath": "/data"})
    return policy(
        flavor=flavor,
        ptrace=flavor == "EBPF" and draw(st.booleans()),
        mode=draw(st.sampled_from(["Auto", "NativeSidecar", "Container"])),
        databaseContainer=draw(st.sampled_from(["", "", "", "", "banyandb"])),
        sharedDirectories=shared[: draw(st.integers(0, 2))],
        takeOver=draw(st.integers(0, 3)) > 0,
        agent=draw(
            st.sampled_from([{}, {"tlsSecretName": "t"}, {"resources": {"limits": {"cpu": "1"}}}])
        ),
    )


servers = st.sampled_from([(1, 34), (1, 29), (1, 28), (1, 34), (1, 28), (1, 27), (1, 26)])
namespaces = st.sampled_from(
    [{}] + [{"pod-security.kubernetes.io/enforce": at} for at in ("privileged", "restricted", "?")]
)
