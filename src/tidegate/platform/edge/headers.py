"""Headers of every response that does not bring its own."""

from __future__ import annotations

from tidegate.platform.settings import Settings

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere (CSP Level 3)."""

UNUSED_FEATURES = (
    "accelerometer", "camera", "geolocation", "gyroscope", "magnetometer", "microphone", "payment", "usb",
)  # fmt: skip
PERMISSIONS_POLICY = ", ".join(f"{feature}=()" for feature in UNUSED_FEATURES)

Header = tuple[bytes, bytes]


def content_security_policy(settings: Settings) -> str:
    """The policy of this shop: a form may also lead to the payment provider's page, where there is one."""
    limits = settings.payments
    if not limits.stripe_secret_key.get_secret_value():
        return CONTENT_SECURITY_POLICY
    return CONTENT_SECURITY_POLICY.replace("form-action 'self'", f"form-action 'self' {limits.stripe_page_origin}")


def default_headers(settings: Settings) -> tuple[Header, ...]:
    """Security headers; strict transport security only where cookies are for HTTPS, which says that HTTPS is there."""
    headers = {
        "content-security-policy": content_security_policy(settings),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": PERMISSIONS_POLICY,
    }
    if settings.security.cookie_secure:
        headers["strict-transport-security"] = "max-age=31536000"
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


def cache_default(path: str) -> Header:
    """Answers of the API are nobody's to keep; pages may be kept by the browser that asks again each time."""
    return (b"cache-control", b"no-store" if path.startswith("/api/") else b"private, no-cache")
