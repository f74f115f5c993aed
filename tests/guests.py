"""Guests as the database alone knows them: tests may then make somebody else of them."""

from __future__ import annotations

from tidegate import accounts
from tidegate.accounts import SignedIn
from tidegate.platform.database import Connection


async def make_guest(conn: Connection) -> SignedIn:
    """A new guest with a session."""
    (made,) = await accounts.make_guests(conn, count=1, session_days=30)
    return made
