"""The administrators' room for access: keys of applications, and secrets with which mail providers sign."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog
from fastapi import Request
from starlette.responses import Response

from tidegate import notify
from tidegate.admin.pages_shell import ADMINS, staff_member, staff_router
from tidegate.checkout import Shop
from tidegate.platform.ids import new_id, parse_id
from tidegate.platform.problems import InvalidRequest, NotFound, Problem
from tidegate.platform.texts import text as _
from tidegate.web import NOT_KEPT, PostedForm, blamed, read_form, render, see_other, words_of

router = staff_router("/keys", roles=ADMINS)
log = structlog.get_logger(__name__)

HOME: Final = "/admin/keys"
SHOWN: Final = 50
MAX_TYPED: Final = 400


@dataclass(frozen=True, slots=True)
class Typed:
    """What the form of a key holds. `key` becomes its id, so that a form that is sent twice makes one."""

    application: str = ""
    role: str = notify.KeyRole.SENDER.value
    label: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class KeysContext:
    """Context of `admin/keys.html`. `token` and `secret` are shown once, right after they were made."""

    keys: tuple[notify.AccessKey, ...]
    older: str
    signers: tuple[notify.Signer, ...]
    rotation_hours: int
    typed: Typed
    typed_slug: str = ""
    token: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    secret_of: str = ""
    revoking: notify.AccessKey | None = None
    removing: str = ""
    done: str = ""
    problem: str = ""
    errors: dict[str, str] = field(default_factory=dict)


DONE: Final = {
    "revoked": _("The key is revoked: it opens nothing from now on."),
    "removed": _("The provider is removed: what it signs is not believed any more."),
}


@router.get("")
async def show_keys(request: Request, before: str = "", done: str = "", revoke: str = "", remove: str = "") -> Response:
    """All keys, the newest first, the providers that sign, and the forms to make one of each."""
    return await _show(request, before=before, done=DONE.get(done, ""), revoke=parse_id(revoke), remove=remove)


@router.post("")
async def post_key(request: Request) -> Response:
    """Make a key; it is shown on the page that answers, and nowhere else."""
    form, person = await read_form(request), await staff_member(request)
    typed = _typed(form)
    role = next((each for each in notify.KeyRole if each == typed.role), notify.KeyRole.READER)
    try:
        async with _shop(request).database.transaction() as conn:
            made = await notify.create_key(
                conn,
                application="" if role in notify.OF_NOBODY else typed.application,
                role=role,
                label=typed.label,
                key_id=parse_id(typed.key) or new_id(),
            )
    except (InvalidRequest, notify.KeyMade) as problem:
        return await _show(request, typed=typed, problem=problem)
    log.info("access key made", key=str(made.key_id), role=role.value, by=str(person.id))
    return await _show(request, token=made.token)


@router.post("/{key_id}/revoke")
async def post_revoke(request: Request, key_id: str) -> Response:
    """Have a key open nothing any more."""
    await read_form(request)
    person, wanted = await staff_member(request), parse_id(key_id)
    if wanted is None:
        raise NotFound()
    async with _shop(request).database.transaction() as conn:
        await notify.revoke_key(conn, key_id=wanted)
    log.info("access key revoked", key=str(wanted), by=str(person.id))
    return see_other(request, f"{HOME}?done=revoked")


@router.post("/providers")
async def post_provider(request: Request) -> Response:
    """Give a provider a secret; it is shown on the page that answers, and nowhere else."""
    form, person = await read_form(request), await staff_member(request)
    shop, slug = _shop(request), form.get("slug")[:MAX_TYPED]
    try:
        async with shop.database.transaction() as conn:
            made = await notify.make_signer(
                conn,
                slug=slug,
                rotation_hours=shop.settings.webhooks.rotation_hours,
                request_key=str(parse_id(form.get("key")) or new_id()),
            )
    except (InvalidRequest, notify.SignersFull) as problem:
        return await _show(request, typed_slug=slug, problem=problem)
    log.info("provider secret made", provider=slug, by=str(person.id))
    return await _show(request, secret=made.secret, secret_of=slug)


@router.post("/providers/{slug}/remove")
async def post_remove(request: Request, slug: str) -> Response:
    """Believe a provider's signatures no more."""
    await read_form(request)
    person = await staff_member(request)
    async with _shop(request).database.transaction() as conn:
        await notify.remove_signer(conn, slug=slug)
    log.info("provider removed", provider=slug, by=str(person.id))
    return see_other(request, f"{HOME}?done=removed")


async def _show(
    request: Request,
    *,
    typed: Typed | None = None,
    typed_slug: str = "",
    token: str = "",
    secret: str = "",
    secret_of: str = "",
    problem: Problem | None = None,
    done: str = "",
    before: str = "",
    revoke: UUID | None = None,
    remove: str = "",
) -> Response:
    shop = _shop(request)
    async with shop.database.connection() as conn:
        keys = await notify.list_keys(conn, limit=SHOWN + 1, before=parse_id(before))
        signers = await notify.list_signers(conn)
    errors = {} if problem is None else blamed(problem)
    context = KeysContext(
        keys=tuple(keys[:SHOWN]),
        older=f"{HOME}?before={keys[SHOWN - 1].key_id}" if len(keys) > SHOWN else "",
        signers=tuple(signers),
        rotation_hours=shop.settings.webhooks.rotation_hours,
        typed=typed or Typed(key=str(new_id())),
        typed_slug=typed_slug,
        token=token,
        secret=secret,
        secret_of=secret_of,
        revoking=next((each for each in keys if each.key_id == revoke and each.revoked_at is None), None),
        removing=next((each.slug for each in signers if each.slug == remove), ""),
        done=done,
        problem="" if problem is None or errors else words_of(problem),
        errors=errors,
    )
    status = 200 if problem is None else problem.status
    return render(request, "admin/keys.html", context, status=status, headers=NOT_KEPT)


def _typed(form: PostedForm) -> Typed:
    return Typed(
        application=form.get("application")[:MAX_TYPED],
        role=form.get("role"),
        label=form.get("label")[:MAX_TYPED],
        key=form.get("key"),
    )


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop
