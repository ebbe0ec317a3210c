# SPDX-License-Identifier: Apache-2.0
"""The Python node's panic: the crash as BanyanDB writes it down, and the end of the process."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path

FOLDER = "BYDB_PANIC_DIAGNOSTICS_DIR"
"""The variable by which BanyanDB is told where it writes its crashes."""
EXIT_CODE = 2
TEXT = "the sample node was asked to panic"
_PAUSE_S = 0.1


def panic_soon() -> None:
    """Panic when whoever asked for it has had time to hear so."""
    threading.Timer(_PAUSE_S, _panic).start()


def _panic() -> None:
    stack = "".join(traceback.format_stack())
    _write_crash(stack)
    sys.stderr.write(f"panic: {TEXT}\n\n{stack}")
    sys.stderr.flush()
    os._exit(EXIT_CODE)


def _write_crash(stack: str) -> None:
    """Write panic.json into a folder of its own that begins with its time."""
    top = os.environ.get(FOLDER, "")
    if not top:
        return
    now_ns = time.time_ns()
    whole = time.gmtime(now_ns // 10**9)
    stamp = time.strftime("%Y%m%dT%H%M%S", whole) + f".{now_ns % 10**9:09d}Z"
    folder = Path(top, f"{stamp}-banyandb-{os.getpid()}")
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "occurredAt": time.strftime("%Y-%m-%dT%H:%M:%S", whole) + f".{now_ns % 10**9:09d}Z",
        "component": "banyandb",
        "panicValue": TEXT,
        "goroutineStack": stack,
        "recovered": True,
        "breadcrumbs": [],
        "processMetadata": {"component": "banyandb"},
    }
    (folder / "panic.json").write_text(json.dumps(record), encoding="utf-8")
