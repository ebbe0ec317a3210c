# SPDX-License-Identifier: Apache-2.0
"""gRPC as the agent uses it: one connection, streams of plain bytes, errors of our own.

Who talks to a peer (`uplink`, `identity`) brings its own codec; nothing here knows a message.
"""
