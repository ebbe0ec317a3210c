# SPDX-License-Identifier: Apache-2.0
"""Captures: what is asked of which nodes, and how far that has come.

Theory of operation.  Whatever happens to a request, its captures, its records or a link is an event
(`events`).  The `Rules` (pure) take it in and answer with what is to be done (`effects`); the
`Engine` (shell) does it, and what comes of it is an event again.  There is one record per capture,
keyed by the id of its command: made before its agent hears of it, gone when its end is stored and
its agent may forget it.  Requests are stored as they change; a restart finds the same ids.
"""
