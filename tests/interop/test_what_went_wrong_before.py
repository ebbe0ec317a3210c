# SPDX-License-Identifier: Apache-2.0
"""Failures measured on the existing programs, staged again with whole programs of ours."""

import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e import programs
from e2e.node import running
from tests.interop.fleet import Fleet, get, kept_port, phases, until

DEADLINE_S = 3.0


@pytest.fixture(params=["link", "fodc"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, request.param) as started:
        yield started


def scrape(proxy: programs.Program) -> tuple[str, str, float]:
    """The page, who was missing, and the seconds that it took."""
    began = time.monotonic()
    with urllib.request.urlopen(f"{proxy.http}/metrics", timeout=20) as answer:
        page = answer.read().decode()
        return page, answer.headers["X-FODC-Missing"] or "", time.monotonic() - began


def three_agents(fleet: Fleet, proxy: programs.Program) -> list[programs.Program]:
    agents = [
        fleet.agent(proxy.grpc, fleet.node(f"from_{pod} 1\n"), pod, "ROLE_DATA")
        for pod in ("a", "b", "c")
    ]
    until("all pages", lambda: scrape(proxy)[0].count("\nfrom_") == 3)
    return agents


def test_failure_1_a_hung_agent_costs_a_round_its_deadline_once_and_is_named(fleet: Fleet) -> None:
    """The existing proxy answers nothing at all for about five minutes."""
    proxy = fleet.proxy(
        f"--collection-timeout={DEADLINE_S:.0f}s",
        "--agent-heartbeat-timeout=60s",
        "--agent-cleanup-timeout=120s",
    )
    _, hung, _ = three_agents(fleet, proxy)
    os.kill(hung.pid, signal.SIGSTOP)
    try:
        page, missing, took_s = scrape(proxy)
        assert missing == "b"
        assert DEADLINE_S <= took_s < 2 * DEADLINE_S
        assert page.count("\nfrom_") == 2
        assert "fodc_proxy_agent_missing{" in page

        page, missing, took_s = scrape(proxy)
        assert missing == "b"
        assert took_s < DEADLINE_S
        assert page.count("\nfrom_") == 2
    finally:
        os.kill(hung.pid, signal.SIGCONT)

    until("everybody answers again", lambda: scrape(proxy)[0].count("\nfrom_") == 3)
    assert scrape(proxy)[1] == ""


def test_failure_2_overlapping_scrapes_all_succeed(fleet: Fleet) -> None:
    """On the existing proxy the second of two hangs for ten seconds and its connection closes."""
    proxy = fleet.proxy()
    three_agents(fleet, proxy)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: scrape(proxy), range(24)))

    assert [page.count("\nfrom_") for page, _, _ in answers] == [3] * 24
    assert {missing for _, missing, _ in answers} == {""}
    assert max(took_s for _, _, took_s in answers) < 8


def test_failure_9_sigterm_ends_both_programs_with_everything_attached(tmp_path: Path) -> None:
    """The existing proxy does not end while agents are attached."""
    with (
        Fleet(tmp_path, "link") as fleet,
        running.sample_node(load=1) as node,
    ):
        proxy = fleet.proxy()
        agents = three_agents(fleet, proxy)
        captured = programs.start_agent(
            tmp_path,
            pod_name="pod-0",
            proxy=proxy.grpc,
            metrics_port=node.metrics_port,
            pprof_port=node.pprof_port,
        )
        with programs.running(captured):
            until("four agents", lambda: len(phases(proxy)) == 4)
            programs.fodc(
                proxy, "capture", "cpu", "--node", "pod-0", "--seconds", "20", "--no-wait"
            )
            until(
                "the capture runs",
                lambda: b'"Running"' in get(f"{proxy.http}/diagnostics/requests"),
            )
            # Who has not ended after 10 s is killed.
            assert captured.stop() < 8
            assert agents[0].stop() < 8
            assert proxy.stop() < 8
            assert proxy.process.returncode == 0
            assert captured.process.returncode == 0


def test_failure_10_agents_do_not_all_return_at_the_same_instant(fleet: Fleet) -> None:
    """A proxy that returns sees its agents spread out, and all of them."""
    with kept_port() as port:
        listen = f"--grpc-listen-addr=127.0.0.1:{port}"
        proxy = fleet.proxy(listen)
        three_agents(fleet, proxy)
        proxy.stop()
        time.sleep(1)  # let each agent fail at least once, so that its pause has grown

        again = fleet.proxy(listen, name="again")

        until("all agents", lambda: sorted(phases(again)) == ["a", "b", "c"], deadline_s=30)


def cut(page: str) -> str:
    """What the page says of the length of the node's own."""
    lines = [line for line in page.splitlines() if line.startswith("fodc_agent_scrape_cut{")]
    return lines[0].rpartition(" ")[2] if lines else ""


def test_a_node_that_sends_200_mb_costs_the_agent_neither_its_memory_nor_its_life(
    tmp_path: Path,
) -> None:
    with (
        Fleet(tmp_path, "link") as fleet,
        running.sample_node(load=0) as node,
    ):
        proxy = fleet.proxy()
        started = programs.start_agent(
            tmp_path,
            "--poll-metrics-interval=200ms",
            pod_name="pod-0",
            proxy=proxy.grpc,
            metrics_port=node.metrics_port,
            pprof_port=node.pprof_port,
        )
        with programs.running(started) as agent:
            until("the page", lambda: "banyandb_" in scrape(proxy)[0])
            node.fault("huge", for_s=60)
            until("the page is cut", lambda: cut(scrape(proxy)[0]) == "1")
            assert agent.resident_mib("VmHWM") < 60
            node.fault("none")
            until("the page is whole", lambda: cut(scrape(proxy)[0]) == "0")
            assert "banyandb_" in scrape(proxy)[0]
            assert agent.process.poll() is None
