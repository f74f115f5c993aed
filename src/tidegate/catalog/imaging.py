"""Uploaded pictures made fit to be shown: read by what is in them, turned upright, stripped, and written anew.

Nothing of an upload is passed on as it came. How large a picture is says its head; more pixels than the bound are
refused before one is decoded.
"""

from __future__ import annotations

import hashlib
import io
from typing import Final

import structlog
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from prometheus_client import Counter

from tidegate.catalog.contracts import UnusablePicture
from tidegate.catalog.darkroom import Developed
from tidegate.platform.failures import describe_error
from tidegate.platform.texts import text as _

log = structlog.get_logger(__name__)

FORMATS: Final = ("JPEG", "PNG", "WEBP", "AVIF")
WIDTHS: Final = (320, 640, 1280)
"""Widths that a picture is kept in, as far as it has them: CSS pixels of a card, of a phone, of a page."""
SMALLEST: Final = 64
"""Pixels of the shorter side."""
LONGEST: Final = 5
"""How many times as long as the other a side may be."""
SHRUNK_FIRST: Final = ("RGB", "RGBA", "CMYK", "L", "LA")
"""Kinds of colours that can be made smaller as they are: all further work is then on few pixels."""
QUALITY: Final = 82
EFFORT: Final = 4
"""WebP's method: 0 is quick, 6 is small."""

DONE = Counter(
    "tidegate_pictures_done", "Uploaded pictures that were looked at, by whether they were usable.", ["usable"]
)


def develop(uploaded: bytes, *, max_pixels: int) -> Developed:
    """The picture in an upload, in all widths. `max_pixels` bounds width times height. Raises: UnusablePicture."""
    try:
        developed = _developed(uploaded, max_pixels)
    except UnusablePicture:
        DONE.labels("no").inc()
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        DONE.labels("no").inc()
        raise _foreign(uploaded, error) from None
    except Exception as error:  # what a decoder raises over foreign bytes is not for us to foresee
        DONE.labels("no").inc()
        log.info("picture not decoded", error=describe_error(error))
        raise UnusablePicture(_broken()) from None
    DONE.labels("yes").inc()
    return developed


def _developed(uploaded: bytes, max_pixels: int) -> Developed:
    with Image.open(io.BytesIO(uploaded), formats=FORMATS) as opened:
        width, height = opened.size
        if width * height > max_pixels:
            raise _too_many_pixels(width, height, max_pixels)
        if min(width, height) < SMALLEST:
            raise UnusablePicture(
                _("This picture is only %(width)s × %(height)s pixels large. Both sides need at least %(least)s.",
                  width=width, height=height, least=SMALLEST)
            )  # fmt: skip
        if max(width, height) > LONGEST * min(width, height):
            raise UnusablePicture(
                _("This picture is too long and narrow: one side may be %(times)s times as long as the other at most.",
                  times=LONGEST)
            )  # fmt: skip
        opened.draft(None, (WIDTHS[-1], WIDTHS[-1]))  # a JPEG is decoded no larger than it will be shown
        opened.load()
        ImageOps.exif_transpose(opened, in_place=True)
        picture: Image.Image = opened
        if picture.mode in SHRUNK_FIRST and picture.width > WIDTHS[-1]:
            picture = _as_wide(picture, WIDTHS[-1])
        picture = _in_srgb(picture)
    files: dict[int, bytes] = {}
    for wide in sorted({min(each, picture.width) for each in WIDTHS}, reverse=True):
        picture = _as_wide(picture, wide)
        files[wide] = _webp(picture)
    digest = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in files.values()))
    with Image.open(io.BytesIO(files[max(files)])) as largest:
        return Developed(digest.hexdigest(), *largest.size, files=files)


def _as_wide(picture: Image.Image, width: int) -> Image.Image:
    """The picture at a width, in its own proportions."""
    size = (width, max(1, round(picture.height * width / picture.width)))
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _in_srgb(picture: Image.Image) -> Image.Image:
    """The picture in RGB, with transparency if it has any, its colours as its profile means them."""
    profile = picture.info.get("icc_profile")
    clear = picture.has_transparency_data
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = picture.convert("I").point(lambda value: value * (1 / 256)).convert("L")  # 16 bits of grey
    if profile and picture.mode in ("RGB", "CMYK", "L"):
        try:
            picture = ImageCms.profileToProfile(  # type: ignore[assignment]
                picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            log.info("colour profile not used")
    mode = "RGBA" if clear else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)


def _webp(picture: Image.Image) -> bytes:
    """As WebP, without anything but the pixels."""
    picture.info.clear()
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=QUALITY, method=EFFORT, exif=b"", icc_profile=b"", xmp=b"")
    return out.getvalue()


def _too_many_pixels(width: int, height: int, most: int) -> UnusablePicture:
    return UnusablePicture(
        _("This picture has %(width)s × %(height)s pixels, more than the %(most)s million that the shop takes. "
          "Save it smaller and upload that.", width=width, height=height, most=most // 1_000_000)
    )  # fmt: skip


def _foreign(uploaded: bytes, error: Exception) -> UnusablePicture:
    """What to say of an upload that no decoder takes."""
    if not isinstance(error, UnidentifiedImageError):
        return UnusablePicture(
            _("This picture has far more pixels than the shop takes. Save it smaller and upload that.")
        )
    if not uploaded:
        return UnusablePicture(_("The file is empty. Choose the picture again."))
    head = uploaded[:1_024].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if head.startswith((b"<svg", b"<?xml")) or b"<svg" in head:
        return UnusablePicture(
            _("This is an SVG drawing, which may carry scripts. The shop takes pictures as JPEG, PNG, WebP or AVIF.")
        )
    if uploaded[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypheim"):
        return UnusablePicture(_("This is a HEIC photo, as iPhones make them. Export it as JPEG and upload that."))
    if uploaded.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n", b"RIFF")):
        return UnusablePicture(_broken())
    return UnusablePicture(_("The shop cannot read this file. Upload a picture as JPEG, PNG, WebP or AVIF."))


def _broken() -> str:
    return _(
        "This picture is damaged or not complete. Open it on your device: if it looks right, save it anew and try that."
    )
