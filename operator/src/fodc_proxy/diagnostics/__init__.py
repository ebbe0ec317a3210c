# SPDX-License-Identifier: Apache-2.0
"""Diagnostic requests: what to capture on which nodes, and how far that has come.

Theory of operation.  A `Ledger` (pure) holds every request and decides what may start, what has
failed and why; it speaks in effects.  The `Coordinator` (shell) carries them out: one desk per pod
drives the pod's book of commands, bytes go to partial files and then to the artifact store, and a
request's state is on disk before its agent may forget the outcome.  A restart finds the same ids.
"""
