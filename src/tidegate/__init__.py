"""Tidegate: a shop that stays up on the day everyone comes."""

__version__ = "0.1.0"
