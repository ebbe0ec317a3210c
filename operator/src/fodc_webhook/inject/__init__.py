# SPDX-License-Identifier: Apache-2.0
"""What is put into a pod: a function of the pod and its policy, without I/O or clock."""
