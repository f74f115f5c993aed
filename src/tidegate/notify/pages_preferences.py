"""Where people choose what they are told, by which way, and when they want quiet.

An account has a page of its own; an address without one is shown it by the signed link at the end of each mail, which
also works for an account but shows nothing of what else it follows: mails are passed on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import time
from typing import Final, TypeAlias
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.notify.contracts import Channel, Follow, TopicKind
from tidegate.notify.devices import Device, list_devices, remove_device
from tidegate.notify.follow_links import PREFERENCES_PAGE, read_unsubscribe
from tidegate.notify.follows import find_topic
from tidegate.notify.preferences import (
    Preferences,
    QuietHours,
    ensure_recipient,
    find_account,
    find_language,
    find_preferences,
    find_recipient,
    list_own_follows,
    offered_zones,
    set_follow_channels,
    set_language,
    set_preferences,
)
from tidegate.platform.database import Connection, Database
from tidegate.platform.ids import PersonId, parse_id
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.platform.settings import Settings
from tidegate.platform.texts import text as _
from tidegate.web import (
    NOT_KEPT,
    PostedForm,
    SignInFirst,
    blamed,
    current_person,
    offered_locales,
    read_form,
    render,
    request_locale,
    see_other,
)

router = APIRouter(include_in_schema=False)

HOME: Final = "/account/messages"
SHOWN: Final = 50
"""Most followed things on the page."""

AddressOf: TypeAlias = Callable[[PersonId], Awaitable[str | None]]
"""The e-mail address of an account, None where it has none; in `app.state.address_of`."""


@dataclass(frozen=True, slots=True)
class PreferencesContext:
    """Context of `notify/preferences.html`. `token` is the link's; empty on an account's own page."""

    kinds: tuple[str, ...]
    channels: tuple[str, ...]
    follows: tuple[Follow, ...]
    zones: tuple[str, ...]
    shop_zone: str
    typed: Mapping[str, str]
    """What the form shows, by its fields."""
    token: str
    devices: tuple[Device, ...] = ()
    """Where the account can be told; not shown to who only has a link."""
    saved: bool = False
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GoneContext:
    """Context of `notify/preferences_gone.html`: `whole` says that the link is, and there is nothing to choose."""

    whole: bool


@dataclass(frozen=True, slots=True)
class _Chooser:
    """Whose page it is. `recipient_id` is None for an account that has chosen and followed nothing yet."""

    recipient_id: UUID | None
    has_inbox: bool
    token: str = ""
    of_application: bool = False

    @property
    def kinds(self) -> tuple[TopicKind, ...]:
        """What the shop's people follow, or what an application's do."""
        return tuple(kind for kind in TopicKind if (kind is TopicKind.CUSTOM) == self.of_application)

    @property
    def channels(self) -> tuple[Channel, ...]:
        return (Channel.INBOX, Channel.EMAIL) if self.has_inbox else (Channel.EMAIL,)

    @property
    def sees_follows(self) -> bool:
        return self.of_application or not (self.token and self.has_inbox)


@router.get("/account/messages")
async def show_own(request: Request, saved: str = "") -> Response:
    """What the account has chosen."""
    person_id, email = await _owner(request)
    async with _database(request).connection() as conn:
        found = await find_account(conn, person_id=person_id, email=email)
        chooser = _Chooser(None if found is None else found.recipient_id, has_inbox=True)
        return await _show(request, conn, chooser, saved=saved == "1")


@router.post("/account/messages")
async def post_own(request: Request) -> Response:
    """Choose anew, as an account."""
    person_id, email = await _owner(request)
    form = await read_form(request)
    async with _database(request).transaction() as conn:
        recipient_id = await ensure_recipient(conn, person_id=person_id, email=email, locale=request_locale(request))
        wrong = await _save(request, conn, _Chooser(recipient_id, has_inbox=True), form)
    return wrong or see_other(request, f"{HOME}?saved=1")


@router.post("/account/messages/devices/{device_id}/remove")
async def post_remove_device(request: Request, device_id: str) -> Response:
    """Forget a device of the account."""
    person_id, email = await _owner(request)
    await read_form(request)
    wanted = parse_id(device_id)
    async with _database(request).transaction() as conn:
        found = await find_account(conn, person_id=person_id, email=email)
        if found is None or wanted is None:
            raise NotFound()
        await remove_device(conn, recipient_id=found.recipient_id, device_id=wanted)
    return see_other(request, f"{HOME}?saved=1")


@router.get("/preferences")
async def show_by_link(request: Request, token: str = "", saved: str = "") -> Response:
    """What the address of a signed link has chosen."""
    async with _database(request).connection() as conn:
        try:
            chooser = await _linked(conn, token)
        except NotFound:
            return _gone(request, token)
        return await _show(request, conn, chooser, saved=saved == "1")


@router.post("/preferences")
async def post_by_link(request: Request) -> Response:
    """Choose anew, as the address of a signed link."""
    form = await read_form(request)
    token = form.get("token")
    async with _database(request).transaction() as conn:
        try:
            chooser = await _linked(conn, token)
        except NotFound:
            return _gone(request, token)
        wrong = await _save(request, conn, chooser, form)
    return wrong or see_other(request, f"{PREFERENCES_PAGE}?{urlencode({'token': token, 'saved': '1'})}")


async def _show(
    request: Request,
    conn: Connection,
    chooser: _Chooser,
    *,
    saved: bool = False,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    follows = await _follows(conn, chooser)
    if typed is None:
        known = chooser.recipient_id
        preferences = Preferences() if known is None else await find_preferences(conn, recipient_id=known)
        language = request_locale(request) if known is None else await find_language(conn, recipient_id=known)
        typed = _fields(preferences, follows) | {"locale": _offered(request, language)}
    settings: Settings = request.app.state.settings
    owner_id = None if chooser.token else chooser.recipient_id
    context = PreferencesContext(
        kinds=tuple(kind.value for kind in chooser.kinds),
        channels=tuple(channel.value for channel in chooser.channels),
        follows=tuple(follows),
        zones=offered_zones(),
        shop_zone=settings.follows.time_zone,
        typed=typed,
        token=chooser.token,
        devices=() if owner_id is None else tuple(await list_devices(conn, recipient_id=owner_id)),
        saved=saved,
        errors=errors or {},
    )
    status = 422 if errors else 200
    return render(request, "notify/preferences.html", context, status=status, headers=NOT_KEPT)


async def _save(request: Request, conn: Connection, chooser: _Chooser, form: PostedForm) -> Response | None:
    """Keep what was chosen; the page with what is wrong, if anything is. What the page does not show stays as it is."""
    assert chooser.recipient_id is not None
    before = await find_preferences(conn, recipient_id=chooser.recipient_id)
    follows = await _follows(conn, chooser)
    try:
        preferences = _preferences(form, chooser, before)
        await set_preferences(conn, recipient_id=chooser.recipient_id, preferences=preferences)
    except InvalidRequest as problem:
        errors = blamed(problem)
        if "quiet" in errors:
            errors["quiet_until"] = errors.pop("quiet")
        return await _show(request, conn, chooser, typed=dict(form.fields), errors=errors)
    if (locale := form.get("locale")) in offered_locales(request.app.state.settings):
        await set_language(conn, recipient_id=chooser.recipient_id, locale=locale)
    for follow in follows:
        wanted = WAYS.get(form.get(f"topic.{follow.topic_id}"))
        if wanted is not None and wanted != (follow.channels or ()):
            await set_follow_channels(
                conn, recipient_id=chooser.recipient_id, topic_id=follow.topic_id, channels=wanted or None
            )
    return None


WAYS: Final[Mapping[str, tuple[Channel, ...]]] = {
    "kind": (),
    "email": (Channel.EMAIL,),
    "inbox": (Channel.INBOX,),
    "both": (Channel.EMAIL, Channel.INBOX),
}
"""How one followed thing is told of, by the form's words; nothing stands for: as of all of its kind."""


def _offered(request: Request, locale: str) -> str:
    """The locale, or the shop's own where it is not offered."""
    settings: Settings = request.app.state.settings
    return locale if locale in offered_locales(settings) else settings.locale


def _fields(preferences: Preferences, follows: Sequence[Follow]) -> dict[str, str]:
    """What was chosen, as the form's fields."""
    fields = {
        f"{kind.value}.{channel.value}": "1"
        for kind in TopicKind
        for channel in Channel
        if (kind, channel) not in preferences.unwanted
    }
    words = {frozenset(channels): word for word, channels in WAYS.items()}
    fields |= {f"topic.{each.topic_id}": words[frozenset(each.channels or ())] for each in follows}
    fields["time_zone"] = preferences.time_zone
    if preferences.quiet is not None:
        fields["quiet_from"] = preferences.quiet.starts.isoformat("minutes")
        fields["quiet_until"] = preferences.quiet.ends.isoformat("minutes")
    return fields


def _preferences(form: PostedForm, chooser: _Chooser, before: Preferences) -> Preferences:
    """What a form says. Raises: InvalidRequest."""
    shown = {(kind, channel) for kind in chooser.kinds for channel in chooser.channels}
    unticked = {(kind, channel) for kind, channel in shown if not form.get(f"{kind.value}.{channel.value}")}
    starts, ends = _clock(form, "quiet_from"), _clock(form, "quiet_until")
    if (starts is None) != (ends is None):
        missing = "quiet_from" if starts is None else "quiet_until"
        raise InvalidRequest(_("Fill in both times, or none for no quiet hours."), field=missing)
    return Preferences(
        unwanted=frozenset(unticked | (before.unwanted - shown)),
        time_zone=form.get("time_zone"),
        quiet=None if starts is None or ends is None else QuietHours(starts, ends),
    )


def _clock(form: PostedForm, name: str) -> time | None:
    text = form.get(name)
    if not text:
        return None
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(_("Write a time like 22:00."), field=name) from None


async def _follows(conn: Connection, chooser: _Chooser) -> Sequence[Follow]:
    if chooser.recipient_id is None or not chooser.sees_follows:
        return ()
    return await list_own_follows(conn, recipient_id=chooser.recipient_id, limit=SHOWN)


async def _linked(conn: Connection, token: str) -> _Chooser:
    """Raises: NotFound for a link that is not whole, or whose address is forgotten."""
    topic_id, fingerprint = read_unsubscribe(token)
    found = await find_recipient(conn, email_fingerprint=fingerprint)
    if found is None:
        raise NotFound()
    topic = await find_topic(conn, topic_id=topic_id)
    return _Chooser(found.recipient_id, found.has_inbox, token, of_application=topic.kind is TopicKind.CUSTOM)


def _gone(request: Request, token: str) -> Response:
    try:
        read_unsubscribe(token)
    except NotFound:
        return render(request, "notify/preferences_gone.html", GoneContext(whole=False), headers=NOT_KEPT)
    return render(request, "notify/preferences_gone.html", GoneContext(whole=True), headers=NOT_KEPT)


async def _owner(request: Request) -> tuple[PersonId, str]:
    """Whose account it is, and its address. Raises: SignInFirst for strangers and guests."""
    person = await current_person(request)
    address_of: AddressOf = request.app.state.address_of
    if person is None or person.role == "guest":
        raise SignInFirst(then=HOME)
    email = await address_of(person.id)
    if email is None:
        raise NotFound()
    return person.id, email


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database
