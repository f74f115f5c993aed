"""The recipients of an application: written in bulk, found by the application's own id or by address, erased.

An application knows its recipients by ids of its own. Addresses are sealed, and found by a fingerprint that holds the
application's id: the same person in two applications is two recipients, and neither sees the other's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from tidegate.notify.addresses import ADDRESS, fingerprint, sealed_address
from tidegate.notify.fields import wrong_fields
from tidegate.notify.outcomes import suppress
from tidegate.notify.preferences import known_zones
from tidegate.notify.rules import BadAddress, display_name, split_address
from tidegate.platform.database import Connection
from tidegate.platform.ids import new_id
from tidegate.platform.problems import NotFound
from tidegate.platform.retention import months_waiting
from tidegate.platform.sealing import current_sealer
from tidegate.platform.texts import text as _

MOST_ROWS: Final = 1_000
"""Most recipients that one request writes."""

EXTERNAL_ID: Final = re.compile(r"[A-Za-z0-9._:~-]{1,100}")
"""No at-sign: an address is no id, since ids are kept readable."""

LOCALE: Final = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,2}")
MAX_NAME: Final = 200

ROWS: Final = """
SELECT r.recipient_id, a.external_id, r.address_sealed, r.has_inbox, r.locale, r.time_zone
FROM notify.application_recipients AS a JOIN notify.recipients AS r USING (recipient_id)
WHERE a.application_id = %(application)s
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A recipient as an application writes it. `locale` and `time_zone` (an IANA name) may be empty."""

    external_id: str
    email: str = field(repr=False)
    name: str = field(default="", repr=False)
    locale: str = ""
    time_zone: str = ""
    has_inbox: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a row: its recipient's id, and whether it is new."""

    external_id: str
    recipient_id: UUID
    created: bool


@dataclass(frozen=True, slots=True)
class Known:
    """A recipient as it is kept, with its address opened."""

    recipient_id: UUID
    external_id: str
    email: str = field(repr=False)
    name: str = field(repr=False)
    locale: str
    time_zone: str
    has_inbox: bool


@dataclass(frozen=True, slots=True)
class _Kept:
    recipient_id: UUID
    external_id: str
    address_sealed: bytes = field(repr=False)
    has_inbox: bool
    locale: str
    time_zone: str

    @property
    def known(self) -> Known:
        address = current_sealer().open_json(bytes(self.address_sealed), column=ADDRESS)
        return Known(
            recipient_id=self.recipient_id,
            external_id=self.external_id,
            email=address["email"],
            name=address["name"],
            locale=self.locale,
            time_zone=self.time_zone,
            has_inbox=self.has_inbox,
        )


async def upsert_recipients(conn: Connection, *, application_id: UUID, rows: Sequence[Row]) -> list[Written]:
    """Write recipients of an application, new ones and known ones, in the caller's transaction: all of them or none.

    Requests of one application wait for one another. Raises: InvalidRequest that names every wrong row.
    """
    errors = check_rows(rows)
    await conn.execute("SELECT FROM notify.applications WHERE application_id = %s FOR NO KEY UPDATE", (application_id,))
    prints = [fingerprint(row.email, application_id=application_id) for row in rows]
    errors += await _owned_by_others(conn, application_id, rows, prints)
    if errors:
        raise wrong_fields(sorted(errors, key=_in_order))
    known = await find_ids(conn, application_id=application_id, external_ids=[row.external_id for row in rows])
    ids = [known.get(row.external_id) or new_id() for row in rows]
    await _write(conn, rows, ids, prints)
    await conn.execute(
        """
        INSERT INTO notify.application_recipients (application_id, external_id, recipient_id)
        SELECT %s, external_id, recipient_id FROM unnest(%s::text[], %s::uuid[]) AS w (external_id, recipient_id)
        ON CONFLICT (application_id, external_id) DO NOTHING
        """,
        (application_id, [row.external_id for row in rows], ids),
    )
    return [Written(row.external_id, id, row.external_id not in known) for row, id in zip(rows, ids, strict=True)]


def check_rows(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """What is wrong with rows by themselves: pairs of a field's path and what to do."""
    errors: list[tuple[str, str]] = []
    ids: dict[str, int] = {}
    addresses: dict[str, int] = {}
    for number, row in enumerate(rows):
        errors += [(f"recipients[{number}].{name}", message) for name, message in _check_row(row)]
        first = ids.setdefault(row.external_id, number)
        if first != number:
            errors.append((f"recipients[{number}].external_id", _("Row %(row)s has the same id.", row=first)))
        first = addresses.setdefault(row.email.strip().casefold(), number)
        if first != number:
            errors.append((f"recipients[{number}].email", _("Row %(row)s has the same address.", row=first)))
    return errors


def _check_row(row: Row) -> list[tuple[str, str]]:
    errors: list[tuple[str, str]] = []
    if not EXTERNAL_ID.fullmatch(row.external_id):
        errors.append(("external_id", _("Write an id of 1 to 100 letters, digits and . _ : ~ - (not an address).")))
    try:
        split_address(row.email)
    except BadAddress:
        errors.append(("email", _("This is not an e-mail address. Write it like name@example.com.")))
    if len(row.name) > MAX_NAME:
        errors.append(("name", _("A name has at most %(most)s characters.", most=MAX_NAME)))
    if row.locale and not LOCALE.fullmatch(row.locale):
        errors.append(("locale", _("Write a language such as en, de or pt_BR.")))
    if row.time_zone and row.time_zone not in known_zones():
        errors.append(("time_zone", _("There is no such time zone. Write its IANA name, such as Europe/Berlin.")))
    return errors


async def find_known(conn: Connection, *, application_id: UUID, external_id: str) -> Known:
    """A recipient by the application's id. Raises: NotFound."""
    return await _one(conn, "AND a.external_id = %(id)s", {"application": application_id, "id": external_id})


async def find_ids(conn: Connection, *, application_id: UUID, external_ids: Sequence[str]) -> dict[str, UUID]:
    """The recipients of an application by its ids; ids that are of none are left out."""
    rows = await conn.execute(
        "SELECT external_id, recipient_id FROM notify.application_recipients"
        " WHERE application_id = %s AND external_id = ANY (%s)",
        (application_id, list(external_ids)),
    )
    return dict(await rows.fetchall())


async def find_by_email(conn: Connection, *, application_id: UUID, email: str) -> Known:
    """A recipient by its address. Raises: NotFound."""
    return await _one(
        conn,
        "AND r.email_fingerprint = %(fingerprint)s",
        {"application": application_id, "fingerprint": fingerprint(email, application_id=application_id)},
    )


async def list_known(conn: Connection, *, application_id: UUID, limit: int, after: str = "") -> list[Known]:
    """The recipients of an application in the order of its ids, behind the id `after`."""
    async with conn.cursor(row_factory=class_row(_Kept)) as cursor:
        await cursor.execute(
            ROWS + " AND a.external_id > %(after)s ORDER BY a.external_id LIMIT %(limit)s",
            {"application": application_id, "after": after, "limit": limit},
        )
        return [row.known for row in await cursor.fetchall()]


async def erase_recipient(conn: Connection, *, application_id: UUID, external_id: str) -> None:
    """Erase all that is kept of a recipient, in the caller's transaction; what waits for it is not sent any more.

    That its address must not be written to is still known, by its fingerprint. Raises: NotFound.
    """
    known = await find_known(conn, application_id=application_id, external_id=external_id)
    values = {"recipient": known.recipient_id}
    whom = "d.recipient_id = %(recipient)s AND (d.channel <> 'inbox' OR d.state <> 'sent')"
    await suppress(conn, whom=whom, values=values, reason="its recipient was erased")
    for statement in (
        """
        DELETE FROM notify.receipts AS p USING notify.deliveries AS d WHERE d.recipient_id = %(recipient)s
            AND d.channel <> 'inbox' AND (p.event_id, p.recipient_id) = (d.event_id, d.recipient_id)
        """,
        f"DELETE FROM notify.deliveries AS d WHERE {whom}",  # noqa: S608 - a constant
        """
        DELETE FROM notify.deliveries AS d USING notify.inbox_messages AS m WHERE m.recipient_id = %(recipient)s
            AND (d.event_id, d.recipient_id, d.channel) = (m.event_id, m.recipient_id, 'inbox')
        """,
        "DELETE FROM notify.inbox_messages WHERE recipient_id = %(recipient)s",
        "DELETE FROM notify.recipients WHERE recipient_id = %(recipient)s",
    ):
        await conn.execute(statement, values)
    for table, which in (("deliveries", whom), ("inbox_messages", "d.recipient_id = %(recipient)s")):
        for month in await months_waiting(conn, table=f"notify.{table}"):
            erase = SQL("DELETE FROM {} AS d WHERE {}").format(Identifier("notify", month), SQL(which))
            await conn.execute(erase, values)


async def _one(conn: Connection, which: str, values: dict[str, object]) -> Known:
    async with conn.cursor(row_factory=class_row(_Kept)) as cursor:
        await cursor.execute(f"{ROWS} {which}", values)
        row = await cursor.fetchone()
    if row is None:
        raise NotFound()
    return row.known


async def _owned_by_others(
    conn: Connection, application_id: UUID, rows: Sequence[Row], prints: Sequence[bytes]
) -> list[tuple[str, str]]:
    """Addresses that another recipient of the application has."""
    found = await conn.execute(
        """
        SELECT r.email_fingerprint, a.external_id FROM notify.recipients AS r
            JOIN notify.application_recipients AS a USING (recipient_id)
        WHERE r.email_fingerprint = ANY (%s) AND a.application_id = %s
        """,
        (list(prints), application_id),
    )
    owners = {bytes(row[0]): row[1] for row in await found.fetchall()}
    return [
        (
            f"recipients[{number}].email",
            _("The recipient %(id)s has this address. Change or delete that one first.", id=owners[known]),
        )
        for number, (row, known) in enumerate(zip(rows, prints, strict=True))
        if owners.get(known, row.external_id) != row.external_id
    ]


async def _write(conn: Connection, rows: Sequence[Row], ids: Sequence[UUID], prints: Sequence[bytes]) -> None:
    await conn.execute(
        """
        INSERT INTO notify.recipients AS r
            (recipient_id, address_sealed, email_fingerprint, has_inbox, locale, time_zone)
        SELECT * FROM unnest(%s::uuid[], %s::bytea[], %s::bytea[], %s::boolean[], %s::text[], %s::text[])
        ON CONFLICT (recipient_id) DO UPDATE SET address_sealed = excluded.address_sealed,
            email_fingerprint = excluded.email_fingerprint, has_inbox = excluded.has_inbox,
            locale = excluded.locale, time_zone = excluded.time_zone
        """,
        (
            list(ids),
            [sealed_address(row.email, display_name(row.name)) for row in rows],
            list(prints),
            [row.has_inbox for row in rows],
            [row.locale.replace("-", "_") for row in rows],
            [row.time_zone for row in rows],
        ),
    )


def _in_order(error: tuple[str, str]) -> int:
    return int(error[0].partition("[")[2].partition("]")[0])
