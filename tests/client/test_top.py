# SPDX-License-Identifier: Apache-2.0
"""`fodc top`: hottest functions of recorded profiles."""

import json

import pytest


@pytest.fixture
def recorded(tmp_path, make):
    def write(profile, name=None):
        path = tmp_path / (name or f"n-{profile}-20261121T070639Z.pb.gz")
        path.write_bytes(make.recorded(profile))
        return path

    return write


CPU = """\
n-cpu-20261121T070639Z.pb.gz: hottest by cpu
  FLAT  FLAT%     CUM   CUM%  FUNCTION
440 ms  14.4%  450 ms  14.8%  github.com/klauspost/compress/s2.s2Decode
320 ms  10.5%  580 ms  19.0%  runtime.tryDeferToSpanScan
"""


def test_top_shows_the_hottest_functions(fodc, recorded):
    ran = fodc("top", recorded("cpu"), "--top", "2")

    assert ran.out == CPU
    assert ran.code == 0


def test_top_of_goroutines_ranks_callers_and_not_the_scheduler(fodc, recorded):
    ran = fodc("top", recorded("goroutine"), "-o", "json")

    cumulated = [each["cum"] for each in json.loads(ran.out)["functions"]]
    assert cumulated == sorted(cumulated, reverse=True)


def test_top_takes_another_column(fodc, recorded):
    ran = fodc("top", recorded("heap", "x.pb.gz"), "--value", "alloc_space", "-o", "json")

    document = json.loads(ran.out)
    assert document["value"] == "alloc_space"
    assert document["unit"] == "bytes"
    assert document["functions"][0]["name"] == "github.com/klauspost/compress/s2.Decode"


def test_top_lists_the_columns_when_one_is_unknown(fodc, recorded):
    ran = fodc("top", recorded("heap"), "--value", "time")

    assert ran.code == 2
    assert "alloc_objects, alloc_space, inuse_objects, inuse_space" in ran.err


def test_top_prints_folded_stacks(fodc, recorded):
    ran = fodc("top", recorded("cpu"), "--folded")

    assert all(line.rpartition(" ")[2].isdigit() for line in ran.out.splitlines())
    assert ";runtime." in ran.out


def test_top_says_that_a_profile_is_empty(fodc, recorded):
    ran = fodc("top", recorded("block"))

    assert ran.code == 1
    assert "the profile is empty: nothing was sampled" in ran.err


def test_top_says_what_is_no_profile(fodc, tmp_path):
    path = tmp_path / "x.pb.gz"
    path.write_text("<html>")

    assert fodc("top", path).code == 1
    assert fodc("top", tmp_path / "missing").code == 4
    assert fodc("top", tmp_path).code == 1
