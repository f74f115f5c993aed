"""Words that an application has said: they may be about a person, so they are sealed wherever they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tidegate.platform.sealing import current_sealer

WORDS: Final = "notify.deliveries.words_sealed"
"""What words are sealed as, wherever they are: those of a send are its deliveries', too."""


def seal_words(words: Mapping[str, Any]) -> bytes:
    """Words as they are kept."""
    return current_sealer().seal_json(dict(words), column=WORDS)


def open_words(sealed: bytes | None) -> dict[str, Any]:
    """Words again; none where there are none. Raises: SealBroken."""
    return {} if sealed is None else current_sealer().open_json(bytes(sealed), column=WORDS)
