"""The knobs of overload control; see `settings` and `docs/reference/overload.md`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from tidegate.platform.settings_bounds import Count


class OverloadSettings(BaseModel):
    """How many requests a serving process works on at once before it refuses the least important ones."""

    enabled: bool = Field(True, description="Whether requests are refused early when a process has too many.")
    target_ms: Count = Field(
        200, description="Mean time to an answer that is aimed at, of the slowest priority; beyond it fewer are let in."
    )
    least: Count = Field(32, description="Requests in work at once that are always let in, however slow they are.")
    first: Count = Field(256, description="Requests in work at once that a fresh process lets in.")
    most: Count = Field(1_024, description="Most requests in work at once, per process.")
    reserve: Count = Field(
        8, description="Places beyond these for pages of people with a session under /admin; as many for probes."
    )
    retry_after_s: Count = Field(
        2,
        description="Shortest Retry-After of a refusal; they are spread up to three times that while few are refused.",
    )
    retry_after_most_s: Count = Field(
        60, description="Longest Retry-After, when many times more come than can be served."
    )
