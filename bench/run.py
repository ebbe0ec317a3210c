# SPDX-License-Identifier: Apache-2.0
"""Run the benchmarks, print what was measured and how, and keep the figures in build/bench.json.

A benchmark is a module here with `run(names) -> dict[str, Figure]`. Nothing fails on a slow
machine; the table says which goals were met, and on which machine under which load.
"""

import argparse
import importlib
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench import readme
from bench.figures import Figure

RESULTS = Path(__file__).parents[1] / "build" / "bench.json"


# Which module measures which names; `--only` picks modules by the names that are wanted.
CATALOG: dict[str, tuple[str, ...]] = {
    "parse_store": ("parse_store_ms", "parse_store_stamped_ms"),
    "window_size": ("window_bytes_per_sample",),
    "agent_memory": (
        "agent_rss_mib",
        "agent_rss_peak_mib",
        "agent_cpu_percent",
        "agent_rss_fallback_mib",
        "agent_rss_real_mib",
        "agent_cpu_real_percent",
    ),
    "history": ("history_kept_s", "journal_replay_s", "journal_replay_silence_ms"),
    "fleet": (
        "metrics_page_link_s",
        "metrics_page_link_cold_s",
        "metrics_page_fodc_s",
        "metrics_page_fodc_cold_s",
        "metrics_growth_mib",
        "windows_page_s",
        "windows_page_fodc_s",
        "windows_growth_mib",
    ),
    "beats": (
        "heartbeat_p99_ms",
        "heartbeat_idle_p50_ms",
        "beats_5000_cpu_percent",
    ),
    "storms": (
        "storm_lost",
        "storm_s",
        "storm_cpu_s",
        "storm_link_s",
        "tls_storm_lost",
        "tls_storm_s",
        "tls_kib_per_agent",
        "proxy_kib_per_agent_link",
        "proxy_kib_per_agent_fodc",
        "proxy_idle_rss_mib",
    ),
    "hello_flood": ("hello_flood_growth_mib",),
    "authorized": ("authorized_request_added_ms",),
    "capture": ("capture_overhead_s",),
    "incidents": ("incident_visible_s",),
    "evidence": ("schema_check_s", "large_profile_growth_mib"),
    "durable": ("requests_per_s", "power_cut_lost"),
    "client_start": ("client_start_s",),
    "operator_program": (
        "leader_failover_s",
        "operator_cpu_percent",
        "operator_rss_mib",
        "status_writes_per_s_1000_agents",
        "transition_visible_s",
    ),
    "webhook_latency": ("webhook_added_p99_ms",),
    "webhook_flood": ("webhook_flood_growth_mib",),
    "kernel": (
        "ktm_read_cost_ns",
        "ktm_untraced_read_cost_ns",
        "ktm_agent_growth_mib",
        "ktm_load_ms",
        "offcpu_overhead_percent",
    ),
    "images": ("agent_image_mib", "agent_start_s", "operator_start_s"),
}


def chosen(only: str | None) -> dict[str, set[str]]:
    """Map each module that is needed to the names wanted of it; raises SystemExit on an unknown."""
    known = {name: module for module, names in CATALOG.items() for name in names}
    wanted = list(known) if only is None else [name for name in only.split(",") if name]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"unknown benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    modules: dict[str, set[str]] = {}
    for name in wanted:
        modules.setdefault(known[name], set()).add(name)
    return modules


def measure(modules: dict[str, set[str]]) -> dict[str, Figure]:
    """Run the modules one after the other and keep the figures that were asked for."""
    figures: dict[str, Figure] = {}
    for module, names in modules.items():
        began = time.monotonic()
        sys.stderr.write(f"{module}: measuring {', '.join(sorted(names))} …\n")
        sys.stderr.flush()
        measured = importlib.import_module(f"bench.{module}").run(sorted(names))
        figures.update({name: measured[name] for name in sorted(names)})
        sys.stderr.write(f"{module}: {time.monotonic() - began:.0f} s\n")
    return figures


def table(figures: dict[str, Figure]) -> str:
    """Lay out name, value, goal and method."""
    rows = []
    for name, figure in sorted(figures.items()):
        rows.append(f"{name:26} {figure.told()}")
        rows.append(f"{'':26} {figure.method}")
    return "\n".join(rows)


def keep(figures: dict[str, Figure]) -> None:
    """Merge the figures into build/bench.json, each with its day and the load at its end."""
    RESULTS.parent.mkdir(exist_ok=True)
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    taken = {"day": f"{datetime.now(UTC):%Y-%m-%d}", "load": round(os.getloadavg()[2], 1)}
    made = {name: {**figure.as_json(), **taken} for name, figure in figures.items()}
    RESULTS.write_text(json.dumps({**before, **made}, indent=2, sort_keys=True) + "\n")


def main() -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument(
        "--readme", action="store_true", help="write what was measured into README.md"
    )
    arguments = parser.parse_args()
    figures = measure(chosen(arguments.only))
    keep(figures)
    print(table(figures))
    if arguments.readme:
        readme.write(json.loads(RESULTS.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
