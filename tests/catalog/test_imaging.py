"""Uploads made fit to be shown: what is taken, what is refused and why, and what is left of what a camera wrote."""

from __future__ import annotations

import io
import random
import threading
from contextlib import suppress

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tests.pictures import SVG, a_bomb, a_picture, an_animated_bomb
from tidegate.catalog import Darkroom, PicturesBusy, UnusablePicture, imaging
from tidegate.catalog.darkroom import Developed
from tidegate.platform.settings import PictureSettings

MOST = 5_000_000
GPS, ORIENTATION = 0x8825, 0x0112


def developed(uploaded: bytes, max_pixels: int = MOST) -> Developed:
    return imaging.develop(uploaded, max_pixels=max_pixels)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content), formats=("WEBP",))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_picture_is_kept_in_several_widths(kind: str) -> None:
    made = developed(a_picture(kind, width=1500, height=900))
    assert {width: opened(content).size for width, content in made.files.items()} == {
        320: (320, 192),
        640: (640, 384),
        1280: (1280, 768),
    }
    assert (made.width, made.height) == (1280, 768)


def test_a_small_picture_is_not_made_larger() -> None:
    assert sorted(developed(a_picture(width=500, height=400)).files) == [320, 500]
    assert sorted(developed(a_picture(width=200, height=200)).files) == [200]


def test_the_same_picture_has_the_same_name_and_another_has_another() -> None:
    assert developed(a_picture()).digest == developed(a_picture()).digest
    assert developed(a_picture()).digest != developed(a_picture(colour="#2b5866")).digest


def test_what_a_camera_wrote_is_applied_or_gone() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned by a quarter
    exif[0x010F] = "A camera"
    exif.get_ifd(GPS)[1] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made = developed(a_picture(width=900, height=600, exif=exif, icc_profile=profile, comment=b"secret"))
    assert (made.width, made.height) == (600, 900), "it stands upright"
    for content in made.files.values():
        picture = opened(content)
        assert not picture.getexif()
        assert {"icc_profile", "exif", "xmp", "comment"} & set(picture.info) == set()
        assert b"camera" not in content and b"secret" not in content


def test_what_is_clear_stays_clear() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (400, 400), (200, 30, 30, 0)).save(out, "PNG")
    picture = opened(developed(out.getvalue()).files[320])
    assert picture.mode == "RGBA"
    assert picture.getchannel("A").getextrema() == (0, 0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16"])
def test_every_kind_of_colours_is_read(mode: str) -> None:
    out = io.BytesIO()
    grey = Image.new("I;16", (400, 300), 40_000) if mode == "I;16" else Image.new("RGB", (400, 300), "#808080")
    (grey if mode == "I;16" else grey.convert(mode)).save(out, "JPEG" if mode == "CMYK" else "PNG")
    shown = opened(developed(out.getvalue()).files[320]).convert("L").resize((1, 1), Image.Resampling.BOX)
    assert 110 <= shown.tobytes()[0] <= 170


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    for bomb in (a_bomb(), an_animated_bomb()):
        assert len(bomb) < 100_000
        with pytest.raises(UnusablePicture, match="far more pixels"):
            developed(bomb)
    with pytest.raises(UnusablePicture, match="900 × 600 pixels, more than the 0 million"):
        developed(a_picture(), max_pixels=500_000)


@pytest.mark.parametrize(
    ("uploaded", "told"),
    [
        (b"", "empty"),
        (SVG, "SVG drawing"),
        (b'<?xml version="1.0"?>\n' + SVG, "SVG drawing"),
        (b"GIF89a" + bytes(100), "cannot read this file"),
        (a_picture("GIF"), "cannot read this file"),
        (a_picture("TIFF"), "cannot read this file"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "HEIC photo"),
        (b"<script>alert(1)</script>", "cannot read this file"),
        (a_picture()[:-4_000], "damaged or not complete"),
        (a_picture("PNG")[:-200], "damaged or not complete"),
        (a_picture()[:20], "damaged or not complete"),
        (a_picture(width=63, height=400), "only 63 × 400 pixels"),
        (a_picture(width=3_000, height=500), "too long and narrow"),
    ],
)
def test_what_cannot_be_used_is_told_in_plain_words(uploaded: bytes, told: str) -> None:
    with pytest.raises(UnusablePicture, match=told):
        developed(uploaded)


@settings(max_examples=60)
@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP", "AVIF"]), seed=st.integers(0, 2**32), hits=st.integers(1, 40))
def test_damaged_files_are_pictures_or_refused_and_nothing_else(kind: str, seed: int, hits: int) -> None:
    chance = random.Random(seed)
    damaged = bytearray(a_picture(kind, width=160, height=120))
    for _ in range(hits):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    with suppress(UnusablePicture):
        made = developed(bytes(damaged), max_pixels=1_000_000)
        assert all(opened(content).size[0] == width for width, content in made.files.items())


@pytest.mark.anyio
async def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def slow(uploaded: bytes, *, max_pixels: int) -> Developed:
        go_on.wait()
        return Developed("0" * 64, 1, 1, {1: uploaded})

    monkeypatch.setattr(imaging, "develop", slow)
    darkroom = Darkroom(PictureSettings(workers=1, queue=1))
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(darkroom.develop, b"one")
            group.start_soon(darkroom.develop, b"two")
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(PicturesBusy) as refused:
                await darkroom.develop(b"three")
            assert refused.value.status == 503
            go_on.set()
        assert (await darkroom.develop(b"four")).files == {1: b"four"}
    finally:
        go_on.set()
        darkroom.close()
