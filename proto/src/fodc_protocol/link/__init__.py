# SPDX-License-Identifier: Apache-2.0
"""The agent link without its transport: frames, both ends of a session, and what they ask for.

Theory of operation.  A *connection* is one gRPC stream; it opens with Hello and
Welcome and may be cut between any two frames.  A *session* is what outlives
connections: the agent keeps one for the life of its process, the proxy keeps one
machine per command.  Both are plain objects: inputs are frames, times and
notes from the shell, outputs are effects (`effects`), and nothing here waits.

What makes two ends agree after any cut:

* a command is named by its id, and an agent that sees an id again reports what
  it has instead of starting anew;
* the proxy repeats a command until the agent has spoken of it, and an agent that
  restarted answers for everything that its spool still knows;
* an artifact is a byte string of known length and sha256, sent in chunks at
  offsets, and the receiver alone says where to go on;
* events are numbered, kept until acknowledged, and acknowledged cumulatively.
"""
