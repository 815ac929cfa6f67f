"""Partitions as every Kafka client computes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.partitioning import murmur2, murmur2_partition


@pytest.mark.parametrize(
    ("key", "digest"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_digests_are_those_of_the_java_client(key: bytes, digest: int) -> None:
    """The values of Kafka's own test of its Utils.murmur2 (signed there)."""
    assert murmur2(key) == digest % 2**32


@pytest.mark.parametrize(
    ("key", "partition"),
    [(b"", 681), (b"a", 524), (b"ab", 434), (b"abc", 107), (b"123456789", 566), (b"\x00 ", 742)],
)
def test_partitions_are_those_of_the_java_client(key: bytes, partition: int) -> None:
    """Where the Java client's default partitioner puts these keys among 1,000 partitions."""
    assert murmur2_partition(key, 1_000) == partition


@given(st.binary(max_size=80), st.integers(1, 64))
def test_every_key_has_a_partition(key: bytes, partitions: int) -> None:
    """A partition is within the count, and the same every time."""
    assert 0 <= murmur2_partition(key, partitions) < partitions
    assert murmur2_partition(key, partitions) == murmur2_partition(key, partitions)
