"""Parsers of foreign bytes fail by their own exceptions only, and take time in proportion to the input.

`make fuzz` runs each for FUZZ_SECONDS; without that, a short form takes a few seconds in all.
"""

import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.parsers import PARSERS

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0.5"))
PER_KIB = 0.05
"""Seconds of processor time for a KiB of input."""


@st.composite
def inputs(draw, seeds):
    """A seed with a few changes, or bytes of no kind at all."""
    data = bytearray(draw(st.one_of(st.sampled_from(seeds), st.binary(max_size=400))))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["replace", "cut", "repeat", "insert", "digits"])):
            case "replace":
                data[at:end] = draw(st.binary(max_size=40))
            case "cut":
                del data[at:end]
            case "repeat":
                data[at:at] = data[at:end] * draw(st.integers(1, 200))
            case "insert":
                data[at:at] = draw(st.sampled_from(TROUBLE))
            case "digits":
                data[at:end] = str(draw(st.integers(-(2**70), 2**70))).encode()
    return bytes(data)


TROUBLE = [
    *(b"\x00", b"\xff" * 8, b"\r\n", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\x1b[31m", b"%", b"%%", b'"', b"\\"),
    *(b"nan", b"-inf", b"1e999", b"1e-50", b"9" * 400, b"[" * 1000, b'{"a":' * 600, b"*" * 60, b"!" * 60),
    *(b"=" * 60, b" " * 500, b"\t" * 300, b"a." * 200, b"0x" * 30, b"::" * 40, b"?*" * 60, b"://" * 80),
]


def cpu(run, data):
    began = time.thread_time()
    run(data)
    return time.thread_time() - began


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_foreign_bytes_raise_nothing_strange_and_cost_no_time(parser):
    def run(data):
        try:
            parser.run(data)
        except parser.own:
            pass

    @settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs(parser.seeds))
    def fuzz(data):
        if time.monotonic() > end and not failed:
            return
        limit = PER_KIB * max(1.0, len(data) / 1024)
        failed.append(data)
        # Something else may have had the processor's caches: slow is what is slow three times.
        assert cpu(run, data) <= limit or min(cpu(run, data) for _ in range(3)) <= limit
        failed.pop()

    failed: list[bytes] = []  # being shrunk: then the clock no longer matters
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        fuzz()
