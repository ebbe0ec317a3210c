# SPDX-License-Identifier: Apache-2.0
"""Which sources the agent collects, how often, and how the series of each are labeled."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from fodc_agent.abilities import REMOTE_MESSAGE
from fodc_agent.bus.coordinator import Source
from fodc_agent.scraping.client import HttpClient
from fodc_agent.settings import Attachment, Settings
from fodc_agent.sources.banyandb import MetricsSource
from fodc_agent.sources.cgroup import CgroupSource
from fodc_agent.sources.cgroup_paths import NodeCgroup
from fodc_agent.sources.configuration import ConfigurationSource
from fodc_agent.sources.node_process import NodeProcess
from fodc_agent.sources.pressure import PressureSource
from fodc_agent.sources.process import ProcessSource
from fodc_agent.sources.readings import Gap, GapReason
from fodc_agent.sources.self_health import SelfHealthSource
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.samples import Labels, Sample, with_node_labels
from fodc_protocol.version import VERSION

if TYPE_CHECKING:
    from fodc_agent.ktm.bcc.backend import BccTelemetry
    from fodc_agent.ktm.telemetry import Telemetry

CONFIGURATION: Final = ConfigurationSource.name
_USUAL_S: Final = 10.0
_CONFIGURATION_EVERY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Collected:
    """A source, how often it is recorded, and the container that its series belong to."""

    source: Source
    interval_s: float
    container_name: str = ""


def pprof_url(settings: Settings) -> str:
    """Return the base of the node's pprof port."""
    return f"http://{_in_url(settings.node_host)}:{settings.pprof_ports[0]}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def node_process(settings: Settings, on_change: Callable[[], None]) -> NodeProcess:
    """Return what finds the process of a node on this machine."""
    in_pod = settings.attachment is Attachment.SIDECAR
    return NodeProcess(
        pid=settings.node_pid,
        name=settings.node_process_name,
        port=node_port(settings),
        container=settings.node_container,
        pod_uid=settings.pod_uid if in_pod else "",
        flavor=settings.flavor,
        on_change=on_change,
    )


def node_port(settings: Settings) -> int:
    """Return the metrics port of the node's container: others may belong to its helpers."""
    names = settings.container_names
    place = names.index(settings.node_container) if settings.node_container in names else 0
    return settings.metrics_ports[place]


def sources_of(
    settings: Settings,
    client: HttpClient,
    node: NodeProcess | None,
    *,
    uptime_s: Callable[[], float],
    counters: Iterable[Callable[[], Iterable[Sample]]],
    telemetry: "Telemetry | BccTelemetry | None" = None,
    on_harm: Callable[[str], None] = lambda _sentence: None,
) -> tuple[Collected, ...]:
    """Return everything that is collected; the pages of the node come first.

    Without a process, which is how a node over the network is, nothing of its machine is read.
    """
    usual_s = max(settings.poll_interval_s, _USUAL_S)
    own = SelfHealthSource(version=VERSION, uptime_s=uptime_s, counters=counters)
    process = node or Gap("process", GapReason.REMOTE, REMOTE_MESSAGE)
    configuration = ConfigurationSource(client, pprof_url(settings), process)
    return (
        *_pages(settings, client),
        *(() if node is None else _machine(node, usual_s, settings, telemetry, on_harm)),
        Collected(own, usual_s),
        Collected(configuration, _CONFIGURATION_EVERY_S),
    )


def kernel_telemetry(settings: Settings) -> "Telemetry | BccTelemetry | None":
    """Return what counts in the kernel, not loaded, where it was asked for.

    Its modules cost memory, so they are imported only there.
    """
    if settings.is_remote or not settings.counts_in_kernel:
        return None
    if settings.ktm_backend == "bcc":
        from fodc_agent.ktm.bcc.backend import BccTelemetry  # noqa: PLC0415 - see above

        return BccTelemetry(settings.ktm_groups)
    from fodc_agent.ktm.telemetry import Telemetry  # noqa: PLC0415 - see above

    return Telemetry(settings.ktm_groups)


def _machine(
    node: NodeProcess,
    usual_s: float,
    settings: Settings,
    telemetry: "Telemetry | BccTelemetry | None",
    on_harm: Callable[[str], None],
) -> Iterable[Collected]:
    cgroup = NodeCgroup(node)
    for source in (ProcessSource(node), CgroupSource(cgroup), PressureSource(cgroup)):
        yield Collected(source, usual_s)
    if telemetry is not None:
        from fodc_agent.ktm.source import KernelSource  # noqa: PLC0415 - costs memory
        from fodc_agent.ktm.verdicts import Judge  # noqa: PLC0415 - costs memory

        judge = Judge(settings.ktm_slow_read_s)
        kernel = KernelSource(cgroup, telemetry, judge=judge, on_harm=on_harm)
        yield Collected(kernel, settings.ktm_interval_s)


def _pages(settings: Settings, client: HttpClient) -> Iterable[Collected]:
    names = settings.container_names or ("",) * len(settings.metrics_ports)
    for port, name in zip(settings.metrics_ports, names, strict=True):
        source = MetricsSource(client, port, host=_in_url(settings.node_host))
        yield Collected(source, settings.poll_interval_s, name)


def identity_labels(
    role: str, labels: Mapping[str, str], pod_name: str, container_name: str
) -> Labels:
    """Return what every series of a source gets: role, pod, container, node_<label> (§20.6)."""
    own = (("node_role", role), ("pod_name", pod_name), ("container_name", container_name))
    return with_node_labels(own, tuple(sorted(labels.items())))
