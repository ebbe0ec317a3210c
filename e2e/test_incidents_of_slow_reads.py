# SPDX-License-Identifier: Apache-2.0
"""Reads that became slow are an incident, with what the threads waited for while it was so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.test_incidents import Site, stored, until
from fodc_agent.abilities import kernel_lacks
from fodc_protocol import pprof
from tests.agent.ktm.conftest import (
    Worker,
    facts,
    make_group,  # noqa: F401 - a fixture
    on_disk,  # noqa: F401 - a fixture
    slow_disk,  # noqa: F401 - a fixture
    worker,  # noqa: F401 - a fixture
)

REQUESTS_A_SECOND = 80


def test_slow_reads_are_an_incident_with_the_profile_of_what_waited(
    tmp_path: Path,
    make_group: Callable[..., Path],  # noqa: F811 - the fixture
    slow_disk: Callable[..., Path],  # noqa: F811 - the fixture
    on_disk: Callable[..., Path],  # noqa: F811 - the fixture
    worker: Callable[..., Worker],  # noqa: F811 - the fixture
) -> None:
    if lacks := kernel_lacks(facts()):
        pytest.skip(f"THE KERNEL IS NOT ASKED: {'; '.join(lacks.values())}")
    group, file = make_group("unified"), on_disk(8)
    busy = worker("suffers", group, slow_disk(file, REQUESTS_A_SECOND), file=file)
    folder = tmp_path / "site"
    folder.mkdir()
    with Site(folder, "--ktm-enabled", "--ktm-interval=1s") as site:
        (group / "cgroup.procs").write_text(str(site.node.pid))
        site.until_seen()
        busy.begin()
        incident = until("harm", lambda: site.get("/incidents")["incidents"], 25)[0]
        path = incident["incident_id"]
        kept = until("the profile", lambda: _whole(stored(site, path)), 40)
        found = site.get(f"/incidents/{path}")
        first = pprof.hottest(site.bytes_of(kept["offcpu"]), value_index="delay", count=10_000)
    assert incident["cause"] == "Triggered"
    (event,) = found["events"]
    assert event["message"].startswith("W3: reads are slow, for pages that the node itself")
    assert any("folio" in one.name or "io_schedule" in one.name for one in first)


def _whole(kept: dict[str, str]) -> dict[str, str] | None:
    return kept if {"offcpu", "goroutine", "window"} <= set(kept) else None
