"""Settings of messages: a part of `settings`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from tidegate.platform.settings_bounds import Count


class MailSettings(BaseModel):
    """Outgoing mail."""

    smtp_url: str = Field("", description="smtp://USER:PASSWORD@HOST:PORT; `tidegate up` sets it to its mail catcher.")
    sender: str = Field("Tidegate <shop@localhost>", description="From address.")
    timeout_s: Count = Field(20, description="Longest dialogue with the mail server.")
    batch: Count = Field(500, description="Most messages of one delivery task.")
    connections: Count = Field(8, description="Connections to the mail server that one task uses at once.")
    window: Count = Field(
        64, description="Most mails that one task has in hand: after a crash no more of them can come twice."
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
