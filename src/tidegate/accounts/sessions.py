"""Sessions: opaque tokens of which only the hash is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tidegate.accounts.attempts import counted_attempt
from tidegate.accounts.contracts import OpenSession, Person, Role, SignedIn, WrongCredentials
from tidegate.accounts.passwords import process_passwords
from tidegate.accounts.people import find_login, replace_hash
from tidegate.accounts.rules import plausible_credentials
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import PersonId, new_id
from tidegate.platform.settings import Settings, current_settings
from tidegate.platform.texts import text as _

TakeOver = Callable[[Connection, PersonId, PersonId], Awaitable[None]]
"""Makes what a guest has a person's, in the caller's transaction: `(conn, guest, person)`."""

MAX_SHOWN = 100
TOKEN_BYTES = 32
SEEN_EVERY_S = 300
"""How often at most a session's use is written down."""

WRONG = _("This e-mail address and password do not belong together. Check both and try again.")


@dataclass(frozen=True, slots=True)
class LiveSession:
    """Whose session it is, and for how many milliseconds it lives on if it is not used."""

    person: Person
    left_ms: int


async def make_guests(conn: Connection, *, count: int, session_days: int) -> list[SignedIn]:
    """New guests with a session of `session_days` days each."""
    made = [SignedIn(_new_token(), Person(PersonId(new_id()), Role.GUEST)) for _ in range(count)]
    people = [each.person.id for each in made]
    await conn.execute(
        "INSERT INTO accounts.people (id, role) SELECT id, 'guest' FROM unnest(%s::uuid[]) AS id", (people,)
    )
    await conn.execute(
        """
        INSERT INTO accounts.sessions (token_hash, person_id, expires_at)
        SELECT token_hash, person_id, clock_timestamp() + make_interval(days => %s)
        FROM unnest(%s::bytea[], %s::uuid[]) AS s (token_hash, person_id)
        """,
        (session_days, [token_hash(each.token) for each in made], people),
    )
    return made


async def sign_in(
    database: Database,
    settings: Settings,
    *,
    email: str,
    password: str,
    address: str,
    before: str | None = None,
    take_over: Sequence[TakeOver] = (),
) -> SignedIn:
    """Start a session for whoever knows the password; always a new token, never one that existed before.

    `before` is the token of the caller's session so far: see `begin_session`.

    `address` is the caller's network address, empty when unknown. Unknown accounts cost the same work and get the
    same words as wrong passwords. No connection is held while the password is hashed.
    Raises: WrongCredentials; TooManyRequests after too many failures; Overloaded when too many sign in at once.
    """
    if not plausible_credentials(email, password):
        raise WrongCredentials(WRONG)
    passwords = process_passwords(workers=settings.accounts.hash_workers, queue=settings.accounts.hash_queue)
    async with counted_attempt(settings, email=email, address=address):
        async with database.connection() as conn:
            found = await find_login(conn, email=email)
        fits = await passwords.verify(None if found is None else found.password_hash, password)
        if found is None or not fits:
            raise WrongCredentials(WRONG)
    renewed = await passwords.hash(password) if passwords.is_outdated(found.password_hash or "") else None
    async with database.transaction() as conn:
        if renewed is not None:
            await replace_hash(conn, login=found, password_hash=renewed)
        return await begin_session(conn, settings, found.person, before=before, take_over=take_over)


async def begin_session(
    conn: Connection, settings: Settings, person: Person, *, before: str | None, take_over: Sequence[TakeOver] = ()
) -> SignedIn:
    """Start a session and end the one that the caller had, `before`.

    When that was a guest's, what the guest has becomes the person's, in the same transaction. The caller must also let
    `Sessions` know that `before` has ended.
    """
    if before is not None:
        guest = await find_person(conn, token=before)
        if guest is not None and guest.role == Role.GUEST:
            await conn.execute("SELECT 1 FROM accounts.people WHERE id = %s FOR UPDATE", (guest.id,))
            for take in take_over:
                await take(conn, guest.id, person.id)
        await sign_out(conn, token=before)
    return await _start_session(conn, person, session_days=settings.accounts.session_days)


async def find_person(conn: Connection, *, token: str) -> Person | None:
    """Whose session this is; None when it never was, is too old, was left unused too long, or was ended."""
    hashed = token_hash(token)
    session = (await find_sessions(conn, token_hashes=[hashed])).get(hashed)
    return None if session is None else session.person


async def find_sessions(conn: Connection, *, token_hashes: Sequence[bytes]) -> dict[bytes, LiveSession]:
    """The sessions of these tokens that live; their use is written down, each at most every SEEN_EVERY_S."""
    rows = await (
        await conn.execute(
            """
            SELECT s.token_hash, p.id, p.role,
              (extract(epoch FROM least(s.expires_at, s.seen_at + make_interval(days => %(idle)s)) - clock_timestamp())
                * 1000)::bigint,
              s.seen_at < clock_timestamp() - make_interval(secs => %(seen_every_s)s)
            FROM accounts.sessions s JOIN accounts.people p ON p.id = s.person_id
            WHERE s.token_hash = ANY (%(hashes)s) AND s.revoked_at IS NULL AND s.expires_at > clock_timestamp()
              AND s.seen_at > clock_timestamp() - make_interval(days => %(idle)s)
            """,
            {
                "hashes": list(token_hashes),
                "idle": current_settings().accounts.session_idle_days,
                "seen_every_s": SEEN_EVERY_S,
            },
        )
    ).fetchall()
    unseen = [row[0] for row in rows if row[4]]
    if unseen:
        await _note_use(conn, unseen)
    return {row[0]: LiveSession(Person(PersonId(row[1]), Role(row[2])), left_ms=row[3]) for row in rows}


async def sign_out(conn: Connection, *, token: str) -> None:
    """End a session. Ending one that is not there is no error."""
    await conn.execute(
        "UPDATE accounts.sessions SET revoked_at = clock_timestamp() WHERE token_hash = %s AND revoked_at IS NULL",
        (token_hash(token),),
    )


async def list_sessions(conn: Connection, *, person_id: PersonId, token: str | None) -> list[OpenSession]:
    """Somebody's sessions that can be used, the newest use first; at most MAX_SHOWN. `token` is the asking one's."""
    asking = None if token is None else session_id(token_hash(token))
    rows = await (
        await conn.execute(
            """
            SELECT token_hash, created_at, seen_at FROM accounts.sessions
            WHERE person_id = %s AND revoked_at IS NULL AND expires_at > clock_timestamp()
              AND seen_at > clock_timestamp() - make_interval(days => %s)
            ORDER BY seen_at DESC LIMIT %s
            """,
            (person_id, current_settings().accounts.session_idle_days, MAX_SHOWN),
        )
    ).fetchall()
    ids = [session_id(bytes(row[0])) for row in rows]
    return [OpenSession(known, row[1], row[2], known == asking) for known, row in zip(ids, rows, strict=True)]


async def find_own_sessions(conn: Connection, *, person_id: PersonId) -> dict[str, bytes]:
    """Hashes of somebody's sessions that were not ended, by what the person knows each as."""
    rows = await (
        await conn.execute(
            "SELECT token_hash FROM accounts.sessions WHERE person_id = %s AND revoked_at IS NULL", (person_id,)
        )
    ).fetchall()
    return {session_id(bytes(row[0])): bytes(row[0]) for row in rows}


async def end_sessions(conn: Connection, *, token_hashes: Sequence[bytes]) -> None:
    """End these sessions."""
    await conn.execute(
        """
        UPDATE accounts.sessions SET revoked_at = clock_timestamp()
        WHERE token_hash = ANY (%s) AND revoked_at IS NULL
        """,
        (list(token_hashes),),
    )


async def end_all_sessions(conn: Connection, *, person_id: PersonId) -> list[bytes]:
    """End every session of somebody and return their hashes, of which the caller must also let `Sessions` know."""
    rows = await (
        await conn.execute(
            """
            UPDATE accounts.sessions SET revoked_at = clock_timestamp()
            WHERE person_id = %s AND revoked_at IS NULL RETURNING token_hash
            """,
            (person_id,),
        )
    ).fetchall()
    return [bytes(row[0]) for row in rows]


def session_id(hashed: bytes) -> str:
    """What a session is known as to its owner: nothing that its token's hash could be found from."""
    return hashlib.sha256(b"session id\0" + hashed).hexdigest()[:32]


async def delete_ended_sessions(conn: Connection, *, limit: int) -> int:
    """Remove up to `limit` sessions that can never be used again; returns how many."""
    done = await conn.execute(
        """
        DELETE FROM accounts.sessions WHERE token_hash = ANY (ARRAY(
            SELECT token_hash FROM accounts.sessions
            WHERE expires_at < clock_timestamp() - interval '1 day'
            ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED
        ))
        """,
        (limit,),
    )
    return done.rowcount


async def _start_session(conn: Connection, person: Person, *, session_days: int) -> SignedIn:
    token = _new_token()
    await conn.execute(
        """
        INSERT INTO accounts.sessions (token_hash, person_id, expires_at)
        VALUES (%s, %s, clock_timestamp() + make_interval(days => %s))
        """,
        (token_hash(token), person.id, session_days),
    )
    return SignedIn(token, person)


async def _note_use(conn: Connection, token_hashes: Sequence[bytes]) -> None:
    """Write down that these sessions are in use; where somebody else is just writing, nothing is to be done."""
    await conn.execute(
        """
        UPDATE accounts.sessions SET seen_at = clock_timestamp() WHERE token_hash = ANY (ARRAY(
            SELECT token_hash FROM accounts.sessions
            WHERE token_hash = ANY (%s) AND seen_at < clock_timestamp() - make_interval(secs => %s)
            FOR NO KEY UPDATE SKIP LOCKED
        ))
        """,
        (list(token_hashes), SEEN_EVERY_S),
    )


def token_hash(token: str) -> bytes:
    """SHA-256: a token is random, so nothing slower is needed. Any text will do, lone surrogates too."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)
