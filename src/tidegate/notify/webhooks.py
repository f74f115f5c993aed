"""Endpoints: programs of others that are told of events. Staff and applications make and steer them.

Secrets are sealed at rest and shown when they are made: to whoever repeats the request that made them, too.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from psycopg.rows import dict_row

from tidegate.notify.webhook_addresses import checked_url
from tidegate.notify.webhook_contracts import (
    OF_APPLICATIONS,
    TEST_KIND,
    DisabledWhy,
    Endpoint,
    EndpointDiffers,
    EndpointDisabled,
    EndpointsFull,
    EndpointState,
    Keys,
    WebhookKind,
)
from tidegate.notify.webhook_events import write_webhook
from tidegate.platform.database import Connection
from tidegate.platform.ids import EventId, PersonId, new_id
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.platform.sealing import current_sealer
from tidegate.platform.settings_webhooks import WebhookSettings
from tidegate.platform.texts import text as _

SECRET: Final = "notify.webhook_endpoints.secret_sealed"  # noqa: S105 - a column's name
SECRET_BYTES: Final = 32
MAX_DESCRIPTION: Final = 200
MAX_TOPICS: Final = 50
TOPIC_KINDS: Final = ("drop", "product", "collection", "shop")
OWN_TOPIC: Final = "custom"
"""The kind of an application's topics; their keys are its own."""

OF_APPLICATION: Final = "(%(application)s::uuid IS NULL OR application_id = %(application)s)"

COLUMNS: Final = """
    endpoint_id, url, description, events, topics, state, disabled_why, disabled_at, failures, failing_since,
    CASE WHEN old_secret_until > clock_timestamp() THEN old_secret_until END AS old_secret_until, created_at,
    application_id
"""


async def make_endpoint(
    conn: Connection,
    limits: WebhookSettings,
    *,
    url: str,
    description: str,
    events: Sequence[str],
    topics: Sequence[str],
    author_id: PersonId,
    request_key: str,
    application_id: UUID | None = None,
) -> Keys:
    """Make an endpoint with a new secret, in the caller's transaction. The same key makes one, and shows it again.

    One of an application is told of its messages only.

    The caller checks with `check_reachable` that the host may be called. Raises: InvalidRequest; EndpointsFull;
    EndpointDiffers when this key has made another one.
    """
    of_application = application_id is not None
    values = _checked(url=url, description=description, events=events, topics=topics, of_application=of_application)
    done = await conn.execute(
        """
        INSERT INTO notify.webhook_endpoints
            (endpoint_id, url, description, events, topics, secret_sealed, created_by, request_key, application_id)
        VALUES (
            %(id)s, %(url)s, %(description)s, %(events)s, %(topics)s, %(secret)s, %(author)s, %(key)s, %(application)s
        )
        ON CONFLICT (created_by, request_key) DO NOTHING
        """,
        values
        | {
            "id": new_id(),
            "secret": _seal(new_secret()),
            "author": author_id,
            "key": request_key,
            "application": application_id,
        },
    )
    if done.rowcount:
        await _check_room(conn, limits, application_id)
    found = await conn.execute(
        "SELECT endpoint_id, deleted_at FROM notify.webhook_endpoints WHERE created_by = %s AND request_key = %s",
        (author_id, request_key),
    )
    row = await found.fetchone()
    assert row is not None
    if row[1] is not None:
        raise EndpointDiffers(
            _("This form has made an endpoint that was deleted. Open the page again to make another.")
        )
    keys = await _keys_of(conn, row[0])
    if not done.rowcount and keys.endpoint.url != values["url"]:
        raise EndpointDiffers(_("This form has made another endpoint already. Open the page again to make one more."))
    return keys


async def change_endpoint(
    conn: Connection,
    *,
    endpoint_id: UUID,
    url: str,
    description: str,
    events: Sequence[str],
    topics: Sequence[str],
) -> Endpoint:
    """Say anew what an endpoint is. Raises: InvalidRequest, NotFound."""
    of_application = (await find_endpoint(conn, endpoint_id=endpoint_id)).application_id is not None
    values = _checked(url=url, description=description, events=events, topics=topics, of_application=of_application)
    await conn.execute(
        """
        UPDATE notify.webhook_endpoints
        SET url = %(url)s, description = %(description)s, events = %(events)s, topics = %(topics)s,
            failures = CASE WHEN url = %(url)s THEN failures ELSE 0 END,
            failing_since = CASE WHEN url = %(url)s THEN failing_since END,
            due_at = CASE WHEN url = %(url)s THEN due_at ELSE clock_timestamp() END
        WHERE endpoint_id = %(id)s AND deleted_at IS NULL
        """,
        values | {"id": endpoint_id},
    )
    return await find_endpoint(conn, endpoint_id=endpoint_id)


async def disable_endpoint(conn: Connection, *, endpoint_id: UUID, why: DisabledWhy = DisabledWhy.STAFF) -> Endpoint:
    """Call an endpoint no more; what waits for it becomes dead letters. Doing it again changes nothing.

    Raises: NotFound.
    """
    await conn.execute(
        """
        UPDATE notify.webhook_endpoints
        SET state = 'disabled', disabled_why = %s, disabled_at = clock_timestamp()
        WHERE endpoint_id = %s AND state = 'active'
        """,
        (why.value, endpoint_id),
    )
    return await find_endpoint(conn, endpoint_id=endpoint_id)


async def enable_endpoint(conn: Connection, limits: WebhookSettings, *, endpoint_id: UUID) -> Endpoint:
    """Call an endpoint (again), with what happens from now on. Raises: NotFound, EndpointsFull."""
    done = await conn.execute(
        """
        UPDATE notify.webhook_endpoints
        SET state = 'active', disabled_why = NULL, disabled_at = NULL, failures = 0, failing_since = NULL,
            due_at = clock_timestamp()
        WHERE endpoint_id = %s AND state = 'disabled' AND deleted_at IS NULL
        """,
        (endpoint_id,),
    )
    endpoint = await find_endpoint(conn, endpoint_id=endpoint_id)
    if done.rowcount:
        await _check_room(conn, limits, endpoint.application_id)
    return endpoint


async def delete_endpoint(conn: Connection, *, endpoint_id: UUID) -> int:
    """Forget an endpoint, its address and its secrets; how many webhooks wait for it, which are suppressed soon.

    What a worker has in hand at this moment it still sends. What the endpoint was told before stays written down.
    Raises: NotFound, also for one that was deleted before.
    """
    done = await conn.execute(
        """
        UPDATE notify.webhook_endpoints
        SET state = 'disabled', disabled_why = 'staff', disabled_at = clock_timestamp(), deleted_at = clock_timestamp(),
            url = 'https://deleted.invalid', description = '', secret_sealed = '', old_secret_sealed = NULL,
            old_secret_until = NULL
        WHERE endpoint_id = %s AND deleted_at IS NULL
        """,
        (endpoint_id,),
    )
    if not done.rowcount:
        raise NotFound()
    row = await (
        await conn.execute(
            """
            SELECT count(*) FROM notify.deliveries
            WHERE state = 'pending' AND channel = 'webhook' AND recipient_id = %s
            """,
            (endpoint_id,),
        )
    ).fetchone()
    assert row is not None
    return int(row[0])


async def remove_deleted_endpoints(conn: Connection, *, keep_days: int, limit: int) -> int:
    """Remove up to `limit` endpoints that were deleted `keep_days` ago and for which nothing waits; how many."""
    done = await conn.execute(
        """
        DELETE FROM notify.webhook_endpoints WHERE endpoint_id IN (
            SELECT endpoint_id FROM notify.webhook_endpoints AS e
            WHERE deleted_at < clock_timestamp() - make_interval(days => %s) AND NOT EXISTS (
                SELECT FROM notify.deliveries AS d
                WHERE d.state = 'pending' AND d.channel = 'webhook' AND d.recipient_id = e.endpoint_id
            ) LIMIT %s
        )
        """,
        (keep_days, limit),
    )
    return done.rowcount


async def rotate_secret(conn: Connection, limits: WebhookSettings, *, endpoint_id: UUID, request_key: str) -> Keys:
    """Give an endpoint a new secret; the one before signs beside it for `rotation_hours`.

    The same key rotates once, and shows the same secret again. Raises: NotFound.
    """
    await conn.execute(
        """
        UPDATE notify.webhook_endpoints
        SET secret_sealed = %(secret)s, old_secret_sealed = secret_sealed,
            old_secret_until = clock_timestamp() + make_interval(hours => %(hours)s), rotation_key = %(key)s
        WHERE endpoint_id = %(id)s AND rotation_key <> %(key)s AND deleted_at IS NULL
        """,
        {"secret": _seal(new_secret()), "hours": limits.rotation_hours, "key": request_key, "id": endpoint_id},
    )
    return await _keys_of(conn, endpoint_id)


async def send_test(conn: Connection, *, endpoint_id: UUID, request_key: str) -> EventId:
    """Tell an endpoint of nothing, to see whether it listens; the test's event. The same key sends one.

    Raises: NotFound, EndpointDisabled.
    """
    endpoint = await find_endpoint(conn, endpoint_id=endpoint_id)
    if endpoint.state is not EndpointState.ACTIVE:
        raise EndpointDisabled(_("This endpoint is disabled. Enable it first."))
    row = await (
        await conn.execute(
            """
            UPDATE notify.webhook_endpoints
            SET test_event_id = CASE WHEN test_key = %(key)s THEN test_event_id ELSE %(event)s END,
                test_key = %(key)s, due_at = clock_timestamp()
            WHERE endpoint_id = %(id)s RETURNING test_event_id
            """,
            {"key": request_key, "event": new_id(), "id": endpoint_id},
        )
    ).fetchone()
    assert row is not None
    event_id = EventId(row[0])
    await write_webhook(conn, event_id=event_id, endpoint_id=endpoint_id, kind=TEST_KIND, data={"test": True})
    return event_id


async def find_endpoint(conn: Connection, *, endpoint_id: UUID, application_id: UUID | None = None) -> Endpoint:
    """One endpoint; with an application, one of its own. Raises: NotFound."""
    values = {"id": endpoint_id, "application": application_id, "limit": 1}
    found = await _select(conn, f"endpoint_id = %(id)s AND {OF_APPLICATION}", values)
    if not found:
        raise NotFound()
    return found[0]


async def list_endpoints(
    conn: Connection, *, limit: int, before: UUID | None = None, application_id: UUID | None = None
) -> list[Endpoint]:
    """Endpoints, of an application or all, the newest first, at most `limit`, and only those before `before`."""
    which = f"(%(before)s::uuid IS NULL OR endpoint_id < %(before)s) AND {OF_APPLICATION}"
    return await _select(conn, which, {"before": before, "application": application_id, "limit": limit})


async def secrets_of(conn: Connection, *, endpoint_id: UUID) -> list[str]:
    """The secrets that sign now, the newest first; empty where the endpoint is not active."""
    row = await (
        await conn.execute(
            """
            SELECT secret_sealed, CASE WHEN old_secret_until > clock_timestamp() THEN old_secret_sealed END
            FROM notify.webhook_endpoints WHERE endpoint_id = %s AND state = 'active'
            """,
            (endpoint_id,),
        )
    ).fetchone()
    return [] if row is None else [_open(sealed) for sealed in row if sealed is not None]


def new_secret() -> str:
    """A secret as Standard Webhooks writes it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


async def _select(conn: Connection, which: str, values: dict[str, Any]) -> list[Endpoint]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            f"""
            SELECT {COLUMNS} FROM notify.webhook_endpoints WHERE {which} AND deleted_at IS NULL
            ORDER BY endpoint_id DESC LIMIT %(limit)s
            """,  # noqa: S608 - constants
            values,
        )
        rows = await cursor.fetchall()
    return [
        Endpoint(
            **row
            | {
                "events": tuple(row["events"]),
                "topics": tuple(row["topics"]),
                "state": EndpointState(row["state"]),
                "disabled_why": DisabledWhy(row["disabled_why"]) if row["disabled_why"] else None,
            }
        )
        for row in rows
    ]


async def _keys_of(conn: Connection, endpoint_id: UUID) -> Keys:
    endpoint = await find_endpoint(conn, endpoint_id=endpoint_id)
    row = await (
        await conn.execute("SELECT secret_sealed FROM notify.webhook_endpoints WHERE endpoint_id = %s", (endpoint_id,))
    ).fetchone()
    assert row is not None
    return Keys(endpoint, _open(row[0]))


async def _check_room(conn: Connection, limits: WebhookSettings, application_id: UUID | None) -> None:
    """The staff may have so many, and each application."""
    found = await conn.execute(
        """
        SELECT count(*) FROM notify.webhook_endpoints
        WHERE state = 'active' AND application_id IS NOT DISTINCT FROM %s
        """,
        (application_id,),
    )
    row = await found.fetchone()
    assert row is not None
    if row[0] > limits.max_active:
        raise EndpointsFull(_("There are as many active endpoints as there may be. Disable one first."))


def _seal(secret: str) -> bytes:
    return current_sealer().seal(secret, column=SECRET)


def _open(sealed: bytes) -> str:
    return current_sealer().open(bytes(sealed), column=SECRET)


def _checked(
    *, url: str, description: str, events: Sequence[str], topics: Sequence[str], of_application: bool
) -> dict[str, Any]:
    """What is stored of what was typed. Raises: InvalidRequest."""
    description = description.strip()
    if len(description) > MAX_DESCRIPTION or not description.isprintable():
        raise InvalidRequest(
            _("Type a description of up to %(most)s characters, in one line.", most=MAX_DESCRIPTION),
            field="description",
        )
    kinds = sorted(set(events))
    if not kinds or not set(kinds) <= set(WebhookKind):
        raise InvalidRequest(_("Choose at least one kind of event."), field="events")
    if of_application and not set(kinds) <= set(OF_APPLICATIONS):
        names = ", ".join(OF_APPLICATIONS)
        raise InvalidRequest(_("An application can be told of %(names)s.", names=names), field="events")
    named = sorted({topic.strip() for topic in topics if topic.strip()})
    if len(named) > MAX_TOPICS or not all(_is_topic(topic, of_application=of_application) for topic in named):
        raise InvalidRequest(
            _("Type one topic a line, such as drop:midnight or collection:lamps, at most %(most)s.", most=MAX_TOPICS),
            field="topics",
        )
    return {"url": checked_url(url), "description": description, "events": kinds, "topics": named}


def _is_topic(text: str, *, of_application: bool) -> bool:
    kind, colon, key = text.partition(":")
    kinds = (OWN_TOPIC,) if of_application else TOPIC_KINDS
    return kind in kinds and bool(colon) and 1 <= len(key) <= 300 and key.isprintable()
