# SPDX-License-Identifier: Apache-2.0
"""The collection bus: who collects what and when, shared by everybody who wants to know.

`timetable`, `breaker` and `mailbox` hold the rules and know no clock; `coordinator` runs them.
"""
