"""Addresses that are not written to any more, since mail to them bounced or their owner complained.

As mail providers do: after a complaint nothing goes that nobody asked for, and what somebody waits for still does;
after a hard bounce nothing goes at all, since what cannot arrive harms the sender's name with every try. Nor does
anything go to an address that staff stopped: somebody asked them to write no more, in whatever way. Only links
that somebody asked for just now, to sign in or to confirm, are always sent: an address that works again must not stay
shut out. Addresses are known by their fingerprints, whosever recipients they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from tidegate.notify.addresses import ADDRESS, check_address, fingerprint
from tidegate.notify.contracts import Channel
from tidegate.notify.messages import LINK_TEMPLATES
from tidegate.notify.outcomes import Delivery, columns_of, suppress
from tidegate.platform.database import Connection
from tidegate.platform.ids import new_id
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.sealing import SealBroken, current_sealer
from tidegate.platform.texts import text as _


class Reason(StrEnum):
    """Why an address is not written to."""

    HARD_BOUNCE = "hard_bounce"
    COMPLAINT = "complaint"
    STAFF = "staff"
    """Somebody asked for it by another way."""


class Change(StrEnum):
    """What was done to an address by hand."""

    ADDED = "added"
    LIFTED = "lifted"


@dataclass(frozen=True, slots=True)
class Suppression:
    """That an address is not written to. `detail` is the provider's code, such as 5.1.1; times in UTC."""

    reason: str
    detail: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SuppressionChange:
    """What was done to an address by hand, and why; by the command line where `changed_by` is None. Times in UTC."""

    change: str
    why: str
    changed_by: UUID | None
    created_at: datetime


MAX_WHY: Final = 200
"""Longest reason, in characters."""

SUPPRESSED: Final = "address suppressed: "
"""Begins the `last_error` of a delivery that was not sent for this."""


async def add_suppressions(conn: Connection, found: Sequence[tuple[bytes, Reason, str]]) -> None:
    """Write no more to these addresses: fingerprint, reason and detail. One that is known stays as it is."""
    if not found:
        return
    ordered = sorted({(each, reason): detail for each, reason, detail in found}.items())
    await conn.execute(
        """
        INSERT INTO notify.suppressions (email_fingerprint, reason, detail)
        SELECT * FROM unnest(%s::bytea[], %s::text[], %s::text[]) ON CONFLICT (email_fingerprint, reason) DO NOTHING
        """,
        (
            [each for (each, _), _ in ordered],
            [reason.value for (_, reason), _ in ordered],
            [detail for _, detail in ordered],
        ),
    )


async def find_suppressions(conn: Connection, *, email: str) -> Sequence[Suppression]:
    """Why an address is not written to, the newest reason first; nothing when it is."""
    async with conn.cursor(row_factory=class_row(Suppression)) as cursor:
        await cursor.execute(
            """
            SELECT reason, detail, created_at FROM notify.suppressions WHERE email_fingerprint = %s
            ORDER BY created_at DESC, reason
            """,
            (fingerprint(email),),
        )
        return await cursor.fetchall()


async def stop_address(conn: Connection, *, email: str, why: str, by: UUID | None) -> None:
    """Write no more to an address since somebody asked for it, in the caller's transaction.

    Doing it again changes nothing. Raises: InvalidRequest for what is no address, or without a reason.
    """
    check_address(email, field="email")
    said = check_why(why)
    done = await conn.execute(
        """
        INSERT INTO notify.suppressions (email_fingerprint, reason, detail) VALUES (%s, 'staff', '')
        ON CONFLICT (email_fingerprint, reason) DO NOTHING
        """,
        (fingerprint(email),),
    )
    if done.rowcount:
        await _note(conn, email, Change.ADDED, said, by)


async def lift_suppressions(conn: Connection, *, email: str, why: str, by: UUID | None) -> int:
    """Write to an address again, in the caller's transaction; returns how many reasons there were not to.

    What was suppressed stays unsent. Raises: InvalidRequest without a reason to lift it.
    """
    said = check_why(why)
    done = await conn.execute("DELETE FROM notify.suppressions WHERE email_fingerprint = %s", (fingerprint(email),))
    if done.rowcount:
        await _note(conn, email, Change.LIFTED, said, by)
    return done.rowcount


def check_why(why: str) -> str:
    """A reason as it is kept. Raises: InvalidRequest."""
    why = why.strip()
    if not why or len(why) > MAX_WHY or not why.isprintable():
        raise InvalidRequest(_("Say why in up to %(most)s characters, in one line.", most=MAX_WHY), field="why")
    return why


async def list_changes(conn: Connection, *, email: str, limit: int) -> Sequence[SuppressionChange]:
    """What was done to an address by hand, the newest first."""
    async with conn.cursor(row_factory=class_row(SuppressionChange)) as cursor:
        await cursor.execute(
            """
            SELECT change, why, changed_by, created_at FROM notify.suppression_changes WHERE email_fingerprint = %s
            ORDER BY change_id DESC LIMIT %s
            """,
            (fingerprint(email), limit),
        )
        return await cursor.fetchall()


async def delete_old_changes(conn: Connection, *, keep_days: int, limit: int) -> int:
    """Forget up to `limit` changes that are `keep_days` old; how many."""
    done = await conn.execute(
        """
        DELETE FROM notify.suppression_changes WHERE change_id IN (
            SELECT change_id FROM notify.suppression_changes
            WHERE created_at < clock_timestamp() - make_interval(days => %s) LIMIT %s
        )
        """,
        (keep_days, limit),
    )
    return done.rowcount


async def _note(conn: Connection, email: str, change: Change, why: str, by: UUID | None) -> None:
    await conn.execute(
        """
        INSERT INTO notify.suppression_changes (change_id, email_fingerprint, change, why, changed_by)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (new_id(), fingerprint(email), change.value, why, by),
    )


async def withhold(conn: Connection, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """End those of claimed deliveries whose address must not be written to, and return the others."""
    mails = [each for each in deliveries if each.channel == Channel.EMAIL and each.template not in LINK_TEMPLATES]
    row = await (await conn.execute("SELECT EXISTS (SELECT FROM notify.suppressions)")).fetchone() if mails else None
    if row is None or not row[0]:
        return list(deliveries)
    prints = {each.key: _print_of(each) for each in mails}
    rows = await conn.execute(
        "SELECT email_fingerprint, reason FROM notify.suppressions WHERE email_fingerprint = ANY (%s)",
        (list(prints.values()),),
    )
    reasons: dict[bytes, set[str]] = {}
    for known, reason in await rows.fetchall():
        reasons.setdefault(bytes(known), set()).add(reason)
    stopped = {each.key: reason for each in mails if (reason := must_not_go(each, reasons.get(prints[each.key], ())))}
    for reason in sorted(set(stopped.values())):
        await _end(conn, [each for each in mails if stopped.get(each.key) == reason], reason)
    return [each for each in deliveries if each.key not in stopped]


def must_not_go(delivery: Delivery, reasons: Iterable[str]) -> str:
    """The reason why a mail must not go to an address with these, or nothing."""
    for reason in (Reason.HARD_BOUNCE, Reason.STAFF):
        if reason in reasons:
            return reason.value
    return Reason.COMPLAINT.value if Reason.COMPLAINT in reasons and "topic_id" in delivery.variables else ""


async def _end(conn: Connection, deliveries: Sequence[Delivery], reason: str) -> None:
    events, recipients, channels = columns_of(deliveries)
    await suppress(
        conn,
        whom="""
            (d.event_id, d.recipient_id, d.channel) IN (
                SELECT * FROM unnest(%(events)s::uuid[], %(recipients)s::uuid[], %(channels)s::text[])
            )
        """,
        values={"events": events, "recipients": recipients, "channels": channels},
        reason=SUPPRESSED + reason,
    )


def _print_of(delivery: Delivery) -> bytes:
    """An address's fingerprint; nothing where the address cannot be read: whoever writes the mail says so."""
    try:
        address = current_sealer().open_json(bytes(delivery.address_sealed or b""), column=ADDRESS)
    except SealBroken:
        return b""
    return fingerprint(address["email"])
