"""Bounces and complaints as mail servers write them: RFC 3464 as Postfix does, RFC 5965 as large mailboxes do."""

from __future__ import annotations

DSN = """\
Return-Path: <>
From: MAILER-DAEMON@mx.example (Mail Delivery System)
To: shop@shop.example
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b1"

--b1
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--b1
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example
Arrival-Date: Thu, 1 Jan 2026 10:00:00 +0000

Final-Recipient: rfc822; somebody@else.example
Original-Recipient: rfc822;somebody@else.example
Action: {action}
Status: {status}
Diagnostic-Code: smtp; 550 {status} said the server

--b1
Content-Description: Undelivered Message
Content-Type: {original}

{headers}

--b1--
"""

ARF = """\
From: <abuse@mailbox.example>
To: <abuse@shop.example>
Subject: FW: News
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="b2"

--b2
Content-Type: text/plain; charset="US-ASCII"

This is an email abuse report.

--b2
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <shop@shop.example>

--b2
Content-Type: message/rfc822
Content-Disposition: inline

From: <shop@shop.example>
To: <redacted@mailbox.example>
Subject: News
Message-ID: {message_id}

Hello.
--b2--
"""


def bounce(
    message_id: str, *, status: str = "5.1.1", action: str = "failed", original: str = "text/rfc822-headers"
) -> bytes:
    """A delivery status notification about a mail."""
    headers = f"From: shop@shop.example\nSubject: News\nMessage-ID: {message_id}\n"
    text = DSN.format(action=action, status=status, original=original, headers=headers)
    return text.encode().replace(b"\n", b"\r\n")


def complaint(message_id: str, *, kind: str = "abuse") -> bytes:
    """An abuse report about a mail."""
    return ARF.format(kind=kind, message_id=message_id).encode()
