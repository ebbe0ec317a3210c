# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API as the operator uses it; the only place that imports a Kubernetes client."""
