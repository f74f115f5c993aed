"""A shop's delivery and taxes, for tests."""

from __future__ import annotations

from tidegate.catalog import create_method, create_zone, set_tax
from tidegate.platform.database import Database


async def the_rates(database: Database) -> None:
    """Great Britain: post for 4.00, free from 50.00 on, and a courier for 12.00; 20 % VAT within the prices."""
    async with database.transaction() as conn:
        zone = await create_zone(conn, name="Great Britain", countries=["GB"])
        tiers = ((0, 400), (5000, 0))
        await create_method(conn, zone_id=zone, code="post", name="Post", currency="GBP", tiers=tiers)
        await create_method(conn, zone_id=zone, code="courier", name="Courier", currency="GBP", tiers=((0, 1200),))
        await set_tax(conn, country="GB", tax_class="standard", name="VAT", rate_bp=2000)
