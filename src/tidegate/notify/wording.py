"""What an application may have said: a template that it names, and the variables that this one takes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tidegate.notify.fields import wrong_fields
from tidegate.notify.posts import MAX_BODY, MAX_TITLE
from tidegate.platform.texts import text as _

OWN_WORDS: Final = "message"
"""The template of words of one's own."""

MAX_URL: Final = 2_000


class Urgency(StrEnum):
    """What kind of message it is, which decides how it travels and whether somebody may have stopped it."""

    TRANSACTIONAL = "transactional"
    """Something that its recipients wait for: it goes before all that is bulk, and preferences do not hold for it."""
    BULK = "bulk"
    """Something for the followers of a topic: each may stop it, and has a link to do so."""


def _one_line(text: str) -> str:
    text = text.strip()
    if not text or not text.isprintable():
        raise ValueError("write it in one line")
    return text


def _lines(text: str) -> str:
    text = text.replace("\r\n", "\n").strip()
    if not text or not text.replace("\n", "").replace("\t", "").isprintable():
        raise ValueError("write text without control characters")
    return text


def _web_address(text: str) -> str:
    if not text.startswith(("https://", "http://")) or not text.isprintable() or " " in text:
        raise ValueError("write an address that begins with https://")
    return text


Line = Annotated[str, Field(max_length=MAX_TITLE), AfterValidator(_one_line)]
Body = Annotated[str, Field(max_length=MAX_BODY), AfterValidator(_lines)]
Url = Annotated[str, Field(max_length=MAX_URL), AfterValidator(_web_address)]


class _Variables(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Message(_Variables):
    """Words of the application's own, with or without a link."""

    title: Line
    body: Body
    url: Url | None = None


class Occasion(_Variables):
    """What is open or back, and where."""

    title: Line
    url: Url


VARIABLES: Final[Mapping[str, type[_Variables]]] = {
    OWN_WORDS: Message,
    "drop_open": Occasion,
    "product_back": Occasion,
}
"""Templates that an application may name."""

ONLY_BULK: Final = frozenset({"drop_open", "product_back"})
"""Templates whose words tell followers of a topic."""


def check_variables(template: str, variables: Mapping[str, Any], *, urgency: Urgency) -> dict[str, Any]:
    """The variables as they are kept. Raises: InvalidRequest that names each that is missing, unknown or wrong."""
    known = VARIABLES.get(template)
    if known is None:
        names = ", ".join(sorted(VARIABLES))
        raise wrong_fields([("template", _("There is no such template. There are %(names)s.", names=names))])
    if template in ONLY_BULK and urgency is not Urgency.BULK:
        raise wrong_fields([("template", _("This template is for messages of the class bulk."))])
    try:
        return known.model_validate(dict(variables)).model_dump(exclude_none=True)
    except ValidationError as error:
        takes = ", ".join(known.model_fields)
        raise wrong_fields(
            [
                (
                    ".".join(("variables", *map(str, item["loc"]))),
                    _("%(what)s. This template takes %(takes)s.", what=item["msg"], takes=takes),
                )
                for item in error.errors(include_url=False, include_context=False, include_input=False)
            ]
        ) from None
