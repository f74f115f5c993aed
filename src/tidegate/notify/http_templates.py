"""JSON routes by which staff read, try, write and drop the texts of messages."""

from __future__ import annotations

from datetime import datetime

import structlog
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from tidegate.notify.contracts import MessageText, TextChanged
from tidegate.notify.editing import Edited, bring_built_in_back, find_edited, list_edited, save_text
from tidegate.notify.http_keys import Operated
from tidegate.notify.message_kinds import variables_of
from tidegate.notify.previews import MAX_SUBJECT, MAX_TEXT
from tidegate.platform.database import Database
from tidegate.platform.edge.openapi import problems_by_status
from tidegate.platform.problems import InvalidRequest, NotFound, NotSignedIn
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _
from tidegate.web import Visitor

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/api/v1/notify/templates", tags=["notify"])

PROBLEMS = problems_by_status((NotSignedIn, NotFound, InvalidRequest))
WRITE_PROBLEMS = problems_by_status((NotSignedIn, NotFound, InvalidRequest, TextChanged))


class TemplateParts(BaseModel):
    """The texts of a message, as templates. An empty part stands for the built-in text."""

    subject: str = Field("", max_length=MAX_SUBJECT)
    txt: str = Field("", max_length=MAX_TEXT, description="The mail as plain text.")
    html: str = Field("", max_length=MAX_TEXT, description="The mail as HTML.")
    inbox: str = Field("", max_length=MAX_TEXT, description="What the inbox shows below the subject.")

    def text_of(self, edited: Edited, *, revision: int = 0) -> MessageText:
        """What it says of an edited message."""
        parts = {part: _lines(getattr(self, part)) for part in edited.kind.parts}
        return MessageText(edited.kind.name, edited.text.language, revision=revision).with_parts(parts)


class TemplateBody(TemplateParts):
    """A text to be kept."""

    revision: int = Field(ge=0, le=2**31 - 1, description="The revision that it is written over; 0 for a first text.")


class TemplateItem(BaseModel):
    """A message in a language, and how often its own text was changed; 0: it has the built-in text."""

    template: str
    language: str
    revision: int
    changed_at: datetime | None


class TemplateList(BaseModel):
    """All messages in all languages of the shop."""

    items: list[TemplateItem]


class TemplateVariable(BaseModel):
    """Something that a text may use."""

    path: str
    about: str
    example: str


class TemplateAnswer(TemplateItem):
    """A message's texts in a language: with the built-in ones where it has none of its own."""

    subject: str
    txt: str
    html: str
    inbox: str
    own: list[str] = Field(description="The parts that are not the built-in text.")
    variables: list[TemplateVariable]

    @classmethod
    def of(cls, edited: Edited) -> TemplateAnswer:
        """The shape of an edited message."""
        typed, kept = edited.typed, edited.text
        return cls(
            template=kept.template,
            language=kept.language,
            revision=kept.revision,
            changed_at=kept.changed_at,
            own=[part for part in edited.kind.parts if kept.part(part)],
            variables=[
                TemplateVariable(path=each.path, about=each.words, example=each.example)
                for each in variables_of(edited.kind, locale=edited.locale)
            ],
            **{part: typed.part(part) for part in MessageText.PARTS},
        )


class TemplatePreview(BaseModel):
    """A message as it would look, with example values."""

    subject: str
    text: str
    html: str
    inbox: str


@router.get("", responses=PROBLEMS)
async def get_notify_templates(request: Request, person: Operated) -> TemplateList:
    """All messages whose texts you may write, in all languages of the shop."""
    async with _database(request).connection() as conn:
        found = await list_edited(conn, _settings(request), role=person.role)
    texts = (each.text for each in found)
    return TemplateList(
        items=[
            TemplateItem(
                template=each.template, language=each.language, revision=each.revision, changed_at=each.changed_at
            )
            for each in texts
        ]
    )


@router.get("/{template}/{language}", responses=PROBLEMS)
async def get_notify_template(request: Request, person: Operated, template: str, language: str) -> TemplateAnswer:
    """A message's texts in a language."""
    return TemplateAnswer.of(await _find(request, person, template, language))


@router.put("/{template}/{language}", responses=WRITE_PROBLEMS)
async def put_notify_template(
    request: Request, person: Operated, template: str, language: str, body: TemplateBody
) -> TemplateAnswer:
    """Write a message's texts in a language. They are tried with example values first; workers use them in seconds."""
    edited = await _find(request, person, template, language)
    async with _database(request).transaction() as conn:
        kept = await save_text(conn, _settings(request), edited, body.text_of(edited, revision=body.revision))
    log.info("message text written", template=template, language=language, by=str(person.id))
    return TemplateAnswer.of(Edited(edited.kind, edited.locale, kept))


@router.delete("/{template}/{language}", status_code=204, responses=PROBLEMS)
async def delete_notify_template(request: Request, person: Operated, template: str, language: str) -> Response:
    """Bring the built-in text back. Doing it again changes nothing."""
    edited = await _find(request, person, template, language)
    async with _database(request).transaction() as conn:
        await bring_built_in_back(conn, edited)
    log.info("message text dropped", template=template, language=language, by=str(person.id))
    return Response(status_code=204)


@router.post("/{template}/{language}/preview", responses=PROBLEMS)
async def post_notify_template_preview(
    request: Request, person: Operated, template: str, language: str, body: TemplateParts
) -> TemplatePreview:
    """What a message with these texts would look like. Nothing is kept."""
    edited = await _find(request, person, template, language)
    shown = edited.preview(_settings(request), text=body.text_of(edited))
    return TemplatePreview(subject=shown.subject, text=shown.text, html=shown.html, inbox=shown.inbox)


async def _find(request: Request, person: Visitor, template: str, language: str) -> Edited:
    async with _database(request).connection() as conn:
        return await find_edited(conn, _settings(request), template=template, language=language, role=person.role)


def _lines(text: str) -> str:
    if "\0" in text:
        raise InvalidRequest(_("A text has no NUL characters."))
    return text.replace("\r\n", "\n")


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database
