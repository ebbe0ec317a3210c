# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of the proxy as types: what may be asked, what is answered, what a failure is.

The one idea: each shape is written once, here. The proxy answers with these Structs, client and
operator decode with them, and the OpenAPI document is generated from them.
"""
