"""Addresses that are not written to any more, since mail to them bounced or their owner complained.

As mail providers do: after a complaint nothing goes that nobody asked for, and what somebody waits for still does;
after a hard bounce nothing goes at all, since what cannot arrive harms the sender's name with every try. Only links
that somebody asked for just now, to sign in or to confirm, are always sent: an address that works again must not stay
shut out. Addresses are known by their fingerprints, whosever recipients they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from psycopg.rows import class_row

from tidegate.notify.addresses import ADDRESS, fingerprint
from tidegate.notify.contracts import Channel
from tidegate.notify.messages import LINK_TEMPLATES
from tidegate.notify.outcomes import Delivery, columns_of, suppress
from tidegate.platform.database import Connection
from tidegate.platform.sealing import SealBroken, current_sealer


class Reason(StrEnum):
    """Why an address is not written to."""

    HARD_BOUNCE = "hard_bounce"
    COMPLAINT = "complaint"


@dataclass(frozen=True, slots=True)
class Suppression:
    """That an address is not written to. `detail` is the provider's code, such as 5.1.1; times in UTC."""

    reason: str
    detail: str
    created_at: datetime


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


async def lift_suppressions(conn: Connection, *, email: str) -> int:
    """Write to an address again; returns how many reasons there were not to. What was suppressed stays unsent."""
    done = await conn.execute("DELETE FROM notify.suppressions WHERE email_fingerprint = %s", (fingerprint(email),))
    return done.rowcount


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
    if Reason.HARD_BOUNCE in reasons:
        return Reason.HARD_BOUNCE.value
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
