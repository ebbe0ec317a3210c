# SPDX-License-Identifier: Apache-2.0
"""`fodc top`: hottest functions of recorded profiles."""

import json

import pytest

from tests.client.profiles import cpu_profile


@pytest.fixture
def written(tmp_path, recorded):
    def write(profile, name=None):
        path = tmp_path / (name or f"n-{profile}-20261121T070639Z.pb.gz")
        path.write_bytes(recorded(profile))
        return path

    return write


@pytest.fixture
def thin(tmp_path):
    """A CPU profile of twelve samples."""
    path = tmp_path / "n-cpu-20261121T070639Z.pb"
    path.write_bytes(cpu_profile(samples=12, seconds=5))
    return path


WHOLE = "3.05 s in 305 samples over 5s, 61.0% of a core; 24.9% of it shown"
CPU = f"""\
n-cpu-20261121T070639Z.pb.gz: hottest by cpu; {WHOLE}
  FLAT  FLAT%     CUM   CUM%  FUNCTION
440 ms  14.4%  450 ms  14.8%  github.com/klauspost/compress/s2.s2Decode
320 ms  10.5%  580 ms  19.0%  runtime.tryDeferToSpanScan
"""


def test_top_shows_the_hottest_functions(fodc_alone, written):
    ran = fodc_alone("top", written("cpu"), "--top", "2")

    assert ran.out == CPU
    assert ran.code == 0


def test_top_of_goroutines_counts_where_they_wait(fodc_alone, written):
    """C9: 98 % of them stood in `runtime.gopark`, which parks them all."""
    ran = fodc_alone("top", written("goroutine"), "-o", "json")

    document = json.loads(ran.out)
    assert document["total"] == 200
    assert document["places"][2] == {
        "function": "github.com/apache/skywalking-banyandb/pkg/run.(*Group).Run.func5.1",
        "waits_in": "runtime.chanrecv1",
        "count": 12,
        "percent": 6.0,
    }
    assert all("gopark" not in each["function"] for each in document["places"])


def test_top_of_goroutines_by_a_column_ranks_functions(fodc_alone, written):
    ran = fodc_alone("top", written("goroutine"), "--value", "goroutine", "-o", "json")

    assert json.loads(ran.out)["functions"][0]["name"] == "runtime.gopark"


def test_top_warns_of_an_order_that_is_chance(fodc_alone, thin):
    """C9: single samples were ranked without a word."""
    ran = fodc_alone("top", thin)

    assert ran.code == 0
    assert ran.err == (
        "few samples: 12; a row of one or two is chance, capture longer or under more load\n"
    )


def test_top_of_many_samples_warns_of_nothing(fodc_alone, written):
    assert fodc_alone("top", written("cpu")).err == ""
    assert fodc_alone("top", written("heap")).err == ""


def test_top_refuses_to_show_no_functions(fodc_alone, written):
    """C4: `--top 0` called the profile empty."""
    ran = fodc_alone("top", written("cpu"), "--top", "0")

    assert ran.code == 2
    assert "--top: must be at least 1" in ran.err


def test_top_takes_another_column(fodc_alone, written):
    ran = fodc_alone("top", written("heap", "x.pb.gz"), "--value", "alloc_space", "-o", "json")

    document = json.loads(ran.out)
    assert document["value"] == "alloc_space"
    assert document["unit"] == "bytes"
    assert document["functions"][0]["name"] == "github.com/klauspost/compress/s2.Decode"


def test_top_lists_the_columns_when_one_is_unknown(fodc_alone, written):
    ran = fodc_alone("top", written("heap"), "--value", "time")

    assert ran.code == 2
    assert "alloc_objects, alloc_space, inuse_objects, inuse_space" in ran.err


def test_top_prints_folded_stacks(fodc_alone, written):
    ran = fodc_alone("top", written("cpu"), "--folded")

    assert all(line.rpartition(" ")[2].isdigit() for line in ran.out.splitlines())
    assert ";runtime." in ran.out


def test_top_says_that_a_profile_is_empty(fodc_alone, written):
    ran = fodc_alone("top", written("block"))

    assert ran.code == 1
    assert "the profile is empty: nothing was sampled" in ran.err


def test_top_says_what_is_no_profile(fodc_alone, tmp_path):
    path = tmp_path / "x.pb.gz"
    path.write_text("<html>")

    assert fodc_alone("top", path).code == 1
    assert fodc_alone("top", tmp_path / "missing").code == 4
    assert fodc_alone("top", tmp_path).code == 1
