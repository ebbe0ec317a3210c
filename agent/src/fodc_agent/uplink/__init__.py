# SPDX-License-Identifier: Apache-2.0
"""The agent's way to its proxy: our link, or the seven streams of an existing Go proxy.

`caller` keeps one of the two alive; `agent_link` is the shell around the pure session of
`fodc_protocol.link`, `seven` speaks the existing contract; `answers` and `transfers` say what
queries and captures are answered with. Stubs are imported in the two `codec` modules only.
"""
