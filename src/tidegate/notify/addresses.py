"""E-mail addresses as notify keeps them: sealed for a delivery, and as a keyed hash to be found again."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from tidegate.notify.rules import BadAddress, split_address
from tidegate.platform.problems import InvalidRequest
from tidegate.platform.sealing import current_sealer
from tidegate.platform.texts import text as _

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


def check_address(email: str, **blamed: Any) -> None:
    """Raises: InvalidRequest for what is no e-mail address; `blamed` names its `field` where there are several."""
    try:
        split_address(email.strip())
    except BadAddress:
        raise InvalidRequest(_("This is not an e-mail address. Write it like name@example.com."), **blamed) from None
