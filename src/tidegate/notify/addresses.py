"""E-mail addresses as notify keeps them: sealed for a delivery, and as a keyed hash to be found again."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from tidegate.platform.sealing import current_sealer

ADDRESS: Final = "notify.deliveries.address_sealed"
"""What addresses are sealed as, wherever they are: a batch of deliveries copies them as they are."""

EMAIL_FINGERPRINT: Final = "notify.recipients.email_fingerprint"


def sealed_address(email: str, name: str = "") -> bytes:
    """An address as a delivery keeps it."""
    return current_sealer().seal_json({"email": email, "name": name}, column=ADDRESS)


def fingerprint(email: str, *, application_id: UUID | None = None) -> bytes:
    """How an address is found again, however its letters are cased: among the shop's own, or an application's."""
    whose = "" if application_id is None else f"{application_id} "
    return current_sealer().fingerprint(whose + email.strip(), column=EMAIL_FINGERPRINT)
