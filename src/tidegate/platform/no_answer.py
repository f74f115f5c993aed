"""What httpx raises when a server gives no answer."""

from __future__ import annotations

from typing import Final

import httpx

NO_HTTP_ANSWER: Final = (httpx.HTTPError, AttributeError)
"""AttributeError is anyio's, on uvloop, for a connection that was reset as it was made: its socket is gone when
httpcore asks about it, and httpx passes that on as it is."""
