"""The form that uploads a picture: read, stored, and what is wrong with it in plain words.

A file cannot be put back into a form. So when only the words beside it are wrong, the picture is stored already, and
the form names it instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import Request

from tidegate import catalog
from tidegate.catalog import Darkroom, Picture, PicturesBusy, UnusablePicture
from tidegate.checkout import Shop
from tidegate.platform.files import FileStore
from tidegate.platform.texts import text as _
from tidegate.web import PostedForm, read_upload

MB = 1_048_576


@dataclass(frozen=True, slots=True)
class PictureForm:
    """What was sent. `kept` is the picture once it is stored; it can be shown when `errors` is empty."""

    alt: str = ""
    decorative: bool = False
    kept: Picture | None = None
    seen: str = ""
    errors: dict[str, str] = field(default_factory=dict)


async def read_picture(request: Request) -> PictureForm:
    """The posted form with its picture, developed and stored."""
    shop: Shop = request.app.state.shop
    most = shop.settings.pictures.max_bytes
    form, content = await read_upload(request, max_bytes=most)
    errors: dict[str, str] = {}
    kept = None
    if content is None:
        kept = await _kept(shop, form)
        if kept is None:
            errors["picture"] = _("Choose a picture to upload.")
    elif len(content) > most:
        words = _("This file is larger than %(most)s MB. Save the picture smaller and upload that.", most=most // MB)
        errors["picture"] = words
    else:
        files: FileStore = request.app.state.files
        darkroom: Darkroom = request.app.state.darkroom
        try:
            kept = await catalog.store_picture(shop.database, files, darkroom, uploaded=content)
        except (UnusablePicture, PicturesBusy) as problem:
            errors["picture"] = problem.detail
    alt, decorative = form.get("alt"), bool(form.get("decorative"))
    if (wrong := wrong_words(alt, decorative=decorative)) is not None:
        errors["alt"] = wrong
    return PictureForm(alt, decorative, kept, form.get("seen"), errors)


def wrong_words(alt: str, *, decorative: bool) -> str | None:
    """What is wrong with the words for a picture, or None."""
    if len(alt) > catalog.MAX_ALT:
        return _("Describe the picture in at most %(most)s characters.", most=catalog.MAX_ALT)
    if not alt and not decorative:
        return _("Say what the picture shows, for people who do not see it; or tick that it is decoration.")
    if alt and decorative:
        return _("Decoration needs no description: leave it empty, or take the tick away.")
    return None


async def _kept(shop: Shop, form: PostedForm) -> Picture | None:
    """The picture that an earlier try of the same form stored."""
    async with shop.database.connection() as conn:
        return await catalog.find_picture(conn, digest=form.get("kept"))
