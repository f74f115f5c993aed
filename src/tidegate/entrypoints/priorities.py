"""What each request is worth to the shop when it cannot take all of them: by method and address, before any handler.

The first pattern that fits decides; what fits none is browsing. A `*` stands for one part of an address, `**` at the
end for all that follows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tidegate.platform.edge.headers import Header
from tidegate.platform.overload.rules import Priority
from tidegate.web import SESSION_COOKIE

WRITES: Final = "POST PUT PATCH DELETE"
ALL: Final = f"GET {WRITES}"

PATTERNS: Final[tuple[tuple[Priority, str, tuple[str, ...]], ...]] = (
    (Priority.HEALTH, "GET", ("/livez", "/readyz")),
    (
        Priority.REPORTS,
        "GET",
        (
            "/admin/reports/**", "/sitemap.xml", "/sitemaps/**", "/robots.txt", "/openapi.json", "/docs",
            "/problems/**", "/drops/*/draw", "/api/v1/drops/*/draw", "/api/v1/drops/*/entries/**",
            "/api/v1/drops/*/consistency/*", "/api/v1/notify/deliveries", "/api/v1/notify/estimates",
            "/api/v1/notify/dead-letters/**", "/api/v1/notify/topics/**", "/dev/**",
        ),
    ),
    (Priority.STAFF, ALL, ("/admin/**", "/api/v1/admin/**")),
    (
        Priority.PAY,
        ALL,
        (
            "/api/v1/purchases", "/orders/*", "/orders/*/pay", "/orders/*/cancel", "/checkout/*",
            "/api/v1/payments/webhooks/*", "/sandbox/pay/*", "/api/v1/orders/*/cancel",
        ),
    ),
    (Priority.PAY, WRITES, ("/api/v1/orders",)),
    (Priority.PAY, "GET", ("/api/v1/orders/*",)),
    (
        Priority.HOLD,
        ALL,
        (
            "/api/v1/holds/**", "/holds", "/checkout/*/give-up", "/cart/**", "/api/v1/cart/**", "/api/v1/addresses/**",
            "/account/addresses/**",
        ),
    ),
    (
        Priority.JOIN,
        WRITES,
        (
            "/api/v1/drops/*/places/**", "/drops/*/room/**", "/api/v1/guests", "/api/v1/sessions/**",
            "/api/v1/login-links/**", "/api/v1/registrations/**", "/api/v1/password-resets/**",
        ),
    ),
    (Priority.JOIN, ALL, ("/login/**", "/logout", "/register", "/confirm", "/reset/**", "/invitation")),
    (
        Priority.STATUS,
        "GET",
        (
            "/api/v1/drops/*/status", "/api/v1/drops/*/places/**", "/drops/*/room", "/api/v1/gate/keys",
            "/api/v1/inbox/events", "/static/**", "/api/v1/rooms/**", "/api/v1/me",
        ),
    ),
    (Priority.JOIN, WRITES, ("/api/v1/rooms/**", "/rooms/**")),
)  # fmt: skip


def _expression(patterns: Sequence[str]) -> str:
    written = []
    for pattern in patterns:
        exact = re.escape(pattern).replace(r"/\*\*", "(?:/.*)?").replace(r"\*", "[^/]+")
        written.append(exact)
    return "|".join(written)


def _by_method() -> dict[bytes, re.Pattern[bytes]]:
    made = {}
    for method in ALL.split():
        groups = [
            f"(?P<p{place}_{priority.name}>{_expression(patterns)})"
            for place, (priority, methods, patterns) in enumerate(PATTERNS)
            if method in methods.split()
        ]
        made[method.encode()] = re.compile(f"(?:{'|'.join(groups)})/?(?:\\?.*)?".encode())
    return made


EXPRESSIONS: Final = _by_method()
WORTH: Final = {f"p{place}_{priority.name}": priority for place, (priority, _methods, _patterns) in enumerate(PATTERNS)}
KNOWN_MAX: Final = 1_024
SESSION: Final = SESSION_COOKIE.encode() + b"="


class Priorities:
    """Remembers what the addresses are worth that are asked for most."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], Priority] = {}

    def __call__(self, method: bytes, target: bytes, headers: Sequence[Header]) -> Priority:
        """What a request is worth. Staff's places are for people with a session; others only browse there."""
        key = (method, target)
        found = self._known.get(key)
        if found is None:
            found = priority_of(method, target)
            if len(self._known) < KNOWN_MAX and b"?" not in target:
                self._known[key] = found
        if found is Priority.STAFF and not _has_session(headers):
            return Priority.BROWSE
        return found


def priority_of(method: bytes, target: bytes) -> Priority:
    """What a request to this address is worth."""
    expression = EXPRESSIONS.get(b"GET" if method == b"HEAD" else method)
    match = expression.fullmatch(target) if expression is not None else None
    return Priority.BROWSE if match is None or match.lastgroup is None else WORTH[match.lastgroup]


def _has_session(headers: Sequence[Header]) -> bool:
    return any(name == b"authorization" or (name == b"cookie" and SESSION in value) for name, value in headers)
