# SPDX-License-Identifier: Apache-2.0
"""The contract of the existing Go proxy: seven streams with one kind of message each.

Imported only when a proxy does not know our link, so that its stubs cost nothing otherwise.
"""
