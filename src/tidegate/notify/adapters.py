"""The channels to people, by their names: a new one is put here."""

from __future__ import annotations

from typing import Final

from tidegate.notify.channels import Adapter
from tidegate.notify.mail_adapter import MailAdapter

MAIL: Final = MailAdapter()
ADAPTERS: Final[dict[str, Adapter]] = {MAIL.channel: MAIL}
"""In the order in which a task takes them."""
