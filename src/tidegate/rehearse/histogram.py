"""Latencies in buckets whose width grows with what they hold (as HDR histograms have them): bounded memory, and any
percentile within a thirty-second of its value.
"""

from __future__ import annotations

from array import array
from typing import Final

from tidegate.rehearse.contracts import Latency

SUB_BITS: Final = 5
SUB: Final = 1 << SUB_BITS
MOST_BITS: Final = 40
"""More microseconds than anybody waits."""


class Histogram:
    """Counts of durations. `record` takes seconds."""

    __slots__ = ("_counts", "_most", "count")

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * SUB * (MOST_BITS - SUB_BITS + 1)))
        self._most = 0
        self.count = 0

    def record(self, seconds: float) -> None:
        """Count one duration; a negative one counts as none."""
        micros = max(int(seconds * 1e6), 0)
        self._counts[_bucket(micros)] += 1
        self.count += 1
        self._most = max(self._most, micros)

    def quantile_ms(self, share: float) -> float:
        """The duration that `share` of all do not exceed, in milliseconds: the upper end of its bucket; 0 of none."""
        if self.count == 0:
            return 0.0
        rank, seen = max(int(share * self.count + 0.999_999), 1), 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return round(min(_upper(bucket), self._most) / 1e3, 2)
        return round(self._most / 1e3, 2)

    def clear(self) -> None:
        """Forget all."""
        if self.count:
            self.__init__()  # type: ignore[misc]

    def told(self) -> Latency:
        """Its percentiles."""
        return Latency(
            count=self.count,
            p50_ms=self.quantile_ms(0.5),
            p90_ms=self.quantile_ms(0.9),
            p99_ms=self.quantile_ms(0.99),
            p999_ms=self.quantile_ms(0.999),
            most_ms=round(self._most / 1e3, 2),
        )


def _bucket(micros: int) -> int:
    """Buckets of one microsecond up to 2 x SUB, then SUB of them for each doubling."""
    power = max(micros.bit_length() - SUB_BITS - 1, 0)
    return min((power << SUB_BITS) + (micros >> power), SUB * (MOST_BITS - SUB_BITS + 1) - 1)


def _upper(bucket: int) -> int:
    """The largest duration of a bucket, in microseconds."""
    if bucket < 2 * SUB:
        return bucket
    power = (bucket >> SUB_BITS) - 1
    return ((bucket - (power << SUB_BITS) + 1) << power) - 1
