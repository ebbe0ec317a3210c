# SPDX-License-Identifier: Apache-2.0
"""The Grafana boards: every query names metrics that a real fleet exposes, and no other variable.

Nodes are sample nodes with the families of recorded pages; proxy and agents are real processes.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.node import running
from tests.interop.fleet import Fleet, PageNode, get, until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "manifests" / "components" / "dashboards"
BOARDS = sorted(FOLDER.glob("*.json"))
OF_GRAFANA = {"__rate_interval", "__all"}
# Families of the proxy that are on its page only while there is something to tell.
WHEN_THERE_IS = {
    "fodc_proxy_agent_missing",
    "fodc_proxy_agents_refused_total",
    "fodc_proxy_callers_refused_total",
    "fodc_proxy_configuration_drift",
}
WORDS = {"by", "sum", "rate", "max", "histogram_quantile", "label_values"}


def board(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def queries(one: dict[str, Any]) -> Iterator[str]:
    for panel in one["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in one["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["definition"].partition(",")[0].removeprefix("label_values(")


def metrics_in(query: str) -> set[str]:
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)", " ", query)
    return set(re.findall(r"[a-z_:][a-z0-9_:]+", bare)) - WORDS


def test_there_are_four_boards_and_all_are_installed() -> None:
    told = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["configMapGenerator"][0]

    assert sorted(told["files"]) == [path.name for path in BOARDS]
    assert len(BOARDS) == 4
    assert len({board(path)["uid"] for path in BOARDS}) == 4


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_board_uses_only_variables_that_it_defines(path: Path) -> None:
    defined = {one["name"] for one in board(path)["templating"]["list"]} | OF_GRAFANA

    used = set(re.findall(r"\$\{?(\w+)", path.read_text()))

    assert used - defined == set()


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_panel_says_what_it_shows_and_in_which_unit(path: Path) -> None:
    for panel in board(path)["panels"]:
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_every_query_names_metrics_that_a_real_fleet_exposes(tmp_path: Path) -> None:
    exposed: set[str] = set()
    with contextlib.ExitStack() as stack:
        fleet = stack.enter_context(Fleet(tmp_path, "link"))
        proxy = fleet.proxy()
        for name in ("data", "liaison", "standalone"):
            node = stack.enter_context(running.sample_node(role=name, prefer="python"))
            fleet.agent(
                proxy.grpc,
                PageNode("", port=node.metrics_port),
                f"{name}-0",
                name,
            )

        def all_pages() -> bool:
            text = get(f"{proxy.http}/metrics").decode()
            exposed.update(re.findall(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)[{ ]", text, re.MULTILINE))
            return exposed >= {"banyandb_measure_total_written", "banyandb_queue_pub_total_started"}

        until("the pages of all roles", all_pages)

    missing = {
        path.stem: sorted(metrics - exposed - WHEN_THERE_IS)
        for path in BOARDS
        for metrics in [set().union(*map(metrics_in, queries(board(path))))]
    }

    assert missing == {path.stem: [] for path in BOARDS}
