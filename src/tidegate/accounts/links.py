"""Mailed links, by which an account is made, entered, or given a new password.

A link proves that its bearer reads the address's mail, so each kind opens the account of that address, and makes it if
there is none. Asking for one does the same for every address: nothing is looked up, one row and one event are written.
The password is chosen where the link leads, never before: nobody can plant one under somebody else's address.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from urllib.parse import urlencode
from uuid import UUID

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
from tidegate.platform.texts import text as _

LINK_EMAIL = "accounts.links.email_sealed"
LINK_TOPIC = "account.link"

PAGES = {
    LinkKind.REGISTER: "/confirm",
    LinkKind.LOGIN: "/login/link",
    LinkKind.RESET: "/reset/new",
    LinkKind.INVITE: "/invitation",
}
"""Where each kind of link leads."""

SPENT = _("This link was used already or is too old. Ask for a new one; the newest mail has the link that works.")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLink:
    """A link to be mailed. An invitation also says who sent it and which role it gives."""

    kind: LinkKind
    email: str
    token: str = field(repr=False)
    minutes: int
    then: str = ""
    role: Role | None = None
    invited_by: PersonId | None = None
    invitation_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class UsedLink:
    """Whose link it was, and the hashes of the sessions that a new password ended."""

    person: Person
    ended: tuple[bytes, ...] = ()


async def send_link(
    database: Database, settings: Settings, *, kind: LinkKind, email: str, address: str, then: str = ""
) -> None:
    """Mail a link to an address, known or not. `address` is the caller's network address, empty when unknown.

    `then` is the path of our own that whoever enters by it is led to.

    Raises: InvalidRequest for what is no e-mail address; TooManyRequests when its bucket or the network's is full.
    """
    check_email(email)
    await count_link_request(settings, email=email, address=address)
    link = NewLink(
        kind=kind,
        email=email,
        token=secrets.token_urlsafe(TOKEN_BYTES),
        minutes=settings.accounts.link_minutes,
        then=then,
    )
    async with database.transaction() as conn:
        await mail_link(conn, settings, link)


async def mail_link(conn: Connection, settings: Settings, link: NewLink) -> None:
    """Keep a link and have it mailed, in the caller's transaction."""
    sealer = current_sealer()
    await conn.execute(
        """
        INSERT INTO accounts.links (token_hash, kind, email_sealed, email_fingerprint, expires_at,
            role, invited_by, invitation_id)
        VALUES (%s, %s, %s, %s, clock_timestamp() + make_interval(mins => %s), %s, %s, %s)
        """,
        (
            token_hash(link.token),
            link.kind,
            sealer.seal(link.email, column=LINK_EMAIL),
            sealer.fingerprint(link.email, column=EMAIL_FINGERPRINT),
            link.minutes,
            link.role,
            link.invited_by,
            link.invitation_id,
        ),
    )
    asked = {"token": link.token} | ({"next": link.then} if link.then else {})
    address = f"{settings.base_url.rstrip('/')}{PAGES[link.kind]}?{urlencode(asked, safe='/')}"
    payload = {"kind": link.kind.value, "minutes": link.minutes}
    personal = {"email": link.email, "link": address}
    await write_events(conn, [Event(EventId(new_id()), LINK_TOPIC, payload, personal)])


async def check_link(conn: Connection, *, kind: LinkKind, token: str) -> None:
    """See that a link can be used, before anything costly is done for it. Raises: LinkSpent."""
    row = await (
        await conn.execute(
            """
            SELECT 1 FROM accounts.links
            WHERE token_hash = %s AND kind = %s AND used_at IS NULL AND expires_at > clock_timestamp()
              AND (invited_by IS NULL OR EXISTS (
                SELECT FROM accounts.people i WHERE i.id = invited_by AND i.role = 'admin'))
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
              AND (invited_by IS NULL OR EXISTS (
                SELECT FROM accounts.people i WHERE i.id = invited_by AND i.role = 'admin'))
            RETURNING email_sealed, email_fingerprint, role, invited_by, invitation_id
            """,
            (token_hash(token), kind),
        )
    ).fetchone()
    if link is None:
        raise LinkSpent(SPENT)
    email = sealer.open(bytes(link[0]), column=LINK_EMAIL)
    before = await _role_before(conn, fingerprint=bytes(link[1])) if link[2] else None
    row = await (
        await conn.execute(
            """
            INSERT INTO accounts.people AS p (id, role, email_sealed, email_fingerprint, password_hash, confirmed_at)
            VALUES (%(id)s, %(role)s, %(email)s, %(fingerprint)s, %(hash)s, clock_timestamp())
            ON CONFLICT (email_fingerprint) DO UPDATE SET
                role = CASE WHEN %(invited)s AND p.role <> 'admin' THEN excluded.role ELSE p.role END,
                password_hash = coalesce(excluded.password_hash, p.password_hash),
                confirmed_at = coalesce(p.confirmed_at, excluded.confirmed_at)
            RETURNING id, role
            """,
            {
                "id": new_id(),
                "role": link[2] or Role.CUSTOMER,
                "invited": link[2] is not None,
                "email": sealer.seal(email, column=EMAIL),
                "fingerprint": bytes(link[1]),
                "hash": password_hash,
            },
        )
    ).fetchone()
    assert row is not None
    person = Person(PersonId(row[0]), Role(row[1]))
    if link[2] is not None:
        await _note_accepted(conn, person, before=before, invited_by=link[3], invitation_id=link[4])
    if password_hash is None:
        return UsedLink(person)
    await _void_links(conn, fingerprint=bytes(link[1]))
    return UsedLink(person, tuple(await end_all_sessions(conn, person_id=person.id)))


async def _role_before(conn: Connection, *, fingerprint: bytes) -> str | None:
    """The role of an address's account, held until the transaction ends; None when it has none."""
    row = await (
        await conn.execute("SELECT role FROM accounts.people WHERE email_fingerprint = %s FOR UPDATE", (fingerprint,))
    ).fetchone()
    return None if row is None else str(row[0])


async def _note_accepted(
    conn: Connection, person: Person, *, before: str | None, invited_by: UUID, invitation_id: UUID
) -> None:
    """Write down who an invitation has made what."""
    await conn.execute(
        """
        INSERT INTO accounts.role_changes (id, what, actor_id, person_id, invitation_id, role_before, role_after)
        VALUES (%s, 'accepted', %s, %s, %s, %s, %s)
        """,
        (new_id(), invited_by, person.id, invitation_id, before, person.role),
    )


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
