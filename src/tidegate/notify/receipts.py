"""What mail providers say of mails after they have taken them: that they arrived, bounced, or were complained of.

A receipt names the mail by its Message-ID, which holds the event and the recipient, or an address. What it says is kept
once for each mail, beside the delivery: the delivery itself ended when the provider took the mail. A hard bounce and a
complaint put the address on the suppression list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

from tidegate.notify.addresses import ADDRESS, fingerprint
from tidegate.notify.rules import BadAddress, split_address
from tidegate.notify.suppressions import Reason, add_suppressions
from tidegate.platform.database import Connection
from tidegate.platform.sealing import SealBroken, current_sealer

MOST_RECEIPTS: Final = 1_000
"""Most receipts of one request."""

MESSAGE_ID: Final = re.compile(r"<?([0-9a-f]{32})\.([0-9a-f]{32})@[^\s<>@]{1,255}>?")
MAX_DETAIL: Final = 200


class ReceiptKind(StrEnum):
    """What became of a mail after the provider had taken it."""

    DELIVERED = "delivered"
    SOFT_BOUNCE = "soft_bounce"
    """It could not be delivered, for a reason that may pass: a full mailbox, a refused content."""
    HARD_BOUNCE = "hard_bounce"
    """It could not be delivered, and nothing ever can be: there is no such mailbox."""
    COMPLAINT = "complaint"
    """Its reader called it spam."""


SUPPRESSING: Final = {ReceiptKind.HARD_BOUNCE: Reason.HARD_BOUNCE, ReceiptKind.COMPLAINT: Reason.COMPLAINT}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a provider says of one mail, by its Message-ID, or else of an address. `detail` is a code such as 5.1.1."""

    kind: ReceiptKind
    message_id: str = ""
    email: str = field(default="", repr=False)
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """How many receipts were noted, and the places in the list of those that fit no mail and no address of ours."""

    noted: int
    unknown: tuple[int, ...]


def parse_message_id(text: str) -> tuple[UUID, UUID] | None:
    """The event and the recipient that a Message-ID of ours names."""
    match = MESSAGE_ID.fullmatch(text.strip())
    return None if match is None else (UUID(match[1]), UUID(match[2]))


def check_receipt(receipt: Receipt) -> str:
    """What is wrong with a receipt, or nothing."""
    if bool(receipt.message_id) == bool(receipt.email):
        return "Name the mail by its message_id, or an address by email: one of both."
    if receipt.email:
        try:
            split_address(receipt.email)
        except BadAddress:
            return "This is not an e-mail address."
    if len(receipt.detail) > MAX_DETAIL or not receipt.detail.isprintable():
        return f"A detail has at most {MAX_DETAIL} characters, in one line."
    return ""


async def record_receipts(conn: Connection, receipts: Sequence[Receipt]) -> Recorded:
    """Note what a provider says, in the caller's transaction. Saying it again changes nothing.

    A Message-ID counts only if such a mail was handed over: nobody can have an address suppressed by inventing one.
    """
    named = [(number, parse_message_id(each.message_id)) for number, each in enumerate(receipts) if each.message_id]
    mails = await _mails(conn, [key for _, key in named if key is not None])
    noted: dict[tuple[UUID, UUID, str], str] = {}
    suppressed: list[tuple[bytes, Reason, str]] = []
    unknown = []
    for number, receipt in enumerate(receipts):
        key = parse_message_id(receipt.message_id)
        if receipt.message_id and (key is None or key not in mails):
            unknown.append(number)
            continue
        if key is not None:
            noted.setdefault((*key, receipt.kind.value), receipt.detail)
        email = receipt.email if key is None else _open(mails[key])
        if receipt.kind in SUPPRESSING and email:
            suppressed.append((fingerprint(email), SUPPRESSING[receipt.kind], receipt.detail))
    await _note(conn, noted)
    await add_suppressions(conn, suppressed)
    return Recorded(len(receipts) - len(unknown), tuple(unknown))


async def _mails(conn: Connection, keys: Sequence[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], bytes]:
    """The sealed addresses of those mails that were handed over, or may have been."""
    if not keys:
        return {}
    rows = await conn.execute(
        """
        SELECT event_id, recipient_id, address_sealed FROM notify.deliveries
            JOIN unnest(%s::uuid[], %s::uuid[]) AS w (event_id, recipient_id) USING (event_id, recipient_id)
        WHERE channel = 'email' AND provider_id IS NOT NULL
        """,
        ([event for event, _ in keys], [recipient for _, recipient in keys]),
    )
    return {(row[0], row[1]): bytes(row[2]) for row in await rows.fetchall()}


async def _note(conn: Connection, noted: dict[tuple[UUID, UUID, str], str]) -> None:
    ordered = sorted(noted)
    await conn.execute(
        """
        INSERT INTO notify.receipts (event_id, recipient_id, kind, detail)
        SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[])
        ON CONFLICT (event_id, recipient_id, kind) DO NOTHING
        """,
        (
            [event for event, _, _ in ordered],
            [recipient for _, recipient, _ in ordered],
            [kind for _, _, kind in ordered],
            [noted[key] for key in ordered],
        ),
    )


def _open(sealed: bytes) -> str:
    try:
        return str(current_sealer().open_json(sealed, column=ADDRESS)["email"])
    except SealBroken:
        return ""
