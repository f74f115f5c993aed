"""What was only tried out: orders that never met a provider but the sandbox, and the sandbox's own ledger."""

from __future__ import annotations

from collections.abc import Collection

from tidegate.platform.database import Connection
from tidegate.platform.erasing import delete_rows
from tidegate.platform.ids import OrderId


async def sandbox_orders(conn: Connection) -> list[OrderId]:
    """Orders all of whose attempts were at the sandbox: no money moved."""
    found = await conn.execute(
        "SELECT order_id FROM payments.charges GROUP BY order_id HAVING bool_and(provider = 'sandbox') ORDER BY 1"
    )
    return [OrderId(row[0]) for row in await found.fetchall()]


async def erase_sandbox(conn: Connection, *, order_ids: Collection[OrderId]) -> bool:
    """Erase charges and refunds of orders, and the ledger when no other order was tried there; whether it went."""
    await delete_rows(conn, schema="payments", column="order_id", ids=order_ids)
    await conn.execute("DELETE FROM payments.webhook_events WHERE provider = 'sandbox'")
    left = await conn.execute("SELECT EXISTS (SELECT FROM payments.charges WHERE provider = 'sandbox')")
    row = await left.fetchone()
    if row is None or row[0]:
        return False
    for table in ("sandbox_webhooks", "sandbox_refunds", "sandbox_payments"):
        await conn.execute(f"DELETE FROM payments.{table}".encode())  # noqa: S608 - our own names
    return True
