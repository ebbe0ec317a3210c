# SPDX-License-Identifier: Apache-2.0
"""Flags of the Go agent that a chart written for it may give, with what they would need here.

The one idea: they are accepted, so that such a chart starts this agent, and they are not offered: a
start with one of them says that it does nothing.
"""

from typing import Final

from fodc_protocol.options import Kind, Option, between

_percent: Final = between(0, 100)
_CRASHES: Final = "crash records"
_FOLDER: Final = "a folder of its own: profiles of short memory wait in --capture-dir"

DORMANT: Final = (
    Option("diagnosis-listen-addr", Kind.STRING, "", _CRASHES),
    Option("panic-diagnostics-enabled", Kind.BOOL, "false", _CRASHES),
    Option("panic-diagnostics-dir", Kind.STRING, "", _CRASHES),
    Option("panic-diagnostics-max-artifacts", Kind.STRING, "", _CRASHES),
    Option("max-fodc-diagnosis-memory-usage-percentage", Kind.INT, "0", _CRASHES, check=_percent),
    Option("max-diagnosis-memory-usage-percentage", Kind.INT, "0", _CRASHES, check=_percent),
    Option("pressure-profiler-dir", Kind.STRING, "", _FOLDER),
)
