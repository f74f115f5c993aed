"""Messages to people: receipts by mail and in the inbox.

Sending is in `tasks`, which the worker and the scheduler enter; a site process need not import it.
"""

from tidegate.notify.contracts import CaughtMail, Channel, InboxMessage
from tidegate.notify.inbox import list_inbox, take_over_messages

__all__ = ["CaughtMail", "Channel", "InboxMessage", "list_inbox", "take_over_messages"]
