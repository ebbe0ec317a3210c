# SPDX-License-Identifier: Apache-2.0
"""Where artifacts are kept and for how long, as settings; defect P17."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fodc_protocol.errors import OptionError
from fodc_proxy.settings import resolved, settings_of
from fodc_proxy.storage.opening import folder_of, room_bytes
from fodc_proxy.storage.retention import GIB, Retention

MANIFESTS = Path(__file__).parents[3] / "manifests"


def settings(*flags: str):
    return settings_of(resolved(flags, {}))


def test_retention_and_store_are_settings():
    told = settings(
        "--artifact-store=s3://bucket/path",
        "--artifact-retention=1h",
        "--artifact-retention-count=7",
        "--artifact-retention-bytes=2MiB",
    )
    assert told.artifact_store == "s3://bucket/path"
    assert told.retention == Retention(3_600_000, 2 * 1024**2, 7)


def test_the_budget_of_windows_is_a_setting():
    assert settings("--window-budget=1MiB").window_budget_bytes == 1024**2


def test_the_default_fits_the_default_volume_with_room_for_what_arrives():
    claim = re.search(r"storage: (\d+)Gi", (MANIFESTS / "base/artifacts.yaml").read_text())
    kept = settings().retention.bytes_within(int(claim[1]) * GIB)
    assert kept == 8 * GIB <= int(claim[1]) * GIB - 2 * GIB


@pytest.mark.parametrize(
    ("asked", "room", "kept"),
    [
        (0, None, 8 * GIB),
        (0, GIB, int(0.8 * GIB)),
        (0, 100 * GIB, 8 * GIB),
        (5, None, 5),
        (5, 9, 5),
    ],
)
def test_bytes_are_as_asked_or_what_fits(asked, room, kept):
    assert Retention(max_bytes=asked).bytes_within(room) == kept


def test_more_than_there_is_room_for_is_refused_with_the_flag():
    with pytest.raises(OptionError, match=r"--artifact-retention-bytes is 10, but .* has 9 bytes"):
        Retention(max_bytes=10).bytes_within(9)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://bucket", "must start with one of s3://"),
        ("bucket", "must start with one of s3://"),
        ("s3://", "must name a bucket"),
        ("file://host/path", "must name a folder"),
        ("file:///", "must name a folder"),
        ("http://[", "is no URL"),
    ],
)
def test_a_store_that_cannot_be_is_refused_with_what_can(url, problem):
    with pytest.raises(OptionError, match=f"artifact-store {problem}"):
        settings(f"--artifact-store={url}")


def test_credentials_in_the_url_are_refused_and_not_shown():
    with pytest.raises(OptionError, match="credentials in the environment") as caught:
        settings("--artifact-store=s3://key:hunter2@bucket/path")
    assert "hunter2" not in caught.value.message


def test_a_container_of_azure_may_stand_before_its_account():
    url = "abfss://container@account.dfs.core.windows.net/path"
    assert settings(f"--artifact-store={url}").artifact_store == url
    with pytest.raises(OptionError, match="credentials in the environment"):
        settings("--artifact-store=abfss://container:hunter2@account.dfs.core.windows.net/path")


def test_a_folder_may_be_named_and_a_bucket_has_no_end(tmp_path):
    assert folder_of("", tmp_path) == tmp_path / "store"
    assert folder_of("file:///var/lib/x", tmp_path) == Path("/var/lib/x")
    assert folder_of("gs://bucket", tmp_path) is None
    assert room_bytes("gs://bucket", tmp_path) is None
    assert room_bytes("", tmp_path / "not" / "yet") > 0


def test_the_library_of_buckets_is_not_imported_for_a_folder():
    program = (
        "import sys, fodc_proxy.runtime, fodc_proxy.storage.opening as o; from pathlib import Path;"
        "o.objects_at('', Path('x')); print('obstore' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert told.stdout.strip() == "False"
