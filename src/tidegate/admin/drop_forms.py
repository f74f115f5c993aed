"""The form of a drop: read, checked, and what its refusals mean to the person who filled it in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from tidegate.catalog import MAX_QUANTITY, DropExists, Room, UnknownVariant, VariantInDrop
from tidegate.platform.problems import Problem
from tidegate.platform.texts import text as _
from tidegate.web import PostedForm, words_of

FORM_FIELDS = ("title", "slug", "sku", "quantity", "per_buyer", "opens_at", "room", "guests")
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
TAKEN_SLUGS = frozenset({"new"})
MAX_SLUG, MAX_TITLE, MAX_SKU = 200, 255, 100
MIN_YEAR, MAX_YEAR = 2000, 2100
NEVER = datetime(MIN_YEAR, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DropForm:
    """What was typed, what is wrong with it by field, and what it means where nothing is."""

    typed: dict[str, str]
    errors: dict[str, str]
    title: str
    slug: str
    sku: str
    quantity: int
    per_buyer: int
    opens_at: datetime
    room: Room
    guests: bool


def read_drop_form(form: PostedForm) -> DropForm:
    """The form of a drop; an empty title becomes the product's."""
    typed = {name: form.get(name) for name in FORM_FIELDS}
    errors: dict[str, str] = {}
    quantity, per_buyer = _number(typed["quantity"]), _number(typed["per_buyer"])
    opens_at = _moment(typed["opens_at"])
    if len(typed["title"]) > MAX_TITLE:
        errors["title"] = _("Write a title of at most 255 characters.")
    if not SLUG.fullmatch(typed["slug"]) or len(typed["slug"]) > MAX_SLUG or typed["slug"] in TAKEN_SLUGS:
        errors["slug"] = _("Use small letters, digits and single hyphens, such as midnight-lamp.")
    if not 1 <= len(typed["sku"]) <= MAX_SKU:
        errors["sku"] = _("Write the SKU of what the drop sells.")
    if not 1 <= quantity <= MAX_QUANTITY:
        errors["quantity"] = _("Write how many items the drop sells, as a whole number of 1 or more.")
    if per_buyer < 1:
        errors["per_buyer"] = _("Write how many items each buyer may have, as a whole number of 1 or more.")
    elif "quantity" not in errors and per_buyer > quantity:
        errors["per_buyer"] = _("A buyer cannot have more items than the drop sells.")
    if opens_at is None:
        errors["opens_at"] = _("Write the day and the time in UTC, such as 2026-11-30T12:00.")
    if typed["room"] not in {"", *Room}:
        errors["room"] = _("Choose one of these.")
    return DropForm(
        typed=typed,
        errors=errors,
        title=typed["title"],
        slug=typed["slug"],
        sku=typed["sku"],
        quantity=quantity,
        per_buyer=per_buyer,
        opens_at=opens_at or NEVER,
        guests=typed["guests"] == "1",
        room=Room.NONE if errors.get("room") else Room(typed["room"] or Room.NONE),
    )


def refusal(problem: Problem) -> tuple[str, str]:
    """The field that a refusal is about (empty: none), and what to tell."""
    if isinstance(problem, DropExists):
        return "slug", _("There is a drop at this address already. Choose another one.")
    if isinstance(problem, UnknownVariant):
        return "sku", _("No variant has this SKU.")
    if isinstance(problem, VariantInDrop):
        return "sku", _("Another live drop sells this already. Close that one first.")
    return "", words_of(problem)


def _number(text: str) -> int:
    """A whole number, or 0 where the text is none."""
    plain = text.replace(",", "").replace(" ", "")
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) <= 9 else 0


def _moment(text: str) -> datetime | None:
    """A moment in UTC as a form of a browser sends it, or with an offset."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if MIN_YEAR <= moment.year <= MAX_YEAR else None
