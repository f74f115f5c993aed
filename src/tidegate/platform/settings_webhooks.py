"""Settings of webhooks to other people's programs: a part of `settings`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from tidegate.platform.settings_bounds import Count


class WebhookSettings(BaseModel):
    """Webhooks to other people's programs."""

    allow_hosts: list[str] = Field(
        [],
        description="Hosts that may be called though they are not on the public internet; for development and tests.",
    )
    max_active: Count = Field(100, description="Most endpoints that are active at once.")
    timeout_s: Count = Field(10, description="Longest that one call may take, from the connection to the answer's end.")
    max_answer_bytes: Count = Field(16_384, description="How much of an answer's body is read.")
    connections: Count = Field(16, description="Calls to one endpoint at once, each on a connection that is kept.")
    batch: Count = Field(500, description="Webhooks that are claimed at once.")
    turn_s: Count = Field(
        4, description="How long one task goes on calling; what is left then goes by the lane `bulk`."
    )
    endpoints_per_task: Count = Field(8, description="Most endpoints that one task serves at once.")
    lease_s: Count = Field(
        30, description="How much longer than a turn and two timeouts a task has before its work is handed out again."
    )
    sweep_ms: Count = Field(500, description="Pause between two looks for webhooks that are due.")
    retry_base_s: Count = Field(10, description="Pause before a webhook is repeated; doubles each time, with jitter.")
    retry_cap_s: Count = Field(21_600, description="Longest pause before a webhook is repeated.")
    max_attempts: Count = Field(22, description="Attempts before a webhook is set aside as failed; about two days.")
    give_up_days: Count = Field(5, description="A webhook older than this is set aside when it fails, attempts or not.")
    hold_base_s: Count = Field(5, description="Pause of an endpoint that cannot be reached; doubles, with jitter.")
    hold_cap_s: Count = Field(600, description="Longest pause of an endpoint that cannot be reached.")
    retry_after_max_s: Count = Field(86_400, description="Longest Retry-After that is kept to.")
    disable_days: Count = Field(5, description="An endpoint that answered nothing well for so long is disabled.")
    disable_failures: Count = Field(20, description="And only after so many failures in a row.")
    rotation_hours: Count = Field(24, description="How long an old secret goes on signing beside the new one.")

    @property
    def whole_lease_s(self) -> int:
        """How long a task has what it claimed, in seconds."""
        return self.turn_s + 2 * self.timeout_s + self.lease_s
