"""How far sends have come, as staff see it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row

from tidegate.notify.contracts import Channel, Progress, Send, SendState, TopicKind
from tidegate.notify.rules import left_s
from tidegate.notify.slowing import burst_of, estimate_s
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId
from tidegate.platform.settings_notify import MailSettings

SENDS: Final = """
SELECT s.event_id, s.topic_id, t.kind, t.title, s.template,
    coalesce(s.variables ->> 'title', s.variables ->> 'topic_title') AS about, s.channels, s.lane,
    s.created_at, s.finished_at, s.paused_at, s.cancelled_at, coalesce(s.last_error, '') AS last_error,
    extract(epoch FROM coalesce(s.finished_at, s.paused_at, clock_timestamp()) - s.created_at)::float8 - s.paused_s
        AS elapsed_s,
    h.*
FROM notify.sends AS s JOIN notify.topics AS t USING (topic_id), LATERAL (
    SELECT coalesce(sum(followers), 0)::bigint AS followers, coalesce(sum(messages), 0)::bigint AS messages,
        coalesce(sum(delivered), 0)::bigint AS delivered, coalesce(sum(failed), 0)::bigint AS failed,
        coalesce(sum(suppressed), 0)::bigint AS suppressed, coalesce(sum(doubtful), 0)::bigint AS doubtful,
        coalesce(sum(unwanted), 0)::bigint AS unwanted, coalesce(sum(late), 0)::bigint AS late,
        coalesce(sum(followers) FILTER (WHERE expanded_at IS NULL), 0)::bigint AS untold
    FROM notify.send_shards AS h WHERE h.event_id = s.event_id AND h.topic_id = s.topic_id
) AS h
WHERE (%(event)s::uuid IS NULL OR s.event_id = %(event)s)
    AND (%(topic)s::uuid IS NULL OR s.topic_id = %(topic)s)
    AND (%(application)s::uuid IS NULL OR s.topic_id IN (
        SELECT own.topic_id FROM notify.application_topics AS own WHERE own.application_id = %(application)s
    ))
    AND (%(before_event)s::uuid IS NULL OR (s.event_id, s.topic_id) < (%(before_event)s, %(before_topic)s))
ORDER BY s.event_id DESC, s.topic_id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class _Row:
    event_id: UUID
    topic_id: UUID
    kind: str
    title: str
    template: str
    about: str | None
    channels: list[str]
    lane: str
    created_at: datetime
    finished_at: datetime | None
    paused_at: datetime | None
    cancelled_at: datetime | None
    last_error: str
    elapsed_s: float
    followers: int
    messages: int
    delivered: int
    failed: int
    suppressed: int
    doubtful: int
    untold: int
    unwanted: int
    late: int

    @property
    def send(self) -> Send:
        done = self.delivered + self.failed + self.suppressed
        expected = self.messages + self.untold * len(self.channels)
        state = self._state
        progress = Progress(
            followers=self.followers,
            messages=self.messages,
            delivered=self.delivered,
            failed=self.failed,
            suppressed=self.suppressed,
            doubtful=self.doubtful,
            unwanted=self.unwanted,
            late=self.late,
            expected=expected,
            over=self.finished_at is not None,
            left_s=left_s(done=done, expected=expected, elapsed_s=self.elapsed_s)
            if state is SendState.RUNNING
            else None,
        )
        return Send(
            event_id=EventId(self.event_id),
            topic_id=self.topic_id,
            kind=TopicKind(self.kind),
            title=self.title,
            about=self.about or "",
            channels=tuple(self.channels),
            lane=self.lane,
            begun_at=self.created_at,
            state=state,
            last_error=self.last_error,
            progress=progress,
        )

    @property
    def mails_left(self) -> int:
        """Mails not sent yet; inboxes are full as soon as their shard is written."""
        return self.untold + self.messages - self.delivered - self.failed - self.suppressed

    @property
    def _state(self) -> SendState:
        if self.cancelled_at is not None:
            return SendState.CANCELLED
        if self.finished_at is not None:
            return SendState.FAILED if self.last_error else SendState.FINISHED
        return SendState.RUNNING if self.paused_at is None else SendState.PAUSED


async def list_sends(
    conn: Connection,
    *,
    limit: int,
    before: tuple[EventId, UUID] | None = None,
    event_id: EventId | None = None,
    topic_id: UUID | None = None,
    application_id: UUID | None = None,
    limits: MailSettings | None = None,
) -> list[Send]:
    """Sends with their progress, of the newest events first, at most `limit`, and only those behind `before`.

    Those of one application, where it is named. With `limits` what is left respects the quota in them.
    """
    values: dict[str, Any] = {"limit": limit, "event": event_id, "topic": topic_id, "application": application_id}
    values |= dict(zip(("before_event", "before_topic"), before or (None, None), strict=True))
    async with conn.cursor(row_factory=class_row(_Row)) as cursor:
        await cursor.execute(SENDS, values)
        return [_at_quota(row.send, row.mails_left, limits) for row in await cursor.fetchall()]


def _at_quota(send: Send, mails: int, limits: MailSettings | None) -> Send:
    """A send that was fast so far takes as long as its quota makes it."""
    if limits is None or send.state is not SendState.RUNNING or Channel.EMAIL not in send.channels:
        return send
    least_s = estimate_s(mails, per_s=limits.per_s, burst=burst_of(limits.per_s, limits.burst))
    if least_s is None:
        return send
    return replace(send, progress=replace(send.progress, left_s=max(send.progress.left_s or 0.0, least_s)))
