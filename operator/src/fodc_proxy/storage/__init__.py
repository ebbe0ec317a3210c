# SPDX-License-Identifier: Apache-2.0
"""Storage: requests, manifests and the bytes of artifacts, kept as named objects.

Theory of operation.  Everything durable is an object under a key: in a folder (`folder`) or in a
bucket (`bucket`), behind one small interface (`objects`).  A write that has returned is durable;
one that failed has changed nothing that is read later.  There is one writer: a lock on the folder,
an epoch in the bucket.  The bytes of an artifact are written before its manifest, and an artifact
exists exactly when its manifest does; what is found short or altered later is damaged and says so.
"""
