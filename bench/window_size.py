# SPDX-License-Identifier: Apache-2.0
"""Memory of one hour of history: bytes per sample and growth of the process.

Runs in a fresh interpreter, because a process that has measured something else before has memory
to spare and would show too little growth.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure
from bench.node_pages import NodePages
from fodc_agent.recorder.recorder import Recorder

SERIES = 3000
ROWS = 360
BUDGET_BYTES = 8 << 20
METHOD = (
    f"{SERIES} series x {ROWS} pages 10 s apart; RSS from /proc/self/status before the recorder "
    "exists and after the last page, pages made one at a time by a child process and read over a "
    "pipe, latest() asked after every page; bytes per sample from the recorder's own account"
)


def _rss_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("/proc/self/status has no VmRSS")


def _feed() -> None:
    for body in NodePages(SERIES).pages(ROWS):
        sys.stdout.buffer.write(len(body).to_bytes(4, "big") + body)


def _measure() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.window_size", "feed"], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    # One page of throw-away memory, so that reading itself is not counted as growth.
    body = child.stdout.read(int.from_bytes(child.stdout.read(4), "big"))
    before = _rss_kib()
    recorder = Recorder(budget_bytes=BUDGET_BYTES, interval_s=10)
    recorder.set_identity(None, (("node_role", "ROLE_DATA"), ("pod_name", "banyandb-data-hot-0")))
    after_first = 0
    for at in range(ROWS):
        recorder.record_page("node", body, at * 10_000)
        recorder.latest()
        if at == 0:
            after_first = _rss_kib()
        if at < ROWS - 1:
            body = child.stdout.read(int.from_bytes(child.stdout.read(4), "big"))
    after = _rss_kib()
    child.stdout.close()
    child.wait(10)
    extent = recorder.extent()
    rows_bytes = sum(track.window.bytes for track in recorder._tracks.values())
    packed = sum(track.window.packed_row_bytes for track in recorder._tracks.values())
    print(
        json.dumps(
            {
                "rows": extent.rows,
                "growth_mib": (after - before) / 1024,
                "first_page_mib": (after_first - before) / 1024,
                "account_mib": extent.bytes / (1 << 20),
                "bytes_per_sample": rows_bytes / extent.samples,
                "packed_bytes_per_sample": packed / SERIES,
                "reachable_s": extent.reachable_s,
            }
        )
    )


def run(names: Sequence[str] = ()) -> dict[str, Figure]:
    """Measure and return memory figures, only `names` if there are any."""
    command = [sys.executable, "-m", "bench.window_size", "measure"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)
    if found["rows"] != ROWS:
        raise RuntimeError(f"the window holds {found['rows']} rows instead of {ROWS}")
    figures = {
        "window_packed_bytes_per_sample": _figure(found["packed_bytes_per_sample"], "B", 3.5),
        "window_bytes_per_sample": _figure(found["bytes_per_sample"], "B", 3.5),
        "recorder_growth_mib": _figure(found["growth_mib"], "MiB", 6.0),
        "recorder_first_page_growth_mib": _figure(found["first_page_mib"], "MiB", 3.0),
        "recorder_account_mib": _figure(found["account_mib"], "MiB", 8.0),
    }
    return {name: figures[name] for name in names or figures}


def _figure(value: float, unit: str, goal: float) -> Figure:
    return Figure(round(value, 2), unit, goal, METHOD)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["feed"]:
            _feed()
        case ["measure"]:
            _measure()
        case _:
            print(METHOD)
            for name, figure in run().items():
                print(name, figure.told())
