# SPDX-License-Identifier: Apache-2.0
"""The small Huffman decoder reads what hpack's own reads, and refuses what it refuses."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import hpack
import pytest
from hpack.exceptions import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from fodc_agent.rpc.compact_huffman import decode_huffman


def _large():
    """hpack's own decoder, whatever stands in its place in this process."""
    path = Path(hpack.__file__).with_name("huffman_table.py")
    spec = importlib.util.spec_from_file_location("hpack.the_large_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.decode_huffman


LARGE = _large()


def outcome(decode, coded):
    try:
        return bytes(decode(coded))
    except HPACKDecodingError:
        return "refused"


@given(st.binary(max_size=60))
def test_what_was_coded_is_read_back(text):
    coded = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)
    assert decode_huffman(coded) == text


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused_as_by_the_large_table(coded):
    assert outcome(decode_huffman, coded) == outcome(LARGE, coded)


@pytest.mark.parametrize(
    ("coded", "read"),
    [
        (bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff"), b"www.example.com"),  # RFC 7541, C.4.1
        (b"", b""),
        (b"\xff\xff\xff\xff", "refused"),  # the end of a string
        (b"\xff", "refused"),  # eight bits of padding
        (b"\x00", "refused"),  # padding of zeros
    ],
)
def test_known_codes(coded, read):
    assert outcome(decode_huffman, coded) == read


def test_the_agent_never_loads_the_large_table():
    script = """if True:
        import fodc_agent.rpc.channel, hpack.hpack, fodc_agent.rpc.compact_huffman as compact
        assert hpack.hpack.decode_huffman is compact.decode_huffman
    """
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (loaded.returncode, loaded.stderr) == (0, "")
