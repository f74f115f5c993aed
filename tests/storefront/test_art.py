"""Product pictures: the same for everyone, small, well-formed, and of one family within a collection."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from tidegate.storefront.art import PALETTES, draw, picture_address
from tidegate.storefront.motif_words import ANY, MOODS, WORDS
from tidegate.storefront.motifs import Ink

SLUGS = st.from_regex(r"[a-z0-9]{1,12}(-[a-z0-9]{1,12}){0,8}", fullmatch=True)
INK = Ink("url(#p)", "#112233", "#223344", "#334455", "#ffffff", "#000000")


@given(SLUGS, st.one_of(st.just(""), SLUGS))
def test_every_picture_is_small_well_formed_and_repeatable(slug: str, collection: str) -> None:
    picture = draw(slug, collection)
    assert len(picture.encode()) < 4_096
    root = ET.fromstring(picture)
    assert root.tag.endswith("svg")
    assert picture == draw(slug, collection)
    assert set(re.findall(r"url\(([^)]*)\)", picture)) <= {"#p"}, "nothing comes from elsewhere"
    assert "href" not in picture


def test_every_motif_uses_real_colours() -> None:
    for motif in {*WORDS.values(), *MOODS.values(), *ANY}:
        colours = re.findall(r'(?:fill|stroke)="([^"]+)"', motif(INK))
        assert colours, motif
        assert all(re.fullmatch(r"none|url\(#p\)|#[0-9a-f]{6}([0-9a-f]{2})?", colour) for colour in colours), motif


def test_a_collection_is_a_family_and_its_products_differ() -> None:
    names = ["red-lamp", "blue-mug", "party-bunting", "night-jar", "tin-box", "tall-vase"]
    pictures = [draw(name, "lights") for name in names]
    assert len(set(pictures)) == len(names)
    families = [p for p in PALETTES if all(any(ground in picture for ground in p.grounds) for picture in pictures)]
    assert len(families) == 1


def test_the_name_chooses_motif_and_colour() -> None:
    assert draw("red-mug", "kitchen") != draw("blue-mug", "kitchen")
    assert "#c8372d" in draw("red-mug", "kitchen")
    assert "#3a6ea8" in draw("blue-mug", "kitchen")


def test_an_address_names_what_the_picture_depends_on() -> None:
    assert picture_address("red-mug", "kitchen") == "/art/red-mug.svg?of=kitchen&v=1"
