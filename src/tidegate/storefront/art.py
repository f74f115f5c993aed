"""Product pictures: drawn from a product's name and collection, the same for everyone and for ever.

A collection has one palette and one kind of backdrop, so its products look like a family; the name chooses the motif,
its pattern and which colours of the palette lead. Pictures carry their own ground, so they sit on light and dark pages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from tidegate.storefront.motif_words import ANY, MOODS, WORDS
from tidegate.storefront.motifs import Ink, Motif
from tidegate.storefront.shapes import disc, faint, path, rect

EDITION: Final = "1"
"""Part of a picture's address; raise it when drawings change, so that caches let go of the old ones."""

SIDE: Final = 400
"""Width and height of a picture, in its own units."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Three grounds (pale, middle, deep), three leading colours and the ends of the scale."""

    grounds: tuple[str, str, str]
    leads: tuple[str, str, str]
    light: str
    dark: str


PALETTES: Final = (
    Palette(("#cfe3e6", "#9cc4cc", "#2b5866"), ("#e4663f", "#f2b544", "#1f6f86"), "#f9f3e6", "#17323c"),
    Palette(("#f0dccb", "#e3b598", "#7a3f2c"), ("#b8502f", "#2f6d5b", "#e3a43c"), "#fbf3e9", "#3b2019"),
    Palette(("#dde5cf", "#afc39a", "#36513f"), ("#c4572f", "#ebc04e", "#3f7a55"), "#faf6e8", "#1f2f25"),
    Palette(("#ead9e6", "#c9a3c0", "#4b2f4f"), ("#a8407a", "#f08a5d", "#3d6186"), "#fbf2f2", "#2b1a2e"),
    Palette(("#dad8ec", "#a7a4d3", "#2e2f5b"), ("#f2785c", "#f6c667", "#4f53a8"), "#f7f3fa", "#1c1d3c"),
    Palette(("#f6dadb", "#ebafb2", "#7b2f3f"), ("#cf4a5a", "#2e7378", "#edae49"), "#fdf4ef", "#3b1820"),
    Palette(("#f7ebc4", "#efd37b", "#6b5418"), ("#d9772b", "#2b6777", "#c8453b"), "#fdf9ea", "#382c10"),
    Palette(("#dde1e6", "#aeb7c2", "#2c3643"), ("#e2573b", "#f0b429", "#3f7cac"), "#f6f5f1", "#1a212b"),
)

NAMED: Final = {
    "red": "#c8372d",
    "scarlet": "#c8372d",
    "pink": "#df7f9c",
    "blue": "#3a6ea8",
    "navy": "#27406b",
    "green": "#4b8a57",
    "yellow": "#e9b93c",
    "orange": "#e07b34",
    "purple": "#7a4f9a",
    "ivory": "#efe6d2",
    "cream": "#efe3c6",
    "white": "#f3efe6",
    "black": "#33312f",
    "silver": "#aab2ba",
    "grey": "#8b929a",
    "gray": "#8b929a",
    "gold": "#c99a3b",
    "brown": "#8a5a3a",
    "chocolate": "#6b432c",
    "zinc": "#9aa5ad",
    "wooden": "#b98b5e",
    "wood": "#b98b5e",
}
"""Colours that names speak of lead the picture."""

PATTERNED: Final = {
    "dots": ("polkadot", "polka", "retrospot", "spotty", "spot", "spots", "dotty", "dot"),
    "stripes": ("stripe", "stripes", "striped", "stripey", "ribbon", "ribbons", "circus", "breton"),
    "checks": ("check", "checks", "gingham", "tartan", "plaid", "patchwork", "kitchen"),
    "petals": ("paisley", "floral", "flower", "rose", "roses", "regency", "doily", "doiley", "baroque", "leaf", "suki"),
    "hearts": ("heart", "hearts", "love", "sweetheart", "valentine"),
    "plain": ("ceramic", "glass", "slate", "metal", "enamel", "zinc", "wicker", "felt"),
}


def picture_address(slug: str, collection: str) -> str:
    """Where the picture of a product is served; a collection's slug may be empty."""
    return f"/art/{slug}.svg?of={collection}&v={EDITION}"


def draw(slug: str, collection: str = "") -> str:
    """The picture of a product as an SVG document of less than 4 KB.

    Pure: the same slugs give the same text in every process and release of one EDITION.
    """
    family = _dice(f"theme:{collection}")
    own = _dice(f"product:{slug}")
    words = slug.split("-")
    palette = PALETTES[family[0] % len(PALETTES)]
    pale, middle, deep = palette.grounds
    ground, shape = ((pale, middle), (pale, middle), (middle, pale), (deep, faint(middle, 0.45)))[own[0] % 4]
    ink = _inks(palette, words, own, dark_ground=ground == deep)
    backdrop = BACKDROPS[(family[1] + (own[1] % 2)) % len(BACKDROPS)]
    floor = faint(palette.dark, 0.10 if ground != deep else 0.30)
    motif = _motif(words, own)
    flip = ' transform="matrix(-1 0 0 1 400 0)"' if own[2] % 2 else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}" width="{SIDE}" height="{SIDE}">'
        f"<defs>{_pattern(words, own, ink)}</defs>"
        + rect(0, 0, SIDE, SIDE, ground)
        + backdrop(shape)
        + rect(0, 318, SIDE, 82, floor)
        + disc(200, 330, 118, faint(palette.dark, 0.20), 11)
        + f"<g{flip}>{motif(ink)}</g></svg>"
    )


def _dice(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _motif(words: list[str], own: bytes) -> Motif:
    """The motif of the last word that names a thing; else of one that sets a mood; else one by the dice."""
    for named in (WORDS, MOODS):
        for word in reversed(words):
            if word in named:
                return named[word]
    return ANY[own[3] % len(ANY)]


def _inks(palette: Palette, words: list[str], own: bytes, *, dark_ground: bool) -> Ink:
    turn = own[4] % 3
    main, second, third = palette.leads[turn:] + palette.leads[:turn]
    named = next((NAMED[word] for word in words if word in NAMED), None)
    if named is not None:
        main, second = named, main
    dark = palette.grounds[1] if dark_ground else palette.dark  # lines must show on a deep ground, too
    return Ink("url(#p)", main, second, third, palette.light, dark)


def _pattern(words: list[str], own: bytes, ink: Ink) -> str:
    """A tile in the main colour with a mark that the name asks for, or one that its dice choose."""
    kind = next((name for name, hints in PATTERNED.items() if not set(hints).isdisjoint(words)), None)
    if kind is None:
        kind = ("plain", "stripes", "dots", "plain", "petals", "checks")[own[5] % 6]
    mark = ink.light if ink.main not in ("#f3efe6", "#efe6d2", "#efe3c6") else ink.second
    marks = {
        "plain": "",
        "dots": disc(10, 10, 6, mark) + disc(30, 30, 6, mark),
        "stripes": rect(0, 0, 14, 40, faint(mark, 0.85)),
        "checks": rect(0, 0, 20, 40, faint(mark, 0.5)) + rect(0, 0, 40, 20, faint(mark, 0.5)),
        "petals": path("M20 4q10 10 0 20q-10-10 0-20zM4 28q10-10 20 0q-10 10-20 0zM28 28q6-6 12 0q-6 6-12 0z", mark),
        "hearts": path("M20 14c3-9 14-7 14 2c0 8-8 12-14 18c-6-6-14-10-14-18c0-9 11-11 14-2z", faint(mark, 0.9)),
    }
    turned = ' patternTransform="rotate(45)"' if kind == "checks" and own[6] % 2 else ""
    return (
        f'<pattern id="p" width="40" height="40" patternUnits="userSpaceOnUse"{turned}>'
        f"{rect(0, 0, 40, 40, ink.main)}{marks[kind]}</pattern>"
    )


def _sun(colour: str) -> str:
    return disc(200, 196, 158, colour)


def _arch(colour: str) -> str:
    return path("M64 318V186a136 136 0 0 1 272 0v132z", colour)


def _hills(colour: str) -> str:
    return path("M0 318V236q96-96 196-30t204-56v168z", colour)


def _rings(colour: str) -> str:
    rings = "".join(f'<circle cx="200" cy="318" r="{r}"/>' for r in (292, 228, 164))
    return f'<g fill="none" stroke="{colour}" stroke-width="26">{rings}</g>'


def _slope(colour: str) -> str:
    return path("M0 400V150L400 20v380z", colour)


def _window(colour: str) -> str:
    return (
        rect(52, 44, 140, 132, colour, 10) + rect(208, 44, 140, 132, colour, 10) + rect(52, 192, 296, 126, colour, 10)
    )


BACKDROPS: Final[tuple[Callable[[str], str], ...]] = (_sun, _arch, _hills, _rings, _slope, _window)
