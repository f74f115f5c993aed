"""Bounces and complaints that come as mails: delivery status notifications (RFC 3464) and abuse reports (RFC 5965).

Only the Message-ID of the mail that is reported of is believed, since anybody can write a mail that names an address.
"""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import Message
from typing import Final

from tidegate.notify.receipts import MAX_DETAIL, Receipt, ReceiptKind

MAX_REPORT_BYTES: Final = 10_485_760
"""Largest mail that is read."""

STATUS: Final = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")
"""An enhanced status code (RFC 3463)."""

NO_MAILBOX: Final = re.compile(r"5\.(1\.[0-36]|1\.10|0\.0|2\.1|4\.4)")
"""Codes that say that nothing will ever arrive: no such mailbox, system or host (RFC 3463); given without more, too."""

COMPLAINTS: Final = frozenset({"abuse", "fraud", "virus", "other", "opt-out", "opt-out-list"})
"""Kinds of reports that ask for no more mails; `not-spam` takes one back and is for staff."""


def read_report(raw: bytes) -> list[Receipt]:
    """What a mail reports of mails of ours; nothing for one that is no such report."""
    mail = message_from_bytes(raw[:MAX_REPORT_BYTES], policy=policy.compat32)
    if mail.get_content_type() != "multipart/report" or not mail.is_multipart():
        return []
    message_id = _reported_id(mail)
    if not message_id:
        return []
    for part in mail.walk():
        if part.get_content_type() == "message/delivery-status":
            return _status(part, message_id)
        if part.get_content_type() == "message/feedback-report":
            return _feedback(part, message_id)
    return []


def kind_of(action: str, status: str) -> ReceiptKind | None:
    """What a recipient's action and status (RFC 3464) mean; None where they say nothing yet."""
    match action.strip().lower():
        case "failed":
            return ReceiptKind.HARD_BOUNCE if NO_MAILBOX.fullmatch(status) else ReceiptKind.SOFT_BOUNCE
        case "delivered":
            return ReceiptKind.DELIVERED
        case _:  # delayed: it is still tried; relayed and expanded: nobody knows
            return None


def _status(part: Message, message_id: str) -> list[Receipt]:
    """The first group of fields is about the mail, each further one about a recipient; ours have one each."""
    groups = part.get_payload()
    if not isinstance(groups, list):
        return []
    receipts = []
    for group in groups:
        if not isinstance(group, Message) or "action" not in group:
            continue
        found = STATUS.search(str(group.get("status", "")))
        status = found[0] if found else ""
        kind = kind_of(str(group["action"]), status)
        if kind is not None:
            receipts.append(Receipt(kind, message_id=message_id, detail=status))
    return receipts[:1]


def _feedback(part: Message, message_id: str) -> list[Receipt]:
    fields = part.get_payload()
    report = fields[0] if isinstance(fields, list) and fields and isinstance(fields[0], Message) else part
    kind = str(report.get("feedback-type", "")).strip().lower()
    if kind not in COMPLAINTS:
        return []
    return [Receipt(ReceiptKind.COMPLAINT, message_id=message_id, detail=kind[:MAX_DETAIL])]


def _reported_id(mail: Message) -> str:
    """The Message-ID of the mail that is reported of, which comes whole or as its headers."""
    for part in mail.walk():
        if part is mail:
            continue
        if part.get_content_type() == "text/rfc822-headers":
            text = part.get_payload(decode=True)
            headers = message_from_bytes(text if isinstance(text, bytes) else b"")
            if "message-id" in headers:
                return _line(headers["message-id"])
        elif "message-id" in part:
            return _line(part["message-id"])
    return ""


def _line(value: object) -> str:
    return " ".join(str(value).split())[:400]
