"""Queues of jobs, named by what they promise. Without Celery, so that whoever starts workers need not import it."""

from __future__ import annotations

RECEIPTS = "receipts"
WITHIN_10S = "within_10s"
WITHIN_1M = "within_1m"
BULK = "bulk"
LANES = (RECEIPTS, WITHIN_10S, WITHIN_1M, BULK)
"""The most urgent first."""

URGENT_LANES = (RECEIPTS, WITHIN_10S, WITHIN_1M)
"""What a worker takes whose capacity is reserved: all but bulk."""
