"""Signatures of Stripe's webhooks: HMAC-SHA256 over `TIME.BODY`, scheme `v1` of the header Stripe-Signature.

Source: "Verify webhook signatures manually" in Stripe's documentation. Not the SDK's function: that one reads the
process's clock, believes the future and knows one secret only.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

from tidegate.payments.contracts import BadSignature, StaleSignature

MAX_HEADER_CHARS = 2_048
"""Longest header that is looked at; two signatures need 150."""


def split_secrets(text: str) -> tuple[str, ...]:
    """The secrets of a setting such as `whsec_NEW,whsec_OLD`."""
    return tuple(secret for part in text.split(",") if (secret := part.strip()))


def check_signature(
    headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str], tolerance_s: int, now: datetime
) -> None:
    """Make sure that who knows one of `secrets` signed `body` within `tolerance_s` of `now`.

    Raises: BadSignature, StaleSignature.
    """
    if not secrets:
        raise BadSignature("This shop has no secret for Stripe's webhooks.")
    header = {name.lower(): value for name, value in headers.items()}.get("stripe-signature", "")
    if not header or len(header) > MAX_HEADER_CHARS:
        raise BadSignature("The header Stripe-Signature is needed.")
    fields = [part.strip().partition("=")[::2] for part in header.split(",")]
    moment = next((value for name, value in fields if name == "t"), "")
    given = [value.encode() for name, value in fields if name == "v1"]
    if not (moment.isascii() and moment.isdigit() and len(moment) <= 11) or not given:
        raise BadSignature("The header Stripe-Signature needs a time and a v1 signature.")
    if abs(now.timestamp() - int(moment)) > tolerance_s:
        raise StaleSignature()
    wanted = [sign(body, secret=secret, moment=moment).encode() for secret in secrets]
    if not any(hmac.compare_digest(one, other) for one in wanted for other in given):
        raise BadSignature("The signature does not fit the body.")


def sign(body: bytes, *, secret: str, moment: str) -> str:
    """The v1 signature of a webhook that is sent at `moment` (Unix seconds)."""
    return hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
