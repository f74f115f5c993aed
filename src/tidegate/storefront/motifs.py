"""The things that product pictures show: simple shapes on a 400 x 400 field, standing on y = 320 or hanging from y = 0.

Each motif is a pure function from the colours it may use to SVG elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tidegate.storefront.shapes import disc, faint, heart, line, path, rect


@dataclass(frozen=True, slots=True)
class Ink:
    """Colours of one picture. `fill` is the patterned main colour; `dark` and `light` are the ends of the scale."""

    fill: str
    main: str
    second: str
    third: str
    light: str
    dark: str


Motif = Callable[[Ink], str]


def bag(ink: Ink) -> str:
    """A bag with two handles and a label."""
    return (
        line("M150 178V132a50 50 0 0 1 100 0v46", ink.dark, 12)
        + path("M108 168h184l14 144q0 10-10 10H104q-10 0-10-10z", ink.fill)
        + path("M108 168h184l3 26H105z", ink.second)
        + rect(146, 230, 108, 68, ink.main, 12)
        + rect(152, 236, 96, 56, ink.light, 8)
        + heart(200, 254, 15, ink.main)
    )


def cup(ink: Ink) -> str:
    """A steaming cup on its saucer."""
    return (
        line("M176 138q-14-20 0-38t0-36M214 138q-14-20 0-38t0-36", ink.light, 7)
        + disc(196, 318, 128, ink.second, 14)
        + line("M268 196a38 38 0 1 1-16 70", ink.main, 18)
        + path("M112 166h168v72a70 70 0 0 1-70 70h-28a70 70 0 0 1-70-70z", ink.fill)
        + disc(196, 166, 84, ink.light, 17)
        + disc(196, 168, 68, ink.dark, 11)
    )


def lamp(ink: Ink) -> str:
    """A table lamp that is on."""
    return (
        path("M150 196h100l62 124H88z", faint(ink.light, 0.28))
        + rect(192, 190, 16, 116, ink.dark, 4)
        + disc(200, 312, 62, ink.dark, 12)
        + path("M160 84h80l46 116H114z", ink.fill)
        + path("M118 190h164l4 10q0 8-8 8H122q-8 0-8-8z", ink.second)
        + rect(158, 78, 84, 10, ink.third, 5)
    )


def jar(ink: Ink) -> str:
    """A glass jar with a lid."""
    return (
        rect(126, 148, 148, 174, ink.light, 30)
        + rect(140, 200, 120, 108, ink.fill, 20)
        + rect(136, 116, 128, 40, ink.second, 8)
        + rect(136, 134, 128, 8, ink.dark)
        + rect(164, 226, 72, 52, ink.light, 6)
        + heart(200, 240, 14, ink.third)
    )


def candle(ink: Ink) -> str:
    """A candle burning in its holder."""
    return (
        disc(200, 150, 74, faint(ink.second, 0.35))
        + path("M200 96q30 36 0 62q-30-26 0-62z", ink.second)
        + path("M200 122q13 18 0 34q-13-16 0-34z", ink.light)
        + line("M200 158v26", ink.dark, 5)
        + rect(166, 182, 68, 80, ink.light, 10)
        + path("M118 226h164l-20 84q-3 12-15 12h-94q-12 0-15-12z", ink.fill)
        + rect(110, 220, 180, 16, ink.third, 8)
    )


def hanging_heart(ink: Ink) -> str:
    """A heart hung from a ribbon."""
    return (
        line("M200 0v112", ink.dark, 5)
        + line("M200 112q-26-22-40-6t40 22q54-4 40-22t-40 6", ink.third, 9)
        + heart(200, 168, 112, ink.fill)
        + heart(200, 194, 58, ink.light)
        + heart(200, 210, 28, ink.second)
    )


def star(ink: Ink) -> str:
    """A star hung from a thread."""
    outer = "M200 108l30 66 72 8-54 48 15 71-63-36-63 36 15-71-54-48 72-8z"
    return (
        line("M200 0v112", ink.dark, 5)
        + path(outer, ink.fill)
        + path("M200 108v157l-63 36 15-71-54-48 72-8z", faint(ink.dark, 0.14))
        + disc(200, 214, 26, ink.light)
        + disc(200, 214, 11, ink.second)
    )


def bird(ink: Ink) -> str:
    """A bird on a branch."""
    return (
        line("M40 322q160-40 330-14", ink.dark, 10)
        + line("M190 286v26M222 286v24", ink.dark, 6)
        + path("M88 268L40 300l70-4z", ink.third)
        + path("M84 284q14-120 128-124q24-54 74-34l28 18-28 10q14 142-104 144q-64 0-98-14z", ink.fill)
        + path("M120 256q40-76 112-58q-6 76-70 82q-30 2-42-24z", ink.second)
        + path("M312 144l26 4-26 12z", ink.third)
        + disc(272, 146, 7, ink.dark)
    )


def bunting(ink: Ink) -> str:
    """Two strings of flags."""
    flags = ((44, 100, ink.fill), (122, 122, ink.second), (200, 128, ink.light), (278, 122, ink.third))
    parts = [path(f"M{x - 8} {y}h64l-32 84z", colour) for x, y, colour in flags]
    low = ((62, 228, ink.third), (150, 244, ink.fill), (238, 240, ink.second), (316, 222, ink.light))
    parts += [path(f"M{x - 34} {y}h60l-30 76z", colour) for x, y, colour in low]
    ropes = line("M-10 76q210 98 420 0", ink.dark, 6) + line("M-10 206q210 70 420 0", ink.dark, 6)
    return "".join(parts) + ropes


def cake(ink: Ink) -> str:
    """A cake on its stand."""
    return (
        rect(190, 236, 20, 72, ink.light)
        + disc(200, 314, 74, ink.light, 12)
        + disc(200, 240, 130, ink.light, 15)
        + rect(110, 170, 180, 66, ink.fill, 10)
        + path(
            "M110 182q0-18 18-18h144q18 0 18 18v12q-15 22-30 0q-15 22-30 0q-15 22-30 0q-15 22-30 0q-15 22-30 0"
            "q-15 22-30 0z",
            ink.second,
        )
        + disc(200, 146, 20, ink.third)
        + line("M200 128q2-20 20-26", ink.dark, 5)
    )


def cupcake(ink: Ink) -> str:
    """A cupcake with a cherry."""
    return (
        path("M118 216h164l-26 96q-3 10-13 10h-86q-10 0-13-10z", ink.fill)
        + line("M152 226l12 86M184 226l4 88M216 226l-4 88M248 226l-12 86", faint(ink.dark, 0.2), 5)
        + path("M106 214q-8-42 34-48q2-46 60-48q58 2 60 48q42 6 34 48q-4 16-24 14H130q-20 2-24-14z", ink.light)
        + path("M140 166q60 30 120 0q4 20-16 26H156q-20-6-16-26z", ink.second)
        + disc(200, 112, 20, ink.third)
    )


def tin(ink: Ink) -> str:
    """A tin box with a handle."""
    return (
        rect(100, 168, 200, 154, ink.fill, 18)
        + rect(92, 140, 216, 44, ink.second, 12)
        + rect(92, 172, 216, 8, faint(ink.dark, 0.25))
        + line("M166 140v-12q0-16 16-16h36q16 0 16 16v12", ink.dark, 9)
        + disc(200, 250, 48, ink.main)
        + disc(200, 250, 42, ink.light)
        + path("M200 222l9 18 20 3-15 14 4 20-18-10-18 10 4-20-15-14 20-3z", ink.third)
    )


def sign(ink: Ink) -> str:
    """A sign hung from a nail."""
    return (
        line("M132 152L200 62l68 90", ink.dark, 5)
        + disc(200, 62, 8, ink.dark)
        + rect(76, 148, 248, 160, ink.third, 10)
        + rect(88, 160, 224, 136, ink.fill, 4)
        + rect(104, 176, 192, 104, ink.light, 4)
        + rect(128, 198, 144, 14, ink.dark, 7)
        + rect(146, 224, 108, 12, ink.main, 6)
        + rect(160, 248, 80, 10, ink.second, 5)
    )


def frame(ink: Ink) -> str:
    """A framed landscape."""
    return (
        path("M196 318l60-70 20 70z", ink.dark)
        + rect(104, 96, 192, 226, ink.fill, 8)
        + rect(126, 118, 148, 182, ink.light, 3)
        + path("M126 300v-62l46-52 42 44 26-26 34 38v58z", ink.second)
        + disc(238, 158, 18, ink.third)
    )


def clock(ink: Ink) -> str:
    """An alarm clock."""
    return (
        line("M146 296l-22 26M254 296l22 26", ink.dark, 14)
        + disc(140, 122, 34, ink.second)
        + disc(260, 122, 34, ink.second)
        + disc(200, 214, 108, ink.fill)
        + disc(200, 214, 82, ink.light)
        + line("M200 214v-52M200 214l36 22", ink.dark, 9)
        + line("M200 140v8M200 280v8M126 214h8M266 214h8", ink.third, 7)
        + disc(200, 214, 9, ink.third)
    )


def vase(ink: Ink) -> str:
    """A vase with three flowers."""
    return (
        line("M200 190V80M200 170q-50-20-58-78M200 176q48-24 62-70", ink.third, 7)
        + disc(200, 74, 26, ink.second)
        + disc(138, 86, 22, ink.light)
        + disc(266, 98, 24, ink.main)
        + disc(200, 74, 9, ink.dark)
        + path("M168 176h64q-8 30 22 62q34 84-54 84t-54-84q30-32 22-62z", ink.fill)
        + path("M168 176h64l-4 18h-56z", ink.light)
    )


def bottle(ink: Ink) -> str:
    """A bottle with a label."""
    return (
        rect(178, 66, 44, 30, ink.third, 6)
        + path("M182 96h36v48q46 22 46 70v92q0 16-16 16h-96q-16 0-16-16v-92q0-48 46-70z", ink.fill)
        + rect(136, 214, 128, 66, ink.light)
        + rect(156, 230, 88, 10, ink.dark, 5)
        + rect(168, 252, 64, 10, ink.second, 5)
    )


def book(ink: Ink) -> str:
    """A book on two others."""
    return (
        rect(92, 284, 216, 38, ink.third, 6)
        + rect(110, 246, 190, 38, ink.second, 6)
        + rect(110, 258, 190, 12, ink.light)
        + path("M132 92h136q12 0 12 12v142H120V104q0-12 12-12z", ink.fill)
        + rect(120, 92, 22, 154, faint(ink.dark, 0.25))
        + rect(162, 124, 92, 56, ink.light, 4)
        + rect(178, 144, 60, 10, ink.dark, 5)
    )


def card(ink: Ink) -> str:
    """Two cards."""
    return (
        f'<g transform="rotate(-9 200 220)">{rect(104, 110, 150, 204, ink.second, 10)}</g>'
        f'<g transform="rotate(7 200 220)">{rect(140, 106, 152, 208, ink.light, 10)}'
        + rect(154, 120, 124, 180, ink.fill, 4)
        + disc(216, 210, 40, ink.light)
        + heart(216, 200, 22, ink.third)
        + "</g>"
    )


def pencils(ink: Ink) -> str:
    """Pencils in a pot."""
    colours = (ink.second, ink.light, ink.third, ink.main)
    tops = (118, 88, 104, 128)
    parts = []
    for index, (colour, top) in enumerate(zip(colours, tops, strict=True)):
        x = 132 + index * 36
        parts.append(path(f"M{x} {top + 40}l14-40 14 40v140h-28z", colour))
        parts.append(path(f"M{x + 9} {top + 14}l5-14 5 14z", ink.dark))
    return (
        "".join(parts)
        + path("M112 208h176l-10 104q-1 10-11 10H133q-10 0-11-10z", ink.fill)
        + rect(106, 200, 188, 18, ink.dark, 6)
    )


def parasol(ink: Ink) -> str:
    """An open parasol."""
    return (
        line("M200 92v206q0 24 22 24t22-22", ink.dark, 9)
        + path(
            "M64 214a136 136 0 0 1 272 0q-22-20-45 0q-23-20-46 0q-22-20-45 0q-23-20-46 0q-22-20-45 0q-23-20-45 0z",
            ink.fill,
        )
        + path("M154 214q-8-96 46-136q54 40 46 136q-22-20-46 0q-23-20-46 0z", ink.second)
        + disc(200, 78, 9, ink.third)
    )


def cushion(ink: Ink) -> str:
    """A cushion with a button."""
    return (
        path("M92 124q108 22 216 0q22 92 6 196q-114-18-228 0q-16-104 6-196z", ink.fill)
        + path("M92 124q108 22 216 0l-6 26q-102 18-204 0z", ink.second)
        + path("M86 320q114-18 228 0l2-24q-116-18-232 0z", ink.second)
        + disc(200, 222, 16, ink.light)
        + disc(200, 222, 6, ink.dark)
    )


def teapot(ink: Ink) -> str:
    """A teapot."""
    return (
        line("M286 190q60-6 40 52t-66 44", ink.second, 17)
        + path("M122 222q-50-8-62-74l-18-4 8-14 40 4q10 42 50 50z", ink.main)
        + path("M114 318q-44-132 86-140q130 8 86 140z", ink.fill)
        + path("M140 190q60-44 120 0q-60 20-120 0z", ink.light)
        + disc(200, 154, 15, ink.third)
        + rect(128, 308, 144, 14, ink.dark, 7)
    )


def bowl(ink: Ink) -> str:
    """A bowl of fruit."""
    return (
        disc(156, 164, 36, ink.third)
        + disc(232, 158, 42, ink.second)
        + disc(196, 148, 38, ink.main)
        + line("M198 112q4-18 20-24", ink.dark, 6)
        + path("M82 184h236q0 104-84 124h-68q-84-20-84-124z", ink.fill)
        + rect(76, 178, 248, 18, ink.light, 9)
        + rect(152, 304, 96, 18, ink.dark, 6)
    )


def toy(ink: Ink) -> str:
    """A toy rocket."""
    return (
        path("M152 232l-52 54 8 34 52-30zM248 232l52 54-8 34-52-30z", ink.second)
        + path("M200 52q84 90 48 238h-96q-36-148 48-238z", ink.fill)
        + path("M200 52q30 32 44 72h-88q14-40 44-72z", ink.third)
        + disc(200, 188, 32, ink.light)
        + disc(200, 188, 20, ink.dark)
        + path("M168 290h64l-32 42z", ink.second)
        + rect(150, 282, 100, 14, ink.dark, 6)
    )


def ring(ink: Ink) -> str:
    """A ring with a stone."""
    return (
        f'<circle cx="200" cy="236" r="72" fill="none" stroke="{ink.second}" stroke-width="24"/>'
        f'<circle cx="200" cy="236" r="72" fill="none" stroke="{ink.light}" stroke-width="6"'
        ' stroke-dasharray="90 400"/>'
        + path("M146 108h108l30 38-84 74-84-74z", ink.fill)
        + path("M146 108l54 112-84-74z", faint(ink.light, 0.45))
        + path("M254 108l30 38-84 74z", faint(ink.dark, 0.2))
        + path("M170 146h60l-30 74z", faint(ink.light, 0.3))
    )


def plant(ink: Ink) -> str:
    """A plant in its pot."""
    return (
        path("M200 232q-98-20-104-128q92 14 104 128z", ink.second)
        + path("M200 232q98-20 104-128q-92 14-104 128z", ink.third)
        + path("M200 236q-46-92 0-176q46 84 0 176z", ink.main)
        + line("M200 232V92", faint(ink.dark, 0.3), 5)
        + path("M128 222h144l-18 90q-2 10-12 10h-84q-10 0-12-10z", ink.fill)
        + rect(116, 212, 168, 26, ink.light, 8)
    )


def shirt(ink: Ink) -> str:
    """A shirt."""
    return (
        path("M140 98l-70 52 34 58 32-18v134h128V190l32 18 34-58-70-52q-60 44-120 0z", ink.fill)
        + path("M140 98q60 44 120 0l14 10q-74 58-148 0z", ink.second)
        + path("M70 150l34 58 16-9-36-60zM330 150l-34 58-16-9 36-60z", ink.second)
        + rect(214, 196, 34, 36, ink.light, 4)
    )


def trousers(ink: Ink) -> str:
    """Trousers."""
    return (
        path("M124 78h152l26 244h-72l-30-158-30 158H98z", ink.fill)
        + rect(122, 72, 156, 26, ink.second, 6)
        + line("M200 98v58", faint(ink.dark, 0.35), 5)
        + path("M98 322l2-20h74l-4 20zM302 322l-2-20h-74l4 20z", ink.light)
    )


def gift(ink: Ink) -> str:
    """A present with a bow."""
    return (
        line("M200 142q-62-66-76-26t76 26q62-66 76-26t-76 26", ink.third, 14)
        + rect(100, 186, 200, 136, ink.fill, 8)
        + rect(88, 144, 224, 50, ink.main, 8)
        + rect(180, 144, 40, 178, ink.light)
        + rect(100, 194, 200, 10, faint(ink.dark, 0.18))
    )


def lights(ink: Ink) -> str:
    """Strings of lights."""
    places = ((48, 126), (122, 152), (200, 160), (278, 152), (352, 126), (86, 252), (162, 276), (238, 276), (314, 252))
    colours = (ink.light, ink.main, ink.second, ink.light, ink.third, ink.second, ink.light, ink.main, ink.light)
    bulbs = "".join(
        disc(x, y + 12, 34, faint(colour, 0.25))
        + path(f"M{x} {y - 18}q26 34 0 52q-26-18 0-52z", colour)
        + rect(x - 7, y - 24, 14, 14, ink.dark, 3)
        for (x, y), colour in zip(places, colours, strict=True)
    )
    return line("M-10 76q210 116 420 0M-10 196q210 130 420 0", ink.dark, 6) + bulbs


def watch(ink: Ink) -> str:
    """A watch."""
    return (
        rect(162, 40, 76, 110, ink.fill, 14)
        + rect(162, 250, 76, 92, ink.fill, 14)
        + rect(280, 192, 24, 22, ink.dark, 6)
        + disc(200, 204, 88, ink.second)
        + disc(200, 204, 68, ink.light)
        + line("M200 204v-40M200 204l28 18", ink.dark, 8)
        + disc(200, 204, 8, ink.third)
    )


def ball(ink: Ink) -> str:
    """A ball."""
    return (
        disc(200, 208, 114, ink.fill)
        + path("M200 94a114 114 0 0 1 0 228q70-114 0-228z", ink.second)
        + path("M200 94a114 114 0 0 0 0 228q-70-114 0-228z", faint(ink.light, 0.8))
        + disc(200, 104, 14, ink.dark)
    )


def tools(ink: Ink) -> str:
    """A fork and a spoon."""
    return (
        '<g transform="rotate(-14 140 200)">'
        + rect(128, 170, 26, 148, ink.third, 12)
        + disc(141, 124, 42, ink.light, 56)
        + disc(141, 122, 30, ink.second, 42)
        + '</g><g transform="rotate(12 262 200)">'
        + rect(250, 168, 26, 150, ink.fill, 12)
        + path("M222 66h16v60h10V66h30v60h10V66h16v76q0 34-41 34t-41-34z", ink.light)
        + "</g>"
    )


def house(ink: Ink) -> str:
    """A small house."""
    return (
        path("M96 190L200 92l104 98z", ink.second)
        + rect(252, 108, 26, 60, ink.third)
        + rect(116, 186, 168, 136, ink.fill, 4)
        + rect(178, 248, 44, 74, ink.dark, 4)
        + rect(136, 210, 30, 34, ink.light, 3)
        + rect(234, 210, 30, 34, ink.light, 3)
        + disc(200, 158, 13, ink.light)
    )


def shoe(ink: Ink) -> str:
    """A shoe."""
    return (
        path("M78 182q40 22 72-8l84 76q76 6 92 44v12H78z", ink.fill)
        + path("M78 182q40 22 72-8l20 18q-40 38-92 22z", ink.second)
        + line("M186 218l20-18M208 238l20-18M230 256l20-16", ink.light, 8)
        + rect(70, 298, 262, 24, ink.light, 12)
        + path("M250 250q60 6 76 44h-54q-4-28-22-44z", ink.third)
    )
