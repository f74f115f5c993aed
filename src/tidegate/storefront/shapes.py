"""SVG elements that pictures are made of; colours are `#RRGGBB`, `#RRGGBBAA` or `url(#...)`."""

from __future__ import annotations


def faint(colour: str, opacity: float) -> str:
    """`#RRGGBB` made see-through: `opacity` from 0 to 1."""
    return f"{colour}{round(opacity * 255):02x}"


def path(d: str, fill: str) -> str:
    """A filled path."""
    return f'<path d="{d}" fill="{fill}"/>'


def line(d: str, stroke: str, width: int) -> str:
    """An open path with round ends."""
    return f'<path d="{d}" fill="none" stroke="{stroke}" stroke-width="{width}" stroke-linecap="round"/>'


def rect(x: int, y: int, w: int, h: int, fill: str, r: int = 0) -> str:
    """A rectangle with corners of radius `r`."""
    return f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="{r}" fill="{fill}"/>'


def disc(x: int, y: int, r: int, fill: str, ry: int | None = None) -> str:
    """A circle, or an ellipse where `ry` is given."""
    if ry is None:
        return f'<circle cx="{x}" cy="{y}" r="{r}" fill="{fill}"/>'
    return f'<ellipse cx="{x}" cy="{y}" rx="{r}" ry="{ry}" fill="{fill}"/>'


def heart(x: int, y: int, size: int, fill: str) -> str:
    """A heart with its notch at (x, y); `size` is half its width."""
    s = size
    return path(
        f"M{x} {y}c{s * 0.2:.0f} {-s * 0.6:.0f} {s} {-s * 0.6:.0f} {s} {s * 0.15:.0f}"
        f"c0 {s * 0.6:.0f} {-s * 0.6:.0f} {s * 0.9:.0f} {-s} {s * 1.3:.0f}"
        f"c{-s * 0.4:.0f} {-s * 0.4:.0f} {-s} {-s * 0.7:.0f} {-s} {-s * 1.3:.0f}"
        f"c0 {-s * 0.75:.0f} {s * 0.8:.0f} {-s * 0.75:.0f} {s} {-s * 0.15:.0f}z",
        fill,
    )
