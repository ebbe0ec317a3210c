# SPDX-License-Identifier: Apache-2.0
"""`fodc freeze` with real processes: every node's window in one cut, and their settings."""

import gzip
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fodc_protocol.times import parse_rfc3339_ms
from tests.interop.fleet import Fleet, nodes, until

PAGE = "# TYPE level gauge\nlevel 42\n"


def ran(proxy: str, *words: str) -> str:
    """Run `fodc` against a proxy and return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "fodc_client", "--proxy", proxy, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def times_of(text: str) -> list[float]:
    return [
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith("level{")
    ]


def test_windows_of_all_nodes_end_at_one_instant_also_of_a_node_that_is_gone(
    tmp_path: Path,
) -> None:
    with Fleet(tmp_path, "link") as fleet:
        proxy = fleet.proxy()
        pages = [fleet.node(PAGE) for _ in range(2)]
        for place, page in enumerate(pages):
            fleet.agent(proxy.grpc, page, f"data-{place}", "ROLE_DATA")
        until("two agents with history", lambda: _spans(proxy) == {"data-0", "data-1"})
        pages[1].page = ""

        ran(proxy.http, "freeze", "--before", "30s", f"--output-dir={tmp_path / 'kept'}")

        files = sorted((tmp_path / "kept").iterdir())
        assert [re.sub(r"\d{8}T\d{6}Z", "T", path.name) for path in files] == [
            "data-0-window-T.om.gz",
            "data-1-window-T.om.gz",
        ]
        texts = [gzip.decompress(path.read_bytes()).decode() for path in files]
        assert all(text.endswith("# EOF\n") for text in texts)
        assert all(times_of(text) for text in texts)
        request = json.loads(ran(proxy.http, "requests", "list", "-o", "json"))["requests"][0]
        assert [capture["profile"] for capture in request["captures"]] == ["window"]
        created = request["created_at"]
        assert max(map(max, map(times_of, texts))) <= _seconds(created)
        chart = ran(proxy.http, "windows", str(files[0]), "level")
        assert "min 42, max 42, last 42" in chart


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="NO PROMTOOL: not found; apt-get install prometheus"
)
def test_promtool_reads_the_window_of_a_real_agent(tmp_path: Path) -> None:
    with Fleet(tmp_path, "link") as fleet:
        proxy = fleet.proxy()
        fleet.agent(proxy.grpc, fleet.node(PAGE), "data-0", "ROLE_DATA")
        until("history", lambda: _spans(proxy) == {"data-0"})
        ran(proxy.http, "freeze", f"--output-dir={tmp_path / 'kept'}")
        (file,) = (tmp_path / "kept").iterdir()
        page = tmp_path / "window.om"
        page.write_bytes(gzip.decompress(file.read_bytes()))

    done = subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(page), str(tmp_path / "db")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def _spans(proxy) -> set[str]:
    """Pods whose window is longer than a second."""
    return {
        one["pod_name"]
        for one in nodes(proxy)
        if (window := one["window"]) and window["oldest"] < window["newest"]
    }


def _seconds(text: str) -> float:
    return parse_rfc3339_ms(text) / 1000
