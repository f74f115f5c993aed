"""The knobs of waiting rooms and their lines; see `settings`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from tidegate.platform.settings_bounds import Count


class GateSettings(BaseModel):
    """Waiting rooms."""

    lobby_minutes: Count = Field(60, description="How long before it opens a drop's lobby takes people, unless told.")
    max_joins: Count = Field(20, description="How often one person may come back to the end of one room.")
    status_refresh_ms: Count = Field(1_000, description="How often a process renews the status of its rooms.")
    rooms_max: Count = Field(500, description="Most rooms whose status a process keeps, the newest first.")
    poll_near_s: Count = Field(1, description="How often those near the front are told to ask for the status.")
    poll_rush_per_s: Count = Field(
        5_000,
        description="About how many ask for one room's status a second just before it opens, and until its lots are "
        "drawn: the more wait, the less often each. A CDN in front allows for more.",
    )
    poll_far_s: Count = Field(60, description="How often those far from the front are told to ask for the status.")
    asks_per_minute: Count = Field(
        120, description="How often one person may join or ask about their place, per process; more get 429."
    )
    status_per_minute: Count = Field(
        240, description="How often one session may ask for status and draw, per process; more get 429, a second late."
    )
    status_per_minute_per_network: Count = Field(
        12_000, description="The same for all of a network address, behind which many people may wait."
    )
    rounds_ms: Count = Field(
        100, description="How exactly a room opens at its time; between two times the scheduler looks once a second."
    )
    beacon_url: str = Field(
        "",
        pattern=r"^(staff|https?://\S+)?$",
        max_length=500,
        description="Public randomness beacon whose first new value after T0 goes into a draw, or `staff`: "
        "a value that staff type in right after T0; empty: none.",
    )
    beacon_timeout_s: float = Field(2.0, gt=0, description="Longest wait for one answer of the beacon.")
    beacon_wait_s: float = Field(
        90.0,
        gt=0,
        description="After so long without a new value of the beacon a room is drawn without one: longer than the time "
        "between two of its values. It counts from the first question, and anew from the first answer.",
    )
    beacon_staff_wait_s: float = Field(
        120.0, gt=0, description="So long after T0 a room waits for the value that staff type in, and is drawn then."
    )
    entries_page: Count = Field(100_000, description="Most entries of a room's log in one answer.")
    keep_days: Count = Field(30, description="How long places are kept after their room was closed.")
    draw_keep_days: Count = Field(
        730, description="How long the entries of a draw can be downloaded and proven after its room was closed."
    )
    downloads: Count = Field(2, description="Most answers with entries under way at once, per process.")


class AdmissionSettings(BaseModel):
    """How the line of a waiting room moves."""

    interval_ms: Count = Field(500, description="Pause between two rounds, in which the next people are let in.")
    pass_s: Count = Field(180, description="How long whoever is let in has to choose; then the next one enters.")
    grace_s: Count = Field(
        2, description="How long after the end of a pass its place counts as taken: a hold may still be on its way."
    )
    start_per_s: float = Field(100.0, gt=0, description="People let in per second when a room opens; then it adapts.")
    objective_ms: Count = Field(500, description="The engine's p99 that the pace of admission keeps to.")
    inside_max: Count = Field(20_000, description="Most people inside one room's shop at once who hold nothing yet.")
    round_timeout_s: float = Field(4.0, gt=0, description="Longest round of one room; others do not wait for it.")
    rooms_at_once: Count = Field(4, description="Most rooms whose rounds run at once.")
