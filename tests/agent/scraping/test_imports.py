# SPDX-License-Identifier: Apache-2.0
"""What the agent's parts import: each module is memory beside a database."""

import subprocess
import sys

HEAVY = ("ssl", "_ssl", "ctypes", "http.client", "urllib.request", "email", "aiohttp", "grpc")
LISTED = f"""
import sys
sys.modules["ssl"] = None
import asyncio
import fodc_agent.captures.orders
import fodc_agent.captures.pprof
import fodc_agent.scraping.client
import fodc_agent.sources.banyandb
import fodc_agent.sources.cgroup
import fodc_agent.sources.configuration
import fodc_agent.sources.pressure
import fodc_agent.sources.process
import fodc_agent.sources.self_health
import fodc_agent.web.routes
import fodc_agent.web.server
print([name for name in {HEAVY!r} if sys.modules.get(name)])
"""


def test_nothing_heavy_is_imported_without_tls():
    """OpenSSL alone is 4 MiB."""
    listed = subprocess.run(
        [sys.executable, "-c", LISTED], capture_output=True, text=True, timeout=30, check=True
    )

    assert listed.stdout == "[]\n"
