"""What providers tell us by themselves: verified and stored first, settled then, in any order."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate import payments
from tidegate.checkout.settlement import settle
from tidegate.checkout.shop import Shop


async def take_webhook(shop: Shop, *, provider: str, headers: Mapping[str, str], body: bytes) -> None:
    """Store and settle a webhook; one that was seen before changes nothing.

    A crash between storing and settling is mended by the reconciler.
    Raises: UnknownProvider, BadSignature, MalformedBody.
    """
    notice = await payments.receive_webhook(
        shop.database, shop.providers, provider=provider, headers=headers, body=body
    )
    if notice is not None:
        await settle(shop, {notice.ref: notice.answer}, notices=[notice])
