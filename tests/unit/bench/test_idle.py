"""Reading a process's memory."""

import os

import pytest

from warrener.bench.idle import memory, parse_rollup
from warrener.bench.wire import BenchError

ROLLUP = """\
55d0-7ffe ---p 00000000 00:00 0 [rollup]
Rss:               27840 kB
Pss:               17130 kB
Anonymous:         15368 kB
Swap:                120 kB
"""


def test_anonymous_memory_counts_swapped_out_or_not() -> None:
    assert parse_rollup(ROLLUP) == 15_488


def test_a_rollup_without_the_figure_is_an_error() -> None:
    with pytest.raises(BenchError, match="anonymous"):
        parse_rollup("Rss: 1 kB\n")


def test_a_process_that_is_gone_is_an_error_that_names_it() -> None:
    with pytest.raises(BenchError, match="process 999999999"):
        memory(999_999_999)


def test_memory_of_this_process_grows_with_what_it_holds() -> None:
    before = memory(os.getpid())
    held = bytearray(os.urandom(1) * (32 << 20))
    grown = memory(os.getpid()) - before
    assert len(held) == 32 << 20
    assert 30_000 < grown < 40_000
