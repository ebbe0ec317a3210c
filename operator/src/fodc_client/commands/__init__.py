# SPDX-License-Identifier: Apache-2.0
"""The verbs of `fodc`, one module each, loaded when it is the one that runs.

Each module has `add(verbs)`, which tells argparse about the verb, a `run…` that returns the exit
code (awaited where it talks to the proxy), and pure functions that turn answers into tables.
"""

from typing import Final

SUMMARIES: Final = {
    "nodes": "list the nodes, their phase and what runs on them",
    "capture": "take profiles on nodes, save them here and show what is hot",
    "freeze": "keep the window of every node around one instant, in one cut",
    "requests": "list, show and cancel diagnostic requests",
    "artifacts": "list, get and delete what captures left in the proxy",
    "incidents": "list, show and get what happened to nodes, with all evidence",
    "config": "show a node's configuration, as it is or was, or how nodes differ",
    "flows": "show who writes to and queries whom, and how the nodes do",
    "windows": "draw a metric of a node over the time that its flight recorder holds",
    "top": "show the hottest functions of a local profile",
    "doctor": "find out what is missing on each node and why",
    "login": "get a token from your issuer (OpenID Connect), by a browser of any machine",
    "logout": "forget that token, and have the issuer take it back",
    "version": "show the version of this program and of the proxy",
    "completion": "print a completion script for a shell",
}
"""Every verb in the order of the help, with its line there."""
