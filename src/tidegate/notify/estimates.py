"""How many a send would reach, and how long its mails would take at the provider's quota."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.notify.contracts import TopicKind
from tidegate.notify.slowing import burst_of, estimate_s
from tidegate.platform.database import Connection
from tidegate.platform.settings_notify import MailSettings


@dataclass(frozen=True, slots=True)
class Estimate:
    """Followers who wait to be told, and the seconds that a mail to each takes at the quota; None without a quota."""

    followers: int
    mail_s: float | None


async def estimate_send(conn: Connection, limits: MailSettings, *, kind: TopicKind, key: str) -> Estimate:
    """What telling the followers of a topic comes to; nobody follows a topic that is not known."""
    found = await conn.execute(
        """
        SELECT count(*) FROM notify.topics AS t JOIN notify.follows AS f USING (topic_id)
        WHERE t.kind = %s AND t.key = %s AND f.told_at IS NULL
        """,
        (kind, key),
    )
    row = await found.fetchone()
    assert row is not None
    return Estimate(row[0], estimate_s(row[0], per_s=limits.per_s, burst=burst_of(limits.per_s, limits.burst)))
