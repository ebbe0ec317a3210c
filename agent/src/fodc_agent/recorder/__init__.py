# SPDX-License-Identifier: Apache-2.0
"""The flight recorder: what every source reported, with its own time, inside a memory budget.

A page becomes a row of doubles (`parser`, `columns`), rows become a compressed window (`window`,
`compression`) and survive a restart in a journal; `recorder` puts them together.
"""
