# SPDX-License-Identifier: Apache-2.0
"""Which sources the agent collects, and how the series of each are labeled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fodc_agent.bus.timetable import Tier
from fodc_agent.scraping.client import HttpClient
from fodc_agent.settings import Settings
from fodc_protocol.samples import Labels, with_node_labels

_MAX_PAGE_BYTES: Final = 32 * 1024 * 1024
_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """The node's own /metrics behind one port."""

    name: str
    url: str
    client: HttpClient
    tier: Tier = Tier.NORMAL
    floor_s: float = 0.1
    ttl_s: float = 5.0
    timeout_s: float = _TIMEOUT_S

    async def collect(self, at_ms: int) -> bytes:  # noqa: ARG002 - the page has no time of its own
        """Fetch the page; raises FetchError."""
        answer = await self.client.get(
            self.url, timeout_s=self.timeout_s, max_bytes=_MAX_PAGE_BYTES
        )
        return answer.body


def page_urls(ports: tuple[int, ...]) -> tuple[str, ...]:
    """Return the pages to scrape, in order of the ports (T-CMD-01..03).

    The Go agent says localhost here; a node binds IPv4 while localhost may be ::1 (§3.2).
    """
    return tuple(f"http://127.0.0.1:{port}/metrics" for port in ports)


def metrics_pages(settings: Settings, client: HttpClient) -> dict[str, MetricsPage]:
    """Return a source per port, named "node" when there is one, else after the port."""
    ports = settings.metrics_ports
    names = ["node"] if len(ports) == 1 else [f"node-{port}" for port in ports]
    return {
        name: MetricsPage(name, url, client)
        for name, url in zip(names, page_urls(ports), strict=True)
    }


def identity_labels(
    role: str, labels: Mapping[str, str], pod_name: str, container_name: str
) -> Labels:
    """Return what every series of a source gets: role, pod, container, node_<label> (§20.6)."""
    own = (("node_role", role), ("pod_name", pod_name), ("container_name", container_name))
    return with_node_labels(own, tuple(sorted(labels.items())))
