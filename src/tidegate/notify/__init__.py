"""Messages to people: receipts by mail and in the inbox.

Sending is in `tasks`, which the worker and the scheduler enter; a site process need not import it.
"""

from tidegate.notify.contracts import CaughtMail, Channel, InboxMessage
from tidegate.notify.erasing import erase_messages
from tidegate.notify.inbox import list_inbox, take_over_messages
from tidegate.notify.mail_check import check_mail_server

__all__ = [
    "CaughtMail",
    "Channel",
    "InboxMessage",
    "check_mail_server",
    "erase_messages",
    "list_inbox",
    "take_over_messages",
]
