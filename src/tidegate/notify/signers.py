"""Mail providers that sign what they say of mails, as Standard Webhooks has it, each with a secret of its own.

A secret is shown when it is made, and sealed. Another one for the same provider takes its place; the one before counts
beside it for a while, so that the provider can change over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from psycopg.rows import class_row
from standardwebhooks import Webhook, WebhookVerificationError

from tidegate.notify.applications import SLUG
from tidegate.notify.webhooks import new_secret
from tidegate.platform.database import Connection
from tidegate.platform.problems import InvalidRequest, NotFound, Problem
from tidegate.platform.sealing import SealBroken, current_sealer
from tidegate.platform.texts import text as _

SECRET: Final = "notify.providers.secret_sealed"  # noqa: S105 - a column's name
MOST: Final = 20
"""Most providers that sign."""


class SignersFull(Problem):
    """There are as many providers that sign as there may be; remove one first."""

    slug = "signers-full"
    status = 409


@dataclass(frozen=True, slots=True)
class Signer:
    """A provider that signs. Times in UTC; a secret from before counts until `old_secret_until`."""

    slug: str
    created_at: datetime
    old_secret_until: datetime | None
    last_said_at: datetime | None


@dataclass(frozen=True, slots=True)
class SignerSecret:
    """A secret that was just made, and whether it takes another one's place."""

    slug: str
    replaces: bool
    secret: str = field(repr=False)


async def make_signer(conn: Connection, *, slug: str, rotation_hours: int, request_key: str) -> SignerSecret:
    """Give a provider a new secret, in the caller's transaction. The same key makes one, and shows it again.

    Raises: InvalidRequest for a name that cannot be, SignersFull.
    """
    if not SLUG.fullmatch(slug):
        raise InvalidRequest(
            _("Name a provider with 1 to 40 letters a-z, digits and hyphens, a letter first."), field="slug"
        )
    row = await (
        await conn.execute(
            """
            INSERT INTO notify.providers AS p (slug, secret_sealed, made_with) VALUES (%(slug)s, %(secret)s, %(key)s)
            ON CONFLICT (slug) DO UPDATE SET
                secret_sealed = CASE WHEN p.made_with = %(key)s THEN p.secret_sealed ELSE excluded.secret_sealed END,
                old_secret_sealed = CASE WHEN p.made_with = %(key)s THEN p.old_secret_sealed ELSE p.secret_sealed END,
                old_secret_until = CASE WHEN p.made_with = %(key)s THEN p.old_secret_until
                    ELSE clock_timestamp() + make_interval(hours => %(hours)s) END,
                made_with = excluded.made_with
            RETURNING p.secret_sealed, p.old_secret_sealed IS NOT NULL, p.xmax = 0
            """,
            {
                "slug": slug,
                "secret": current_sealer().seal(new_secret(), column=SECRET),
                "key": request_key,
                "hours": rotation_hours,
            },
        )
    ).fetchone()
    assert row is not None
    if row[2]:
        counted = await (await conn.execute("SELECT count(*) FROM notify.providers")).fetchone()
        assert counted is not None
        if counted[0] > MOST:
            raise SignersFull()
    return SignerSecret(slug, row[1], current_sealer().open(bytes(row[0]), column=SECRET))


async def list_signers(conn: Connection) -> Sequence[Signer]:
    """All providers that sign, by name."""
    async with conn.cursor(row_factory=class_row(Signer)) as cursor:
        await cursor.execute(
            """
            SELECT slug, created_at, last_said_at,
                CASE WHEN old_secret_until > clock_timestamp() THEN old_secret_until END AS old_secret_until
            FROM notify.providers ORDER BY slug
            """
        )
        return await cursor.fetchall()


async def remove_signer(conn: Connection, *, slug: str) -> None:
    """Believe a provider's signatures no more. Raises: NotFound."""
    known = SLUG.fullmatch(slug) is not None
    done = await conn.execute("DELETE FROM notify.providers WHERE slug = %s", (slug if known else "",))
    if not done.rowcount:
        raise NotFound()


async def is_signed(conn: Connection, *, slug: str, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether a provider has signed this body within the last five minutes, and notes that it did."""
    if not SLUG.fullmatch(slug):
        return False
    row = await (
        await conn.execute(
            """
            SELECT secret_sealed, CASE WHEN old_secret_until > clock_timestamp() THEN old_secret_sealed END
            FROM notify.providers WHERE slug = %s
            """,
            (slug,),
        )
    ).fetchone()
    if row is None or not any(_holds(bytes(sealed), body, headers) for sealed in row if sealed is not None):
        return False
    await conn.execute(
        """
        UPDATE notify.providers SET last_said_at = clock_timestamp()
        WHERE slug = %s AND (last_said_at IS NULL OR last_said_at < clock_timestamp() - interval '1 minute')
        """,
        (slug,),
    )
    return True


def _holds(sealed: bytes, body: bytes, headers: Mapping[str, str]) -> bool:
    try:
        signer = Webhook(current_sealer().open(sealed, column=SECRET))
        signer.verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, SealBroken, ValueError):  # a malformed signature is a ValueError
        return False
    return True
