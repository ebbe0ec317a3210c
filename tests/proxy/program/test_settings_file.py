# SPDX-License-Identifier: Apache-2.0
"""The file of --config as editors write it."""

import pytest

from fodc_protocol.errors import OptionError
from fodc_proxy.settings_file import settings_file


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    """A23: files of editors on Windows begin with one."""
    path = tmp_path / "proxy.yaml"
    path.write_bytes(b"\xef\xbb\xbflog-level: debug\n")
    assert settings_file(str(path)) == {"log-level": "debug"}


def test_a_file_that_is_no_utf_8_is_named(tmp_path):
    path = tmp_path / "proxy.yaml"
    path.write_bytes("log-level: débug".encode("latin-1"))
    with pytest.raises(OptionError, match=r"--config: .*proxy\.yaml is not UTF-8"):
        settings_file(str(path))
