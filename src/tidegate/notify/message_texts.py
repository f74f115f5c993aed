"""Texts of messages that merchants write instead of the built-in ones: kept, found again, used by every process.

Each process remembers all of them and asks after `CHECK_S` seconds whether any was changed, so that a change is used
within seconds by workers, and costs a batch at most one look at one row.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

import structlog
from prometheus_client import Counter
from psycopg.rows import class_row

from tidegate.notify.contracts import MessageText, TextChanged
from tidegate.notify.message_kinds import Kind
from tidegate.notify.own_texts import OwnText, read_text
from tidegate.notify.text_checks import TextWrong
from tidegate.platform.database import Connection, Database
from tidegate.platform.settings import Settings
from tidegate.platform.texts import has_texts, language_of

log = structlog.get_logger(__name__)

UNUSABLE = Counter("tidegate_message_texts_unusable", "Merchants' texts that the built-in one stood in for.", ["part"])

CHECK_S: Final = 2.0
"""Age at which a process asks whether what it remembers is still so."""

MOST: Final = 1_000
"""Most texts that are read: kinds of messages times languages."""

COLUMNS: Final = "template, language, subject, txt, html, inbox, revision, changed_at"


@dataclass(frozen=True, slots=True)
class Texts:
    """The merchants' texts by template and language, as they are at a `revision`. `home` is the shop's own language."""

    own: Mapping[tuple[str, str], MessageText]
    home: str
    revision: int = 0
    _made: dict[tuple[str, str, str], OwnText | None] = field(default_factory=dict, repr=False)

    def find(self, template: str, locale: str) -> MessageText | None:
        """The merchant's text for a reader of a locale: in its language; or in the shop's own, where the built-in
        texts do not speak the reader's.
        """
        written = self.own.get((template, language_of(locale)))
        return self.own.get((template, self.home)) if written is None and not has_texts(locale) else written

    def render(self, kind: Kind, part: str, values: Mapping[str, Any], *, locale: str) -> str | None:
        """The merchant's text of a part; None where there is none that can be used with these values."""
        written = self.find(kind.name, locale)
        source = "" if written is None else written.part(part)
        if not source:
            return None
        try:
            template = self._template(kind, part, source, locale)
            return None if template is None else template.render(values)
        except TextWrong as wrong:
            UNUSABLE.labels(part).inc()
            log.error("own text unusable", template=kind.name, part=part, locale=locale, line=wrong.line)
            return None

    def _template(self, kind: Kind, part: str, source: str, locale: str) -> OwnText | None:
        """Made once for all recipients; a text that cannot be read is said to be so once."""
        key = (kind.name, part, locale)
        if key not in self._made:
            self._made[key] = None
            self._made[key] = read_text(kind, part, source, locale=locale)
        return self._made[key]


BUILT_IN: Final = Texts({}, "en")
"""No texts but the built-in ones."""


@dataclass(slots=True)
class _Kept:
    texts: Texts
    checked_s: float


_kept: WeakKeyDictionary[Database, _Kept] = WeakKeyDictionary()


async def current_texts(database: Database, settings: Settings) -> Texts:
    """The merchants' texts, at most `CHECK_S` seconds old."""
    kept, now_s = _kept.get(database), time.monotonic()
    if kept is not None and now_s - kept.checked_s < CHECK_S:
        return kept.texts
    async with database.connection() as conn:
        revision = await _revision(conn)
        if kept is not None and kept.texts.revision == revision:
            kept.checked_s = now_s
            return kept.texts
        texts = Texts(await list_texts(conn), language_of(settings.locale), revision)
    _kept[database] = _Kept(texts, now_s)
    return texts


async def _revision(conn: Connection) -> int:
    row = await (await conn.execute("SELECT revision FROM notify.message_texts_state")).fetchone()
    return 0 if row is None else int(row[0])


async def list_texts(conn: Connection) -> dict[tuple[str, str], MessageText]:
    """All texts that merchants wrote, by template and language."""
    async with conn.cursor(row_factory=class_row(MessageText)) as cursor:
        await cursor.execute(f"SELECT {COLUMNS} FROM notify.message_texts LIMIT {MOST}")  # noqa: S608 - constants
        return {(each.template, each.language): each for each in await cursor.fetchall()}


async def find_text(conn: Connection, *, template: str, language: str) -> MessageText:
    """What the merchant wrote of a message in a language; revision 0 and empty parts where they wrote nothing."""
    async with conn.cursor(row_factory=class_row(MessageText)) as cursor:
        await cursor.execute(
            f"SELECT {COLUMNS} FROM notify.message_texts WHERE template = %s AND language = %s",  # noqa: S608
            (template, language),
        )
        return await cursor.fetchone() or MessageText(template=template, language=language)


async def keep_text(conn: Connection, text: MessageText) -> MessageText:
    """Write a text over its `revision`, in the caller's transaction; one whose parts are all empty is removed.

    The caller has checked it. Returns it with its new revision. Raises: TextChanged when it has another by now.
    """
    await _change(conn)
    values = {name: getattr(text, name) for name in ("template", "language", *MessageText.PARTS, "revision")}
    statement = REMOVE if text.is_built_in else INSERT if text.revision == 0 else UPDATE
    async with conn.cursor(row_factory=class_row(MessageText)) as cursor:
        await cursor.execute(statement, values)
        kept = await cursor.fetchone()
    if kept is None and (text.revision or not text.is_built_in):
        raise TextChanged()
    return MessageText(template=text.template, language=text.language) if kept is None or text.is_built_in else kept


REMOVE: Final = f"""
DELETE FROM notify.message_texts WHERE template = %(template)s AND language = %(language)s AND revision = %(revision)s
RETURNING {COLUMNS}
"""  # noqa: S608 - a constant
INSERT: Final = f"""
INSERT INTO notify.message_texts (template, language, subject, txt, html, inbox)
VALUES (%(template)s, %(language)s, %(subject)s, %(txt)s, %(html)s, %(inbox)s)
ON CONFLICT (template, language) DO NOTHING RETURNING {COLUMNS}
"""  # noqa: S608 - a constant
UPDATE: Final = f"""
UPDATE notify.message_texts SET subject = %(subject)s, txt = %(txt)s, html = %(html)s, inbox = %(inbox)s,
    revision = revision + 1, changed_at = clock_timestamp()
WHERE template = %(template)s AND language = %(language)s AND revision = %(revision)s RETURNING {COLUMNS}
"""  # noqa: S608 - constants


async def drop_text(conn: Connection, *, template: str, language: str) -> bool:
    """Bring the built-in text back, in the caller's transaction; says whether there was another."""
    await _change(conn)
    done = await conn.execute(
        "DELETE FROM notify.message_texts WHERE template = %s AND language = %s", (template, language)
    )
    return done.rowcount > 0


async def _change(conn: Connection) -> None:
    """Two who change texts wait for one another here, so that each revision says all that was committed before."""
    await conn.execute(
        """
        INSERT INTO notify.message_texts_state AS s (revision) VALUES (1)
        ON CONFLICT (only_row) DO UPDATE SET revision = s.revision + 1
        """
    )
