"""What can be told from the settings and this machine alone."""

from __future__ import annotations

import base64
import binascii
import re
import shutil
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from tidegate.ops.findings import Finding, broken, ok, unsafe
from tidegate.platform.problems import StartupError
from tidegate.platform.sealing import make_sealer
from tidegate.platform.settings import Settings
from tidegate.platform.settings_file import NAME as SETTINGS_FILE

LITTLE_SPACE_BYTES = 2 * 1024**3
NO_SPACE_BYTES = 256 * 1024**2
STRIPE_KEY = re.compile(r"(sk|rk)_(live|test)_\w+", re.ASCII)
WEBHOOK_SECRETS = re.compile(r"whsec_[^,\s]+(,whsec_[^,\s]+)*", re.ASCII)


def settings_findings(settings: Settings) -> Iterator[Finding]:
    """All of them, in the order in which they are shown."""
    yield shop_name(settings)
    yield demo_mode(settings)
    yield address(settings)
    yield hosts(settings)
    yield proxies(settings)
    yield cookies(settings)
    yield keys(settings)
    yield draws(settings)
    yield from private_files(settings.home)
    yield disk(settings.home)


def shop_name(settings: Settings) -> Finding:
    """What shoppers read on every page and mail."""
    if settings.shop_name == Settings.model_fields["shop_name"].default:
        return unsafe("shop name", f"still {settings.shop_name}", "run `tidegate init`, or set TIDEGATE_SHOP_NAME")
    return ok("shop name", settings.shop_name)


def demo_mode(settings: Settings) -> Finding:
    """Demo mode takes play money and shows mails to everybody."""
    if settings.demo:
        return unsafe("demo mode", "on: orders are paid with play money, /dev shows every mail", "start without --demo")
    return ok("demo mode", "off")


def address(settings: Settings) -> Finding:
    """The public address."""
    parts = urlsplit(settings.base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return broken("address", f"{settings.base_url} is no address", "set TIDEGATE_HTTP__BASE_URL")
    if _is_here(parts.hostname):
        return unsafe("address", f"{settings.base_url}: only this machine", "set TIDEGATE_HTTP__BASE_URL")
    if parts.scheme != "https":
        return unsafe(
            "address", f"{settings.base_url} is not https", "put a proxy with a certificate in front, then change it"
        )
    return ok("address", settings.base_url)


def hosts(settings: Settings) -> Finding:
    """Whether the shop answers under its own address."""
    allowed = [host.lower() for host in settings.http.allowed_hosts]
    host = urlsplit(settings.base_url).hostname or ""
    own = f"[{host}]" if ":" in host else host
    if own not in allowed and "*" not in allowed:
        return broken("host names", f"{own} is not allowed: every page answers 400", "add TIDEGATE_HTTP__ALLOWED_HOSTS")
    if "*" in allowed:
        return unsafe("host names", "any: links in mails can be bent", "name them in TIDEGATE_HTTP__ALLOWED_HOSTS")
    return ok("host names", ", ".join(allowed))


def proxies(settings: Settings) -> Finding:
    """Behind a proxy that is not trusted, all shoppers have one address, and share its limits."""
    trusted = settings.http.trusted_proxies
    if not trusted and settings.base_url.startswith("https://"):
        return unsafe(
            "proxy",
            "https, but no proxy is trusted: all shoppers share one address",
            "set TIDEGATE_HTTP__TRUSTED_PROXIES",
        )
    if any(network.endswith("/0") for network in trusted):
        return unsafe("proxy", "everybody is trusted: addresses can be invented", "name the proxy's own network")
    return ok("proxy", ", ".join(trusted) or "none")


def cookies(settings: Settings) -> Finding:
    """Session cookies over https only."""
    if settings.security.cookie_secure:
        return ok("cookies", "over https only")
    return unsafe("cookies", "also over http", "set TIDEGATE_SECURITY__COOKIE_SECURE=true")


def keys(settings: Settings) -> Finding:
    """The keys of personal data and forms."""
    try:
        sealer = make_sealer(settings.security)
    except StartupError as error:
        return broken("keys", str(error), "run `tidegate up` once, or restore secrets.json")
    form = settings.security.form_key.get_secret_value()
    try:
        long_enough = len(base64.b64decode(form, validate=True)) >= 32
    except binascii.Error:
        long_enough = False
    if not long_enough:
        return broken("keys", "the form key is missing or malformed", "set TIDEGATE_SECURITY__FORM_KEY")
    weak = [value for value in (sealer.fingerprint_key, base64.b64decode(form)) if len(set(value)) < 8]
    if weak:
        return unsafe("keys", "a key is not random", "make new ones with a random generator")
    return ok("keys", f"personal data is sealed with key {sealer.newest}")


def draws(settings: Settings) -> Finding:
    """Whether a value from outside goes into draws. A hint: draws without one are good, and say what they are."""
    source = settings.gate.beacon_url
    if not source:
        return ok("draws", "without a value from outside: reproducible only; TIDEGATE_GATE__BEACON_URL names a beacon")
    return ok("draws", "with a value that staff draw after the opening" if source == "staff" else f"with {source}")


def private_files(home: Path) -> Iterator[Finding]:
    """Files with secrets are their owner's alone."""
    for name in (SETTINGS_FILE, "secrets.json"):
        file = home / name
        try:
            mode = file.stat().st_mode & 0o777
        except OSError:
            continue
        if mode & 0o077:
            yield unsafe(name, f"others may read {file}", f"chmod 600 {file}")
        else:
            yield ok(name, f"{file}, its owner's alone")


def disk(home: Path) -> Finding:
    """Room for the database and logs."""
    folder = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    usage = shutil.disk_usage(folder)
    free = f"{usage.free / 1024**3:,.1f} GiB free at {folder}"
    if usage.free < NO_SPACE_BYTES:
        return broken("disk", free, "make room: a full disk stops the database")
    if usage.free < LITTLE_SPACE_BYTES:
        return unsafe("disk", free, "make room before a sale")
    return ok("disk", free)


def payment_keys(settings: Settings) -> Finding:
    """The form of Stripe's keys; whether they work is asked elsewhere."""
    key = settings.payments.stripe_secret_key.get_secret_value()
    secrets = settings.payments.stripe_webhook_secrets.get_secret_value()
    if not key:
        return unsafe(
            "payment keys", "none: nothing can be paid with money", "set TIDEGATE_PAYMENTS__STRIPE_SECRET_KEY"
        )
    if not STRIPE_KEY.fullmatch(key):
        return broken("payment keys", "the secret key does not begin with sk_ or rk_", "copy the secret key once more")
    if not WEBHOOK_SECRETS.fullmatch(secrets):
        return broken(
            "payment keys",
            "the webhooks' signing secret is missing or malformed",
            "set TIDEGATE_PAYMENTS__STRIPE_WEBHOOK_SECRETS",
        )
    if "_test_" in key[:8]:
        return unsafe("payment keys", "of Stripe's test mode: no money moves", "use the live keys")
    return ok("payment keys", "of Stripe's live mode")


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
