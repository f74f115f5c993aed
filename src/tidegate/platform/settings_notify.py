"""Settings of messages: a part of `settings`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from tidegate.platform.settings_bounds import Count


class MailSettings(BaseModel):
    """Outgoing mail."""

    smtp_url: str = Field("", description="smtp://USER:PASSWORD@HOST:PORT; `tidegate up` sets it to its mail catcher.")
    sender: str = Field("Tidegate <shop@localhost>", description="From address.")
    timeout_s: Count = Field(20, description="Longest dialogue with the mail server.")
    batch: Count = Field(1_000, description="Most messages of one delivery task.")
    connections: Count = Field(8, description="Connections to the mail server that one task uses at once.")
    window: Count = Field(
        128, description="Most mails that one task has in hand: after a crash no more of them can come twice."
    )
    per_s: float = Field(
        0.0, ge=0, description="Mails a second that the provider takes from all processes; 0: it has no limit."
    )
    burst: int = Field(
        0, ge=0, description="Mails that may go at once when none went for a while; 0: those of a second."
    )
    local_share: float = Field(
        0.25, gt=0, le=1, description="Part of per_s that each process takes by itself while Valkey is away."
    )
    breaker_failures: Count = Field(5, description="Silences of the mail server in a row before it is left alone.")
    breaker_pause_s: Count = Field(15, description="How long a silent mail server is left alone.")
    lease_s: Count = Field(120, description="How long a delivery task has before its messages are handed out again.")
    max_attempts: Count = Field(10, description="Attempts before a message is set aside as failed.")
    catcher_keep: Count = Field(1_000, description="How many mails the mail catcher keeps.")
    catcher_max_bytes: Count = Field(1_048_576, description="Largest mail that the mail catcher takes.")


class FollowSettings(BaseModel):
    """What people ask to be told of."""

    max_per_recipient: Count = Field(500, description="Most drops, products and collections that one address follows.")
    max_devices: Count = Field(20, description="Most devices of one recipient: those seen last are kept.")
    requests: Count = Field(
        5, description="Follows to be confirmed per e-mail address in window_s, and ten times as many per network."
    )
    window_s: Count = Field(3_600, description="Window of requests. It fails open: without Valkey nothing is counted.")
    link_hours: Count = Field(72, description="Life of a link that confirms a follow.")
    batch: Count = Field(5_000, description="Followers in one shard of a send, told in one transaction.")
    bulk_from: Count = Field(1_000, description="Sends to so many followers or more go by the lane `bulk`.")
    ahead: Count = Field(64, description="Most tasks of sends that wait in their lane; further shards are not due yet.")
    announce_s: Count = Field(
        2, description="Pause between two looks for drops that opened and products that are back."
    )
    announce_batch: Count = Field(200, description="Followed drops, and products, that one look takes on.")
    opened_within_s: Count = Field(
        3_600, description="How long after a drop's opening the followers of its collections are still told."
    )
    time_zone: str = Field(
        "UTC", description="Time zone (an IANA name) of recipients who have chosen none: their quiet hours are in it."
    )
    back_matters_h: Count = Field(
        12, description="Hours after which it is too late to tell that a product is back: it may be gone again."
    )
    open_matters_h: Count = Field(
        24, description="Hours after which it is too late to tell that a drop is open; its end makes it so at once."
    )


class LiveSettings(BaseModel):
    """Inboxes that are told of new messages while somebody looks."""

    max_streams: Count = Field(1_000, description="Most open streams per site process; more get 503.")
    opens_per_s: Count = Field(
        50, description="Most streams that begin within a second in a site process; more get 503 and come back later."
    )
    heartbeat_s: float = Field(
        15.0, gt=0, description="Pause between two signs of life on a stream; its session is looked at, too."
    )
    look_s: float = Field(
        30.0, gt=0, description="Pause between two looks for what no hint came of, as when Valkey was away."
    )
    max_s: float = Field(3_600.0, gt=0, description="How long a stream lasts before the browser opens another one.")
    retry_ms: Count = Field(3_000, description="When a browser comes back whose stream ended, give or take a half.")


class PacingSettings(BaseModel):
    """How bulk sends yield to the shop."""

    objective_ms: float = Field(
        0.0,
        ge=0,
        description="How long the slowest percent of shoppers may wait while a bulk send runs. 0: the larger of 1.2 "
        "times and 5 ms more than what they wait without one, which is learned.",
    )
    idle_guess_ms: float = Field(10.0, gt=0, description="What they wait without one, until that is learned.")
    floor_share: float = Field(
        0.01, gt=0, le=1, description="Least share of a worker's time for a bulk send: it never stops for ever."
    )
    unknown_share: float = Field(
        0.1, gt=0, le=1, description="The share while nobody knows how long shoppers wait (Valkey or scheduler away)."
    )
    step: Count = Field(125, description="Followers told in one statement while a bulk send yields.")
    nice: int = Field(10, ge=0, le=19, description="Niceness (CPU priority) of a worker that takes the lane `bulk`.")
    database_nice: int = Field(
        19, ge=0, le=19, description="The same for PostgreSQL's processes behind it, where they run beside it."
    )


class ArchiveSettings(BaseModel):
    """Archives of months of messages that leave the database."""

    enabled: bool = Field(
        True, description="Whether months of deliveries and inboxes are archived before they are dropped."
    )
    folder: Path | None = Field(
        None,
        description="Where archives lie; empty: `archive` in the data folder. Schedulers of several machines need one "
        "that all of them see.",
    )
    keep_days: Count = Field(1_095, description="Age at which archives are deleted, from when they were written.")
