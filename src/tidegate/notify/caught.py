"""Reading what the mail catcher caught."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from tidegate.notify.contracts import CaughtMail
from tidegate.platform.ids import parse_id


def folder_of(home: Path) -> Path:
    """Where the mail catcher of a shop keeps its mails."""
    return home / "mail"


def mail_files(folder: Path) -> list[Path]:
    """The mails' files, the newest first: their names are time-ordered."""
    return sorted((file for file in folder.glob("*.json") if parse_id(file.stem)), reverse=True)


def caught_mails(home: Path, *, limit: int) -> list[CaughtMail]:
    """The last mails, the newest first, at most `limit`. One that was removed meanwhile is left out."""
    mails = (_read(file) for file in mail_files(folder_of(home))[:limit])
    return [mail for mail in mails if mail is not None]


def find_caught(home: Path, mail_id: str) -> CaughtMail | None:
    """One mail, or None when there is no such mail (any more)."""
    parsed = parse_id(mail_id)
    return None if parsed is None else _read(folder_of(home) / f"{parsed}.json")


def _read(file: Path) -> CaughtMail | None:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        return CaughtMail(
            id=known["id"],
            at=datetime.fromisoformat(known["at"]),
            sender=known["sender"],
            to=tuple(known["to"]),
            subject=known["subject"],
            text=known["text"],
            html=known["html"],
            message_id=known["message_id"],
        )
    except (OSError, ValueError, KeyError):
        return None
