# SPDX-License-Identifier: Apache-2.0
"""What an agent may write where its folders lie in memory."""

from dataclasses import replace
from pathlib import Path

import pytest

from fodc_agent.files_in_memory import fitted, read_mounts
from fodc_agent.settings import load

MIB = 1024 * 1024
DISK = "30 1 0:1 / / rw - overlay overlay rw\n"
POD = "31 30 0:2 / /var/lib/fodc rw,relatime shared:5 - {kind} {kind} rw,size=87040k\n"
TOLD = load(
    [
        "--capture-dir=/var/lib/fodc/captures",
        "--recorder-dir=/var/lib/fodc/window",
        "--capture-quota=64MiB",
        "--recorder-max-bytes=4MiB",
    ],
    {},
)


def bytes_of(limit_bytes, mounts, told=TOLD):
    found = fitted(told, limit_bytes, mounts)
    return found.capture_quota_bytes, found.recorder_max_bytes


def test_files_in_memory_get_what_the_process_leaves_of_the_limit():
    assert bytes_of(96 * MIB, DISK + POD.format(kind="tmpfs")) == (44 * MIB, 4 * MIB)
    large = replace(TOLD, capture_quota_bytes=256 * MIB, recorder_max_bytes=32 * MIB)
    assert bytes_of(96 * MIB, DISK + POD.format(kind="tmpfs"), large) == (36 * MIB, 12 * MIB)


def test_files_of_a_small_agent_get_a_quarter_of_its_limit():
    assert bytes_of(48 * MIB, DISK + POD.format(kind="ramfs")) == (9 * MIB, 3 * MIB)


@pytest.mark.parametrize(
    ("limit_bytes", "mounts"),
    [
        (96 * MIB, DISK + POD.format(kind="ext4")),
        (96 * MIB, DISK),
        (96 * MIB, ""),
        (96 * MIB, "of another form\n"),
        (0, DISK + POD.format(kind="tmpfs")),
        (None, DISK + POD.format(kind="tmpfs")),
        (1024 * MIB, DISK + POD.format(kind="tmpfs")),
    ],
)
def test_what_lies_on_a_disk_or_has_room_enough_is_as_it_was_told(limit_bytes, mounts):
    assert fitted(TOLD, limit_bytes, mounts) == TOLD


def test_the_nearest_mount_counts_and_of_several_at_a_place_the_last():
    above = "31 30 0:2 / /var/lib rw - tmpfs tmpfs rw\n"
    assert fitted(TOLD, 96 * MIB, DISK + above) != TOLD
    assert fitted(TOLD, 96 * MIB, DISK + above + POD.format(kind="ext4")) == TOLD
    both = POD.format(kind="tmpfs") + POD.format(kind="ext4")
    assert fitted(TOLD, 96 * MIB, DISK + both) == TOLD


def test_a_folder_with_a_blank_in_its_name_is_found():
    told = replace(TOLD, capture_dir=Path("/my data/captures"))
    mounts = DISK + "31 30 0:2 / /my\\040data rw - tmpfs tmpfs rw\n"
    assert bytes_of(96 * MIB, mounts, told) == (48 * MIB, 4 * MIB)


def test_the_mounts_of_this_machine_can_be_read():
    assert " - " in read_mounts()
    assert read_mounts(Path("/nowhere")) == ""
