"""One database for many tests, emptied between them: cheaper than a clone for each."""

from __future__ import annotations

import psycopg


def empty(url: str) -> str:
    """Remove what tests of accounts, messages and events leave behind; returns `url`."""
    with psycopg.connect(url, autocommit=True) as conn:
        for table in (
            "platform.outbox",
            "notify.deliveries",
            "notify.inbox_messages",
            "notify.events",
            "notify.receipts",
            "notify.suppressions",
            "notify.suppression_changes",
            "notify.providers",
            "notify.keys",
            "notify.topics",
            "notify.webhook_endpoints",
            "notify.words",
            "notify.message_texts",
            "notify.recipients",
            "notify.applications",
            "gate.former_entries",
            "gate.log_blocks",
            "gate.kept_entries",
            "gate.places",
            "gate.rooms",
            "accounts.links",
            "accounts.role_changes",
            "accounts.people",
        ):
            conn.execute(f"DELETE FROM {table}")
    return url
