"""Followers by the thousand: addresses, and what they follow, written by COPY."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg

from tidegate.notify.addresses import fingerprint, sealed_address
from tidegate.platform.ids import new_id

DOMAIN = "follower.example"


def add_followers(
    conn: psycopg.Connection[Any],
    *,
    kind: str,
    key: str,
    count: int,
    inbox: bool = True,
    own_addresses: bool = True,
    locale: str = "en_GB",
) -> UUID:
    """`count` followers of a new topic; returns the topic.

    With `inbox` every one has an account, too. `email_of` is their address; without `own_addresses` nobody can be
    mailed, which takes less time.
    """
    topic_id = new_id()
    conn.execute(
        "INSERT INTO notify.topics (topic_id, kind, key, title, path) VALUES (%s, %s, %s, %s, %s)",
        (topic_id, kind, key, key.title(), f"/{key}"),
    )
    people = [new_id() for _ in range(count)]
    with (
        conn.cursor() as cursor,
        cursor.copy(
            "COPY notify.recipients (recipient_id, address_sealed, email_fingerprint, has_inbox, locale) FROM STDIN"
        ) as copy,
    ):
        for number, person in enumerate(people):
            email = email_of(key, number)
            known = (sealed_address(email), fingerprint(email)) if own_addresses else (b"", person.bytes * 2)
            copy.write_row((person, *known, inbox, locale))
    with conn.cursor() as cursor, cursor.copy("COPY notify.follows (topic_id, recipient_id) FROM STDIN") as copy:
        for person in people:
            copy.write_row((topic_id, person))
    conn.execute("ANALYZE notify.recipients, notify.follows")
    return topic_id


def email_of(key: str, number: int) -> str:
    """The address of a follower."""
    return f"{key}-{number}@{DOMAIN}"
