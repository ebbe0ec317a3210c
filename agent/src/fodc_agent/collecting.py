# SPDX-License-Identifier: Apache-2.0
"""Which sources the agent collects, how often, and how the series of each are labeled."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fodc_agent.bus.coordinator import Source
from fodc_agent.scraping.client import HttpClient
from fodc_agent.settings import Settings
from fodc_agent.sources.banyandb import MetricsSource
from fodc_agent.sources.cgroup import CgroupSource
from fodc_agent.sources.cgroup_paths import NodeCgroup
from fodc_agent.sources.configuration import ConfigurationSource
from fodc_agent.sources.node_process import NodeProcess
from fodc_agent.sources.pressure import PressureSource
from fodc_agent.sources.process import ProcessSource
from fodc_agent.sources.self_health import SelfHealthSource
from fodc_agent.version import VERSION
from fodc_protocol.samples import Labels, Sample, with_node_labels

CONFIGURATION: Final = ConfigurationSource.name
_NODE: Final = "127.0.0.1"
_USUAL_S: Final = 10.0
_CONFIGURATION_EVERY_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Collected:
    """A source, how often it is recorded, and the container that its series belong to."""

    source: Source
    interval_s: float
    container_name: str = ""


def pprof_url(settings: Settings) -> str:
    """Return the base of the node's pprof port."""
    return f"http://{_NODE}:{settings.pprof_ports[0]}"


def sources_of(
    settings: Settings,
    client: HttpClient,
    *,
    uptime_s: Callable[[], float],
    counters: Iterable[Callable[[], Iterable[Sample]]],
) -> tuple[Collected, ...]:
    """Return everything that is collected; the pages of the node come first."""
    node = NodeProcess(
        pid=settings.node_pid, name=settings.node_process_name, port=settings.metrics_ports[0]
    )
    cgroup = NodeCgroup(node)
    usual_s = max(settings.poll_interval_s, _USUAL_S)
    own = SelfHealthSource(version=VERSION, uptime_s=uptime_s, counters=counters)
    configuration = ConfigurationSource(client, pprof_url(settings), node)
    return (
        *_pages(settings, client),
        Collected(ProcessSource(node), usual_s),
        Collected(CgroupSource(cgroup), usual_s),
        Collected(PressureSource(cgroup), usual_s),
        Collected(own, usual_s),
        Collected(configuration, _CONFIGURATION_EVERY_S),
    )


def _pages(settings: Settings, client: HttpClient) -> Iterable[Collected]:
    names = settings.container_names or ("",) * len(settings.metrics_ports)
    for port, name in zip(settings.metrics_ports, names, strict=True):
        source = MetricsSource(client, port, host=_NODE)
        yield Collected(source, settings.poll_interval_s, name)


def page_urls(ports: Iterable[int], client: HttpClient) -> tuple[str, ...]:
    """Return the pages to scrape, in order of the ports (T-CMD-01..03).

    The Go agent says localhost here; a node binds IPv4 while localhost may be ::1 (§3.2).
    """
    return tuple(MetricsSource(client, port, host=_NODE).url for port in ports)


def identity_labels(
    role: str, labels: Mapping[str, str], pod_name: str, container_name: str
) -> Labels:
    """Return what every series of a source gets: role, pod, container, node_<label> (§20.6)."""
    own = (("node_role", role), ("pod_name", pod_name), ("container_name", container_name))
    return with_node_labels(own, tuple(sorted(labels.items())))
