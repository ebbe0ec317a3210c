# SPDX-License-Identifier: Apache-2.0
"""Names and paths of artifacts: keys in the store, paths of the API, names of downloads.

The one idea: every part of a key or name passes `safe_name`, so no node can choose where its bytes
end up.
"""

from fodc_protocol import ids, times
from fodc_protocol.artifacts import Manifest
from fodc_protocol.profiles import ProfileFormat, extension_of

ARTIFACTS = "artifacts"
REQUESTS = "requests"
INCIDENTS = "incidents"
PROBE = "probe"
"""Written to see whether the store takes writes again."""
MANIFEST_SUFFIX = ".manifest.json"
_MEDIA_TYPES: dict[str, str] = {
    ProfileFormat.PPROF: "application/gzip",
    ProfileFormat.OPENMETRICS: "application/gzip",
}


def data_key(manifest: Manifest) -> str:
    """Key of the bytes: artifacts/<request>/<node>/<profile>-<artifact id><ending>."""
    request, node = ids.safe_name(manifest.request_id), ids.safe_name(manifest.node)
    name = ids.safe_name(f"{manifest.profile}-{manifest.artifact_id}")
    return f"{ARTIFACTS}/{request}/{node}/{name}{extension_of(manifest.profile)}"


def manifest_key(key: str) -> str:
    """Key of the manifest that makes the bytes under `key` an artifact."""
    return key + MANIFEST_SUFFIX


def record_key(folder: str, record_id: str) -> str:
    """Key of a record, such as that of a request."""
    return f"{folder}/{ids.safe_name(record_id)}.json"


def download_path(artifact_id: str) -> str:
    """Where the proxy serves the bytes."""
    return f"/artifacts/{ids.safe_name(artifact_id)}"


def file_name(manifest: Manifest) -> str:
    """Name for people, such as banyandb-0-cpu-20261121T090823Z.pb.gz."""
    stamp = times.format_rfc3339(manifest.started_at_ms // 1000)
    compact = stamp.replace("-", "").replace(":", "")
    stem = ids.safe_name(f"{manifest.pod}-{manifest.profile}-{compact}")
    return stem + extension_of(manifest.profile)


def content_type(manifest: Manifest) -> str:
    """Media type of the bytes; what is compressed stays so."""
    return _MEDIA_TYPES.get(manifest.format, "application/octet-stream")
