# SPDX-License-Identifier: Apache-2.0
"""The table of routes: everything that the proxy answers over HTTP, one row each."""

from typing import Final

from fodc_api import access as access_api
from fodc_api import artifacts as artifacts_api
from fodc_api import requests as requests_api
from fodc_api.access import LinkQuery
from fodc_api.cluster import Cluster, ClusterQuery
from fodc_api.configuration import ConfigurationQuery, Configurations
from fodc_api.findings import Crash, FindingsQuery, PressureEvent
from fodc_api.incidents import IncidentRecord, Incidents, IncidentsQuery
from fodc_api.lifecycle import Lifecycle
from fodc_api.proxy import Alive, Health, Readiness, Version
from fodc_api.topology import Topology
from fodc_api.windows import MetricsQuery, WindowSeries, WindowsQuery
from fodc_api.words import Right
from fodc_proxy.http import (
    artifacts,
    cluster,
    configuration,
    evidence,
    findings,
    health,
    incidents,
    metrics,
    openapi,
    requests,
    sessions,
)
from fodc_proxy.http.routes import (
    Media,
    NothingAsked,
    PassedOver,
    Route,
    Told,
    posting,
    querying,
    told,
)

_TEXT: Final = Media(("text/plain",))
_EMPTY: Final = Media()
_BYTES: Final = Told(
    "The bytes; ETag and Repr-Digest are those of the whole artifact.",
    Media(("application/octet-stream", "application/gzip"), is_binary=True),
)
_ONE_REQUEST: Final = requests.COLLECTION + "/{id}"
_ONE_ARTIFACT: Final = "/artifacts/{id}"
_AS_TEXT: Final = (400, 401, 403, 404, 500, 503)

_EXISTING: Final = (
    Route(
        "GET",
        "/metrics",
        "metrics",
        "Latest values of all nodes in text exposition format",
        Right.METRICS,
        MetricsQuery,
        None,
        told({200: Told("The page.", _TEXT)}, (400, 404), as_text=_AS_TEXT),
        querying(MetricsQuery, metrics.metrics),
        headers=(metrics.SCRAPE_TIMEOUT,),
        is_existing=True,
    ),
    Route(
        "GET",
        "/metrics-windows",
        "metricsWindows",
        "Values over time from the flight recorders",
        Right.VIEW,
        WindowsQuery,
        None,
        told(
            {200: Told("Series with their points.", tuple[WindowSeries, ...])},
            (400, 404),
            as_text=_AS_TEXT,
        ),
        querying(WindowsQuery, metrics.windows),
        is_existing=True,
    ),
    Route(
        "GET",
        "/health",
        "health",
        "Counts of agents",
        Right.ANYBODY,
        None,
        None,
        told({200: Told("Always.", Health)}, (), is_open=True),
        querying(PassedOver, health.health),
        is_existing=True,
    ),
    Route(
        "GET",
        "/cluster/topology",
        "topology",
        "Who is in the cluster and who calls whom",
        Right.VIEW,
        None,
        None,
        told({200: Told("Nodes and calls.", Topology)}, (), as_text=_AS_TEXT),
        querying(PassedOver, evidence.topology),
        is_existing=True,
    ),
    Route(
        "GET",
        "/cluster/lifecycle",
        "lifecycle",
        "How groups are stored, what was migrated, whether the schema is the same everywhere",
        Right.VIEW,
        None,
        None,
        told({200: Told("Groups and reports.", Lifecycle)}, (), as_text=_AS_TEXT),
        querying(PassedOver, evidence.lifecycle),
        is_existing=True,
    ),
    Route(
        "GET",
        "/diagnostics",
        "crashes",
        "Crashes of the nodes, also of those that are gone",
        Right.ARTIFACTS,
        FindingsQuery,
        None,
        told({200: Told("Crashes.", tuple[Crash, ...])}, (400,), as_text=_AS_TEXT),
        querying(FindingsQuery, findings.crashes),
        is_existing=True,
        is_read_audited=True,
    ),
    Route(
        "GET",
        "/pressure-profiles",
        "pressureEvents",
        "Times at which nodes came near their memory limit",
        Right.VIEW,
        FindingsQuery,
        None,
        told({200: Told("Events.", tuple[PressureEvent, ...])}, (400,), as_text=_AS_TEXT),
        querying(FindingsQuery, findings.events),
        is_existing=True,
    ),
    Route(
        "GET",
        findings.PROFILE,
        "downloadPressureProfile",
        "A heap or goroutine profile of such an event",
        Right.ARTIFACTS,
        None,
        None,
        told(
            {200: _BYTES, 206: _BYTES, 304: Told("The caller has it.", _EMPTY)},
            (400, 404, 410, 416),
            as_text=(*_AS_TEXT, 410),
        ),
        querying(PassedOver, findings.profile),
        headers=("Range", "If-Range", "If-None-Match"),
        is_existing=True,
        is_read_audited=True,
    ),
)

_PROXY: Final = (
    Route(
        "GET",
        "/healthz",
        "alive",
        "The process is alive",
        Right.ANYBODY,
        None,
        None,
        told({200: Told("It is.", Alive)}, (), is_open=True),
        querying(PassedOver, health.alive),
    ),
    Route(
        "GET",
        "/readyz",
        "ready",
        "Every part of the proxy works",
        Right.ANYBODY,
        None,
        None,
        told(
            {200: Told("All checks pass.", Readiness), 503: Told("A check fails.", Readiness)},
            (),
            is_open=True,
        ),
        querying(PassedOver, health.ready),
    ),
    Route(
        "GET",
        "/version",
        "version",
        "Version of the proxy",
        Right.ANYBODY,
        NothingAsked,
        None,
        told({200: Told("It.", Version)}, (400,), is_open=True),
        querying(NothingAsked, health.version),
    ),
    Route(
        "GET",
        openapi.PATH,
        "openapi",
        "This document",
        Right.ANYBODY,
        NothingAsked,
        None,
        told({200: Told("OpenAPI 3.1.", dict)}, (400,), is_open=True),
        querying(NothingAsked, openapi.serve),
    ),
    Route(
        "GET",
        "/cluster",
        "cluster",
        "The fleet",
        Right.VIEW,
        ClusterQuery,
        None,
        told({200: Told("Nodes.", Cluster)}, (400, 404)),
        querying(ClusterQuery, cluster.cluster),
    ),
    Route(
        "GET",
        "/cluster/config",
        "configuration",
        "Effective configuration of the nodes, or its drift inside each role",
        Right.CONFIGURATION,
        ConfigurationQuery,
        None,
        told({200: Told("Configurations.", Configurations)}, (400, 404)),
        querying(ConfigurationQuery, configuration.configuration),
    ),
)

_REQUESTS: Final = (
    Route(
        "POST",
        requests.COLLECTION,
        "createDiagnosticRequest",
        "Capture profiles on nodes",
        Right.CAPTURE,
        NothingAsked,
        requests_api.RequestSpec,
        told(
            {
                200: Told("An equal one of this id is there.", requests_api.Request),
                201: Told("Taken in.", requests_api.Request),
            },
            (400, 408, 409, 413, 415, 429),
        ),
        posting(requests_api.RequestSpec, requests.create),
    ),
    Route(
        "GET",
        requests.COLLECTION,
        "listDiagnosticRequests",
        "Requests, the newest first, without their targets",
        Right.VIEW,
        requests_api.RequestsQuery,
        None,
        told({200: Told("Requests.", requests_api.Requests)}, (400, 404)),
        querying(requests_api.RequestsQuery, requests.listed),
    ),
    Route(
        "GET",
        _ONE_REQUEST,
        "readDiagnosticRequest",
        "One request; waits for a change when asked to",
        Right.VIEW,
        requests_api.RequestQuery,
        None,
        told({200: Told("It.", requests_api.Request)}, (400, 404)),
        querying(requests_api.RequestQuery, requests.read),
    ),
    Route(
        "DELETE",
        _ONE_REQUEST,
        "cancelDiagnosticRequest",
        "End a request early",
        Right.CANCEL,
        requests_api.CancelQuery,
        None,
        told(
            {
                200: Told("It had ended.", requests_api.Request),
                202: Told("It ends.", requests_api.Request),
            },
            (400, 404),
        ),
        querying(requests_api.CancelQuery, requests.cancel),
    ),
)

_ARTIFACTS: Final = (
    Route(
        "GET",
        "/artifacts",
        "listArtifacts",
        "Artifacts, the newest first",
        Right.ARTIFACTS,
        artifacts_api.ArtifactsQuery,
        None,
        told({200: Told("Manifests.", artifacts_api.Artifacts)}, (400, 404)),
        querying(artifacts_api.ArtifactsQuery, artifacts.listed),
    ),
    Route(
        "GET",
        _ONE_ARTIFACT,
        "downloadArtifact",
        "The bytes of an artifact, whole or a range",
        Right.ARTIFACTS,
        LinkQuery,
        None,
        told(
            {200: _BYTES, 206: _BYTES, 304: Told("The caller has it.", _EMPTY)},
            (400, 404, 410, 416),
        ),
        querying(LinkQuery, artifacts.download),
        headers=("Range", "If-Range", "If-None-Match"),
        takes_link=True,
        is_read_audited=True,
        namespace_of=artifacts.namespace_of,
    ),
    Route(
        "DELETE",
        _ONE_ARTIFACT,
        "removeArtifact",
        "Remove an artifact",
        Right.REMOVE,
        NothingAsked,
        None,
        told({204: Told("It is gone.", _EMPTY)}, (400, 404)),
        querying(NothingAsked, artifacts.remove),
        namespace_of=artifacts.namespace_of,
    ),
    Route(
        "GET",
        _ONE_ARTIFACT + "/manifest",
        "readManifest",
        "What is known about an artifact",
        Right.ARTIFACTS,
        NothingAsked,
        None,
        told({200: Told("Manifest.", artifacts_api.Artifact)}, (400, 404)),
        querying(NothingAsked, artifacts.manifest),
        namespace_of=artifacts.namespace_of,
    ),
)

_ONE_INCIDENT: Final = incidents.COLLECTION + "/{id}"
_INCIDENTS: Final = (
    Route(
        "GET",
        incidents.COLLECTION,
        "listIncidents",
        "What happened to nodes, the newest first",
        Right.INCIDENTS,
        IncidentsQuery,
        None,
        told({200: Told("Incidents.", Incidents)}, (400,)),
        querying(IncidentsQuery, incidents.listed),
        is_read_audited=True,
    ),
    Route(
        "GET",
        _ONE_INCIDENT,
        "readIncident",
        "All that is known of an incident",
        Right.INCIDENTS,
        NothingAsked,
        None,
        told({200: Told("It.", IncidentRecord)}, (400, 404)),
        querying(NothingAsked, incidents.read),
        namespace_of=incidents.namespace_of,
        is_read_audited=True,
    ),
    Route(
        "GET",
        _ONE_INCIDENT + "/bundle",
        "downloadIncident",
        "An incident with all of its artifacts, as a tar",
        Right.INCIDENTS,
        NothingAsked,
        None,
        told({200: Told("The tar.", Media(("application/x-tar",), is_binary=True))}, (400, 404)),
        querying(NothingAsked, incidents.bundle),
        namespace_of=incidents.namespace_of,
        is_read_audited=True,
    ),
)

_ACCESS: Final = (
    Route(
        "POST",
        _ONE_ARTIFACT + "/links",
        "linkArtifact",
        "A link by which somebody without a token reads an artifact for a while",
        Right.ARTIFACTS,
        NothingAsked,
        access_api.LinkSpec,
        told({201: Told("The link.", access_api.Link)}, (400, 404, 408, 413, 415)),
        posting(access_api.LinkSpec, sessions.linked),
        namespace_of=artifacts.namespace_of,
    ),
    Route(
        "POST",
        sessions.PATH,
        "openSession",
        "Begin the session of a browser: a cookie in place of the token",
        Right.VIEW,
        NothingAsked,
        None,
        told({201: Told("The session.", access_api.Session)}, (400,)),
        querying(NothingAsked, sessions.opened),
    ),
    Route(
        "GET",
        sessions.PATH,
        "readSession",
        "Who asks",
        Right.VIEW,
        NothingAsked,
        None,
        told({200: Told("The caller.", access_api.Session)}, (400,)),
        querying(NothingAsked, sessions.current),
    ),
    Route(
        "DELETE",
        sessions.PATH,
        "closeSession",
        "End the session of this browser",
        Right.VIEW,
        NothingAsked,
        None,
        told({204: Told("It has ended.", _EMPTY)}, (400,)),
        querying(NothingAsked, sessions.closed),
    ),
)

ROUTES: Final[tuple[Route, ...]] = (
    *_EXISTING,
    *_PROXY,
    *_REQUESTS,
    *_ARTIFACTS,
    *_INCIDENTS,
    *_ACCESS,
)
