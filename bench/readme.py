# SPDX-License-Identifier: Apache-2.0
"""Writes the table of figures in README.md from what was measured.

What the Go implementation took is the reference's own measurement, on the same kind of machine.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

README: Final = Path(__file__).parents[1] / "README.md"
BEGIN: Final = "<!-- figures: written by `make bench README=1` -->"
END: Final = "<!-- end of figures -->"
_HEAD: Final = "| name | what | ours | held against | Go |\n|---|---|---|---|---|"
# What each name means to a person, and what the Go implementation took where it was measured.
ROWS: Final[Mapping[str, tuple[str, str]]] = {
    "agent_rss_mib": ("agent, 3,000 series, one hour at 10 s", "96 to 166 MiB"),
    "agent_rss_peak_mib": ("the same, once its whole window was asked for", "–"),
    "agent_cpu_percent": ("the same agent at its usual pace", "0.30 to 0.45 %"),
    "agent_rss_fallback_mib": ("the same agent over the existing contract", "96 to 166 MiB"),
    "agent_rss_real_mib": ("agent on the page of a real BanyanDB data node", "–"),
    "agent_cpu_real_percent": ("the same agent at its usual pace", "0.12 %"),
    "history_kept_s": ("history of a port that answers after 9 s", "–"),
    "journal_replay_s": ("an hour of 15,000 series taken over at the start", "–"),
    "journal_replay_silence_ms": ("longest silence of the agent meanwhile", "–"),
    "parse_store_ms": ("a warm scrape of 3,000 series, read and kept", "–"),
    "parse_store_stamped_ms": ("the same page with a time on every line", "–"),
    "window_bytes_per_sample": ("memory of one value in the window", "–"),
    "metrics_page_link_s": ("`/metrics`, 100 agents × 2,000 series, our link, warm", "–"),
    "metrics_page_link_cold_s": ("the first such scrape", "–"),
    "metrics_page_fodc_s": ("the same by the existing contract, warm", "1.66 s"),
    "metrics_page_fodc_cold_s": ("the first such scrape", "–"),
    "metrics_growth_mib": ("what these pages cost the proxy in memory", "671 MiB at its highest"),
    "windows_page_s": ("`/metrics-windows`, 1.2 million points, our link", "–"),
    "windows_page_fodc_s": ("the same by the existing contract", "10 to 13 s"),
    "windows_growth_mib": ("what these windows cost the proxy in memory", "3.7 GiB"),
    "heartbeat_p99_ms": ("heartbeats while 100 × 2,000 series are scraped", "305 to 595 ms"),
    "heartbeat_idle_p50_ms": ("round trip of a heartbeat, nothing else going on", "1.3 ms"),
    "beats_5000_cpu_percent": ("5,000 agents of seven streams that beat every 10 s", "6 %"),
    "storm_lost": ("5,000 agents that register at once: lost", "0"),
    "storm_s": ("the same: seconds, seven streams each", "2.8 s"),
    "storm_cpu_s": ("the same: processor time", "2.0 s"),
    "storm_link_s": ("5,000 agents of our link that register at once", "–"),
    "tls_storm_lost": ("2,000 agents of our link that register at once by TLS: lost", "–"),
    "tls_storm_s": ("the same: seconds", "–"),
    "tls_kib_per_agent": ("the same: memory of the proxy per agent", "–"),
    "proxy_kib_per_agent_link": ("memory of the proxy per agent, our link", "–"),
    "proxy_kib_per_agent_fodc": ("the same, seven streams", "107 KiB"),
    "proxy_idle_rss_mib": ("memory of a proxy at rest", "16 MiB"),
    "hello_flood_growth_mib": ("what 40 greetings of 16 MiB leave behind", "–"),
    "authorized_request_added_ms": ("what it costs to look at a caller, p99", "nobody is asked"),
    "capture_overhead_s": ("from request to stored artifact, beyond the profile itself", "–"),
    "incident_visible_s": ("a node killed by SIGKILL until /incidents has it, stored", "–"),
    "schema_check_s": ("500 groups on 20 nodes compared with the registry: processor time", "–"),
    "large_profile_growth_mib": ("what agent or proxy grow while 300 MB of profiles pass", "–"),
    "requests_per_s": ("requests taken in durably, a second", "–"),
    "power_cut_lost": ("promises that power cuts cost", "–"),
    "client_start_s": ("`fodc --help`, `fodc version`", "–"),
    "leader_failover_s": ("a new leader after `kill -9` of the old", "no second proxy"),
    "status_writes_per_s_1000_agents": ("status writes for 1,000 agents", "no operator"),
    "operator_cpu_percent": ("the operator with them: processor", "no operator"),
    "operator_rss_mib": ("the same: memory", "no operator"),
    "transition_visible_s": ("a killed agent until its FodcNode says so", "no operator"),
    "webhook_added_p99_ms": ("what the webhook adds to a pod's creation, p99", "no webhook"),
    "webhook_flood_growth_mib": ("what 300 slow and large bodies cost the webhook", "no webhook"),
    "ktm_read_cost_ns": ("what kernel telemetry adds to a read of the database", "–"),
    "ktm_untraced_read_cost_ns": ("what it adds to a read of anybody else on the machine", "–"),
    "ktm_agent_growth_mib": ("what it adds to the agent", "–"),
    "ktm_load_ms": ("loading the usual groups into the kernel", "–"),
    "offcpu_overhead_percent": (
        "an off-CPU profile of a node that waits 10,000 times a second, of a core",
        "–",
    ),
    "agent_image_mib": ("the agent's image above its base, without compression", "–"),
    "agent_start_s": ("an agent from its exec until it is ready", "–"),
    "operator_start_s": ("an operator from its exec until it leads and is ready", "no operator"),
}


def table(
    found: Mapping[str, Mapping[str, Any]], before: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the table in Markdown; what was not measured keeps its row of `before`, if any."""
    lines = [_HEAD]
    for name, (what, theirs) in ROWS.items():
        if name in found:
            one = found[name]
            ours = f"{one['value']:.3g} {one['unit']}"
            lines.append(f"| `{name}` | {what} | {ours} | {_held(one)} | {theirs} |")
        elif name in before:
            lines.append(before[name])
    days = sorted({str(one.get("day", "?")) for one in found.values()})
    loads = sorted(float(one.get("load", 0)) for one in found.values())
    taken = f"Taken on {' and '.join(days)}, 2 cores, load average {loads[0]:g} to {loads[-1]:g}."
    return "\n".join([taken, "", *lines])


def _held(one: Mapping[str, Any]) -> str:
    times, sign = one.get("times"), "≥" if one.get("at_least") else "≤"
    judged = one["value"] if times is None else times
    is_met = judged >= one["goal"] if one.get("at_least") else judged <= one["goal"]
    words = "" if times is None else f"{times:.3g} × {one['of']}, "
    return f"{words}goal {sign} {one['goal']:g}{'' if is_met else ', **missed**'}"


def write(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the table between its two marks; raises ValueError where README.md lacks them."""
    before, begin, rest = README.read_text().partition(BEGIN)
    rest, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README} lacks {BEGIN!r} or {END!r}")
    rows = {line.split("`")[1]: line for line in rest.splitlines() if line.startswith("| `")}
    README.write_text(f"{before}{BEGIN}\n{table(found, rows)}\n{END}{after}")
