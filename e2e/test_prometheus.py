# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes a fleet of both contracts: nothing is refused, dropped or doubled.

Needs `prometheus` and `promtool` (Debian's package `prometheus` has both).
"""

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import programs
from tests.interop.fleet import PageNode

DEADLINE_S = 40.0
MISSING = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        bool(MISSING),
        reason=f"NO PROMETHEUS: {' and '.join(MISSING)} not found; apt-get install prometheus",
    ),
]

# A node that claims to be another one, says a series twice, and has values that need escapes.
PAGE = r"""# HELP demo_writes_total Writes.
# TYPE demo_writes_total counter
demo_writes_total{group="a",pod_name="other",namespace="elsewhere"} 5
demo_writes_total{group="b \"q\" \\ {x}"} 7
# HELP demo_depth_bytes Depth.
# TYPE demo_depth_bytes gauge
demo_depth_bytes{cluster="mine"} 1.5e300
demo_depth_bytes{cluster="mine"} 2
demo_depth_bytes{group=""} NaN
# HELP demo_latency_seconds Latency.
# TYPE demo_latency_seconds histogram
demo_latency_seconds_bucket{le="0.1"} 1
demo_latency_seconds_bucket{le="+Inf"} 3
demo_latency_seconds_sum 0.5
demo_latency_seconds_count 3
"""


def until(what: str, ask: Callable[[], Any]) -> Any:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {DEADLINE_S:g} s")


def get(url: str) -> str:
    """Return the body of a page."""
    with urllib.request.urlopen(url, timeout=20) as answer:  # loopback
        return answer.read().decode()


class Prometheus:
    """One server that scrapes one target every few seconds."""

    def __init__(self, folder: Path, target: str) -> None:
        folder.mkdir()
        config = {
            "global": {"scrape_interval": "5s", "scrape_timeout": "5s"},
            "scrape_configs": [
                {
                    "job_name": "fodc",
                    "honor_labels": True,
                    "static_configs": [{"targets": [target]}],
                }
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                    "--log.level=debug",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.address = ""

    def listens(self) -> bool:
        """Say whether it has told where it listens."""
        assert self.process.poll() is None, self.log.read_text()
        pattern = r"Listening on\S*.*?address=\S*?(127\.0\.0\.1:[1-9]\d*)"
        found = re.search(pattern, self.log.read_text())
        self.address = found[1] if found else ""
        return bool(found)

    def is_ready(self) -> bool:
        """Say whether it answers queries: it listens before its store is open."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=20):  # loopback
                return True
        except OSError:
            return False

    def query(self, text: str) -> dict[str, float]:
        """Return the values of an instant query, by metric name or ""."""
        url = f"http://{self.address}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
        results = json.loads(get(url))["data"]["result"]
        return {one["metric"].get("__name__", ""): float(one["value"][1]) for one in results}

    def target(self) -> dict[str, Any]:
        """Return what it says of its one target."""
        (one,) = json.loads(get(f"http://{self.address}/api/v1/targets"))["data"]["activeTargets"]
        return dict(one)

    def end(self) -> None:
        """End it and wait."""
        self.process.terminate()
        self.process.wait(20)


@contextlib.contextmanager
def fleet(folder: Path) -> Iterator[programs.Program]:
    """A proxy with two agents of each contract, all of the same odd page."""
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(PageNode(PAGE).served())
        proxy = stack.enter_context(programs.running(programs.start_proxy(folder)))
        for number, contract in enumerate(("link", "link", "fodc", "fodc")):
            agent = programs.start_agent(
                folder / str(number),
                f"--contract={contract}",
                "--poll-metrics-interval=500ms",
                "--node-labels=type=hot",
                *(("--pod-namespace=banyandb",) if contract == "link" else ()),
                pod_name=f"pod-{number % 3}",  # one name in both contracts
                proxy=proxy.grpc,
                metrics_port=node.port,
                pprof_port=node.port,
            )
            stack.enter_context(programs.running(agent))
        until("four agents", lambda: get(f"{proxy.http}/cluster").count('"agent_id"') == 4)
        until("a page of all", lambda: page(proxy).count("demo_latency_seconds_sum{") == 4)
        yield proxy


def page(proxy: programs.Program) -> str:
    """Return the page that Prometheus reads."""
    return get(f"{proxy.http}/metrics")


def series_of(text: str) -> list[str]:
    """Return name and labels of each sample line."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [line.rpartition(" ")[0] for line in lines]


def test_real_prometheus_takes_every_sample_of_a_fleet_of_both_contracts(tmp_path: Path) -> None:
    """A3, P16: the target is up, no sample is dropped, no series comes twice."""
    with fleet(tmp_path / "fleet") as proxy:
        server = Prometheus(tmp_path / "prometheus", proxy.addresses["http"])
        try:
            until("prometheus listens", server.listens)
            until("prometheus is ready", server.is_ready)
            until("two scrapes", lambda: server.query("sum_over_time(up[1m]) > 1"))
            target = server.target()
            counts = server.query('{__name__=~"up|scrape_samples.*"}')
            trouble = get(f"http://{server.address}/metrics")
            text = page(proxy)
            kept = server.query("count(demo_writes_total)")
            forged = server.query('demo_writes_total{pod_name="other"}')
            exported = server.query('count(demo_writes_total{exported_pod_name="other"})')
        finally:
            server.end()

    assert (target["health"], target["lastError"]) == ("up", "")
    assert counts["up"] == 1
    assert counts["scrape_samples_scraped"] == counts["scrape_samples_post_metric_relabeling"]
    for name in ("duplicate_timestamp", "out_of_order", "out_of_bounds"):
        assert f"prometheus_target_scrapes_sample_{name}_total 0\n" in trouble
    assert [one for one, n in Counter(series_of(text)).items() if n > 1] == []
    assert kept == {"": 8}
    assert forged == {}
    assert exported == {"": 4}


def test_promtool_finds_nothing_to_say_about_the_page(tmp_path: Path) -> None:
    """The families of our own and those of a node that keeps the rules."""
    with fleet(tmp_path / "fleet") as proxy:
        text = page(proxy)

    ours = [block for block in re.split(r"(?m)^(?=# HELP )", text) if ours_or_demo(block)]
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input="".join(ours),
        capture_output=True,
        text=True,
        check=False,
    )
    parsed = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert parsed.returncode in {0, 3}, parsed.stderr  # 3: names that agents chose; 1: no page
    assert "error" not in parsed.stderr


def ours_or_demo(block: str) -> bool:
    """Say whether a family is the proxy's own or the node's of this test."""
    return block.startswith(("# HELP fodc_proxy_", "# HELP demo_"))
