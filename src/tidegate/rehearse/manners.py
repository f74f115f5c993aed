"""How shoppers behave: pauses, shares and what refusals mean to them."""

from __future__ import annotations

BROKEN_TRIES = 5
"""So many lost connections or failures in a row end a visit."""

OPENING_S = 1.0
"""Pause of somebody who came before the opening of a drop without a room."""

PANIC_S, BOT_S = 1.0, 0.05
UNANSWERED_S = 10.0
"""Who waited so long for an answer when everything ends has met a failure."""

QUIT_SHARE = 0.2
"""Chance that somebody who gives up does so at a look at the room."""

REFUSED_FOR_LOAD = (429, 503)
SOLD_OUT = frozenset({"sold-out", "room-sold-out", "room-closed"})
LATER = frozenset({"lobby-not-open", "pass-expired", "hold-expired"})
