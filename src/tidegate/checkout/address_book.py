"""The address book of an account: sealed, bounded, the address that was used last first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tidegate.checkout.address_rules import address_document, check_address, clean_address
from tidegate.checkout.contracts import Address, AddressBookFull
from tidegate.platform.database import Connection
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.platform.sealing import current_sealer
from tidegate.platform.texts import text as _

COLUMN = "checkout.addresses.address_sealed"
MAX_ADDRESSES = 20
"""Most addresses of one person."""


@dataclass(frozen=True, slots=True)
class SavedAddress:
    """An address of a person's book."""

    id: UUID
    address: Address


async def list_addresses(conn: Connection, *, person_id: PersonId) -> tuple[SavedAddress, ...]:
    """A person's addresses, the one that was used last first."""
    rows = await conn.execute(
        "SELECT id, address_sealed FROM checkout.addresses WHERE person_id = %s ORDER BY used_at DESC, id LIMIT %s",
        (person_id, MAX_ADDRESSES),
    )
    return tuple(SavedAddress(row[0], _opened(row[1])) for row in await rows.fetchall())


async def save_address(conn: Connection, *, person_id: PersonId, address: Address) -> SavedAddress:
    """Put an address into a person's book, or note that it was used again; returns it as it is there.

    Raises: InvalidRequest naming the fields that are wrong; AddressBookFull.
    """
    address = _checked(address)
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"addresses {person_id}",))
    known = await list_addresses(conn, person_id=person_id)
    same = next((each for each in known if each.address == address), None)
    if same is not None:
        await conn.execute("UPDATE checkout.addresses SET used_at = clock_timestamp() WHERE id = %s", (same.id,))
        return same
    if len(known) >= MAX_ADDRESSES:
        words = _("Your address book has room for %(most)s addresses. Remove one first.", most=MAX_ADDRESSES)
        raise AddressBookFull(words)
    saved = SavedAddress(new_id(), address)
    await conn.execute(
        "INSERT INTO checkout.addresses (id, person_id, address_sealed) VALUES (%s, %s, %s)",
        (saved.id, person_id, _sealed(address)),
    )
    return saved


async def change_address(conn: Connection, *, person_id: PersonId, address_id: UUID, address: Address) -> SavedAddress:
    """Write another address in the place of one. Raises: InvalidRequest; NotFound, also for another person's."""
    saved = SavedAddress(address_id, _checked(address))
    done = await conn.execute(
        "UPDATE checkout.addresses SET address_sealed = %s WHERE id = %s AND person_id = %s",
        (_sealed(saved.address), address_id, person_id),
    )
    if done.rowcount == 0:
        raise NotFound()
    return saved


async def remove_address(conn: Connection, *, person_id: PersonId, address_id: UUID) -> None:
    """Take an address out of a person's book. Raises: NotFound, also for another person's."""
    done = await conn.execute(
        "DELETE FROM checkout.addresses WHERE id = %s AND person_id = %s", (address_id, person_id)
    )
    if done.rowcount == 0:
        raise NotFound()


async def forget_person(conn: Connection, person: PersonId) -> None:
    """Erase a person's address book and cart, when the account goes. Orders stay for the books."""
    await conn.execute("DELETE FROM checkout.addresses WHERE person_id = %s", (person,))
    await conn.execute("DELETE FROM checkout.carts WHERE person_id = %s", (person,))


def _checked(address: Address) -> Address:
    address = clean_address(address)
    wrong = check_address(address)
    if wrong:
        errors = [{"field": field, "message": message} for field, message in wrong.items()]
        raise InvalidRequest(_("Some fields of the address need another look."), errors=errors)
    return address


def _sealed(address: Address) -> bytes:
    return current_sealer().seal_json(address_document(address), column=COLUMN)


def _opened(sealed: bytes) -> Address:
    fields: dict[str, Any] = current_sealer().open_json(bytes(sealed), column=COLUMN)
    return Address(**fields)
