"""Mailed links, by which an account is made, entered, or given a new password.

A link proves that its bearer reads the address's mail, so each kind opens the account of that address, and makes it if
there is none. Asking for one does the same for every address: nothing is looked up, one row and one event are written.
The password is chosen where the link leads, never before: nobody can plant one under somebody else's address.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from tidegate.accounts.attempts import count_link_request
from tidegate.accounts.contracts import LinkKind, LinkSpent, Person, Role
from tidegate.accounts.people import EMAIL, EMAIL_FINGERPRINT
from tidegate.accounts.rules import check_email
from tidegate.accounts.sessions import TOKEN_BYTES, end_all_sessions, token_hash
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.outbox import Event, write_events
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings import Settings

LINK_EMAIL = "accounts.links.email_sealed"
LINK_TOPIC = "account.link"

PAGES = {LinkKind.REGISTER: "/confirm", LinkKind.LOGIN: "/login/link", LinkKind.RESET: "/reset/new"}
"""Where each kind of link leads."""

SPENT = "This link was used already or is too old. Ask for a new one; the newest mail has the link that works."


@dataclass(frozen=True, slots=True)
class UsedLink:
    """Whose link it was, and the hashes of the sessions that a new password ended."""

    person: Person
    ended: tuple[bytes, ...] = ()


async def send_link(database: Database, settings: Settings, *, kind: LinkKind, email: str, address: str) -> None:
    """Mail a link to an address, known or not. `address` is the caller's network address, empty when unknown.

    Raises: InvalidRequest for what is no e-mail address; TooManyRequests when its bucket or the network's is full.
    """
    check_email(email)
    await count_link_request(settings, email=email, address=address)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    sealer = current_sealer()
    async with database.transaction() as conn:
        await conn.execute(
            """
            INSERT INTO accounts.links (token_hash, kind, email_sealed, email_fingerprint, expires_at)
            VALUES (%s, %s, %s, %s, clock_timestamp() + make_interval(mins => %s))
            """,
            (
                token_hash(token),
                kind,
                sealer.seal(email, column=LINK_EMAIL),
                sealer.fingerprint(email, column=EMAIL_FINGERPRINT),
                settings.accounts.link_minutes,
            ),
        )
        personal = {"email": email, "link": f"{settings.base_url.rstrip('/')}{PAGES[kind]}?token={token}"}
        payload = {"kind": kind.value, "minutes": settings.accounts.link_minutes}
        await write_events(conn, [Event(EventId(new_id()), LINK_TOPIC, payload, personal)])


async def check_link(conn: Connection, *, kind: LinkKind, token: str) -> None:
    """See that a link can be used, before anything costly is done for it. Raises: LinkSpent."""
    row = await (
        await conn.execute(
            """
            SELECT 1 FROM accounts.links
            WHERE token_hash = %s AND kind = %s AND used_at IS NULL AND expires_at > clock_timestamp()
            """,
            (token_hash(token), kind),
        )
    ).fetchone()
    if row is None:
        raise LinkSpent(SPENT)


async def use_link(conn: Connection, *, kind: LinkKind, token: str, password_hash: str | None = None) -> UsedLink:
    """Whose link it is, for the one who comes first; makes the account of its address if there is none.

    A new password ends the account's sessions and its other links. Raises: LinkSpent.
    """
    sealer = current_sealer()
    link = await (
        await conn.execute(
            """
            UPDATE accounts.links SET used_at = clock_timestamp()
            WHERE token_hash = %s AND kind = %s AND used_at IS NULL AND expires_at > clock_timestamp()
            RETURNING email_sealed, email_fingerprint
            """,
            (token_hash(token), kind),
        )
    ).fetchone()
    if link is None:
        raise LinkSpent(SPENT)
    email = sealer.open(bytes(link[0]), column=LINK_EMAIL)
    row = await (
        await conn.execute(
            """
            INSERT INTO accounts.people AS p (id, role, email_sealed, email_fingerprint, password_hash, confirmed_at)
            VALUES (%(id)s, %(role)s, %(email)s, %(fingerprint)s, %(hash)s, clock_timestamp())
            ON CONFLICT (email_fingerprint) DO UPDATE SET
                password_hash = coalesce(excluded.password_hash, p.password_hash),
                confirmed_at = coalesce(p.confirmed_at, excluded.confirmed_at)
            RETURNING id, role
            """,
            {
                "id": new_id(),
                "role": Role.CUSTOMER,
                "email": sealer.seal(email, column=EMAIL),
                "fingerprint": bytes(link[1]),
                "hash": password_hash,
            },
        )
    ).fetchone()
    assert row is not None
    person = Person(PersonId(row[0]), Role(row[1]))
    if password_hash is None:
        return UsedLink(person)
    await _void_links(conn, fingerprint=bytes(link[1]))
    return UsedLink(person, tuple(await end_all_sessions(conn, person_id=person.id)))


async def delete_links(conn: Connection, *, fingerprint: bytes) -> None:
    """Remove every link of an address."""
    await conn.execute("DELETE FROM accounts.links WHERE email_fingerprint = %s", (fingerprint,))


async def _void_links(conn: Connection, *, fingerprint: bytes) -> None:
    """Let no link of an address work any more."""
    await conn.execute(
        """
        UPDATE accounts.links SET used_at = clock_timestamp()
        WHERE email_fingerprint = %s AND used_at IS NULL
        """,
        (fingerprint,),
    )


async def delete_old_links(conn: Connection, *, limit: int) -> int:
    """Remove up to `limit` links that ended a day ago or longer; returns how many."""
    done = await conn.execute(
        """
        DELETE FROM accounts.links WHERE token_hash = ANY (ARRAY(
            SELECT token_hash FROM accounts.links WHERE expires_at < clock_timestamp() - interval '1 day'
            ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED
        ))
        """,
        (limit,),
    )
    return done.rowcount
