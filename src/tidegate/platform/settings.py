"""Every knob of Tidegate, with its unit in its name and its default beside it.

Values come from environment variables (`TIDEGATE_PORT`, `TIDEGATE_HTTP__MAX_BODY_BYTES`), then from
`TIDEGATE_HOME/settings.toml`; the addresses of servers that `tidegate up` runs itself are read from
`TIDEGATE_HOME/run/endpoints.json` when neither names any.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from tidegate.platform.problems import StartupError
from tidegate.platform.settings_bounds import Count
from tidegate.platform.settings_file import read_settings_file, settings_home
from tidegate.platform.settings_gate import AdmissionSettings, GateSettings
from tidegate.platform.settings_notify import (
    ArchiveSettings,
    FollowSettings,
    LiveSettings,
    MailSettings,
    PacingSettings,
)
from tidegate.platform.settings_overload import OverloadSettings
from tidegate.platform.settings_webhooks import WebhookSettings

LOCALE = "^[a-z]{2,3}(_[A-Z]{2})?$"
"""A language, and perhaps a country: `de`, `en_GB`."""


class HttpSettings(BaseModel):
    """The HTTP edge: what is accepted and from whom."""

    base_url: str = Field("", description="Public address of the shop; empty means http://127.0.0.1:PORT.")
    allowed_hosts: list[str] = Field(
        ["127.0.0.1", "localhost", "[::1]"], description="Host names that requests may carry; others get 400."
    )
    trusted_proxies: list[str] = Field([], description="Networks (CIDR) whose X-Forwarded-* headers are believed.")
    max_body_bytes: Count = Field(1_048_576, description="Largest request body; larger ones get 413.")
    max_header_bytes: Count = Field(32_768, description="Largest request line plus headers; larger ones get 431.")
    max_form_fields: Count = Field(1_000, description="Most fields in one posted form.")
    request_timeout_s: Count = Field(30, description="Longest that a request may take before it is answered with 503.")
    keep_alive_s: Count = Field(15, description="How long an idle connection is kept.")
    max_connections: Count = Field(4_096, description="Most connections per site process; more get 503.")
    shutdown_grace_s: Count = Field(10, description="How long requests in flight may finish at shutdown.")


class DatabaseSettings(BaseModel):
    """Connection pools and limits towards PostgreSQL."""

    pool_min: Count = Field(1, description="Connections kept open per process.")
    pool_max: Count = Field(8, description="Most connections per process.")
    pool_wait_s: float = Field(5.0, gt=0, description="How long a request waits for a free connection.")
    breaker_failures: Count = Field(
        3, description="Waits in vain in a row, without a connection for anybody, after which nobody waits any more."
    )
    breaker_pause_s: float = Field(1.0, gt=0, description="Pause until one request finds out whether there is one.")
    connect_timeout_s: Count = Field(5, description="Longest wait for a new connection.")
    statement_timeout_ms: Count = Field(10_000, description="Longest statement.")
    idle_in_transaction_timeout_ms: Count = Field(15_000, description="Longest idle time inside a transaction.")
    lock_timeout_ms: Count = Field(3_000, description="Longest wait for one lock.")
    embedded_max_connections: Count = Field(120, description="max_connections of the embedded PostgreSQL.")
    embedded_memory_share: float = Field(
        0.15, gt=0, le=0.5, description="Share of the machine's memory for shared_buffers of the embedded PostgreSQL."
    )
    partitions_ahead_months: Count = Field(3, description="How many months of partitions are made ahead of time.")


class CacheSettings(BaseModel):
    """Limits towards Valkey."""

    timeout_ms: Count = Field(1_000, description="Longest wait for an answer of Valkey.")
    embedded_max_memory_mb: Count = Field(256, description="maxmemory of the embedded Valkey.")


class JobSettings(BaseModel):
    """Celery workers, the outbox relay and the scheduler."""

    worker_processes: Count = Field(
        2, description="Processes of Celery workers; from two on, `up` keeps one of them for what is urgent."
    )
    relay_batch: Count = Field(500, description="Most outbox events taken at once.")
    relay_poll_ms: Count = Field(500, description="Pause between looks into the outbox while nothing says it has more.")
    relay_gap_ms: Count = Field(
        250, description="Pause after events were handed out: what is written meanwhile goes together."
    )
    event_lease_s: Count = Field(60, description="How long a handler has before its event is handed out again.")
    event_max_attempts: Count = Field(12, description="Attempts before an event is set aside as dead.")
    retry_base_s: Count = Field(2, description="First pause before a repeated attempt; doubles with jitter.")
    retry_cap_s: Count = Field(900, description="Longest pause before a repeated attempt.")
    visibility_timeout_s: Count = Field(600, description="When the broker hands unacknowledged work to another worker.")
    task_time_limit_s: Count = Field(120, description="Longest run of one task.")
    soft_shutdown_s: Count = Field(3, description="How long running tasks may finish when a worker is stopped.")
    broker_timeout_s: Count = Field(5, description="Longest wait for the broker to connect or answer.")
    queue_max: Count = Field(1_000, description="Most tasks that wait in the broker; further work waits in PostgreSQL.")
    stall_s: Count = Field(30, description="A worker that takes nothing from a filled queue for so long ends itself.")
    lane_patience_s: float = Field(
        5.0, gt=0, description="A lane that was passed over for so long while others had tasks is asked first, once."
    )
    notify_sweep_s: Count = Field(5, description="Pause between two looks for messages that were left lying.")
    retention_days: Count = Field(90, description="Age at which outbox and delivery partitions are dropped.")
    inbox_days: Count = Field(
        730, description="Age at which inbox partitions are dropped; what sends said and posts leave after them."
    )


class BatchSettings(BaseModel):
    """Batches of buying, and of sessions, guests and codes: what arrives while one runs forms the next."""

    batch_max: Count = Field(512, description="Most requests settled in one transaction.")
    queue_max: Count = Field(10_000, description="Most requests that wait for a batch, per kind; more get 503.")
    deadline_s: float = Field(5.0, gt=0, description="Longest wait for a batch, and longest time of its repeats.")
    linger_ms: int = Field(0, ge=0, description="How long the first request of a batch waits for company.")
    lookups_apart_ms: int = Field(
        3, ge=0, description="Shortest time from one batch of look-ups (of sessions, of places) to the next."
    )


class HoldSettings(BaseModel):
    """How long stock is kept for a shopper, and how much at most."""

    ttl_s: Count = Field(300, description="Life of a hold from its placing.")
    payment_window_s: Count = Field(600, description="Life of a hold from the placing of its order.")
    max_lines: Count = Field(50, description="Most lines in one hold.")
    max_quantity: Count = Field(100, description="Most items in one line.")
    max_live_per_buyer: Count = Field(10, description="Most holds outside drops that one buyer may have at once.")
    sweep_interval_ms: Count = Field(500, description="Pause between two sweeps of expired holds.")
    sweep_batch: Count = Field(500, description="Most holds expired in one transaction.")


class OrderSettings(BaseModel):
    """What may be done with an order after it was placed."""

    buyer_cancels_paid: bool = Field(True, description="Whether buyers may cancel what is paid and not sent yet.")
    undo_sent_s: Count = Field(3_600, description="How long staff may take back that a parcel was sent.")
    page_size: Count = Field(25, description="Orders on one page of a list.")
    phone_required: bool = Field(False, description="Whether an order needs a phone number with its address.")


class CartSettings(BaseModel):
    """What people mean to buy; a cart's bounds are those of a hold."""

    keep_days: Count = Field(90, description="How long a cart is kept that nobody touches.")
    code_guesses: Count = Field(
        10, description="Discount codes that do not exist, per session in code_window_s, before none is taken any more."
    )
    code_guesses_per_network: Count = Field(
        60, description="The same per network address, behind which many buyers may be. Both fail open without Valkey."
    )
    code_window_s: Count = Field(600, description="Window of code_guesses and code_guesses_per_network.")


class PaymentSettings(BaseModel):
    """Towards payment providers."""

    provider_timeout_s: float = Field(15.0, gt=0, description="Longest wait for an answer of a provider.")
    breaker_failures: Count = Field(20, description="Calls in a row without an answer, after which no more are made.")
    breaker_pause_s: float = Field(5.0, gt=0, description="Pause until one call finds out whether it answers again.")
    reconcile_after_s: Count = Field(5, description="Age at which an unsettled charge is asked about.")
    reconcile_batch: Count = Field(100, description="Most charges asked about in one round.")
    ask_at_once: Count = Field(24, description="Most questions to providers in flight at once.")
    reconcile_interval_ms: Count = Field(1_000, description="Pause between two rounds.")
    webhook_keep_days: Count = Field(90, description="How long a provider's webhooks are kept once applied.")
    webhook_tolerance_s: Count = Field(300, description="Oldest signature of a webhook that is believed.")
    stripe_secret_key: SecretStr = Field(
        SecretStr(""), description="Stripe's secret or restricted key (`sk_...`, `rk_...`); empty: no Stripe."
    )
    stripe_webhook_secrets: SecretStr = Field(
        SecretStr(""), description="Signing secrets of the webhook endpoint, `whsec_NEW,whsec_OLD`, the newest first."
    )
    stripe_session_minutes: int = Field(
        35, ge=30, le=720, description="Life of Stripe's page after the order's time, unless the shop ends it itself."
    )
    stripe_page_origin: str = Field(
        "https://checkout.stripe.com",
        pattern=r"^https?://[^\s;,/]+$",
        description="Where Stripe's pages are; another one with a custom domain.",
    )
    stripe_api_base: str = Field("", description="Where Stripe's API is, for tests; empty: Stripe's own.")
    sandbox_url: str = Field(
        "", pattern=r"^(http://[^\s/]+)?$", description="Where the sandbox answers; empty: in the shop's own processes."
    )
    sandbox_slow_s: float = Field(3.0, ge=0, description="How long the sandbox's slow card takes.")
    sandbox_late_s: float = Field(20.0, ge=0, description="How late the sandbox's late webhook comes.")


class IdempotencySettings(BaseModel):
    """Life of idempotency keys."""

    keep_days: Count = Field(30, description="How long an answer is kept for its key.")
    wait_s: float = Field(5.0, ge=0, description="How long a twin waits for the first request before it gets 409.")


class BooksSettings(BaseModel):
    """The books: whether stock, orders and money add up, by `tidegate books` and in the scheduler."""

    interval_s: Count = Field(300, description="Pause between two checks in the scheduler.")
    timeout_s: Count = Field(120, description="Longest check of all rules together.")
    max_rows: Count = Field(20, description="Most rows that are shown of a broken rule; the others are counted.")
    work_mem_mb: Count = Field(32, description="Memory of one sort or hash of a check; larger ones use the disk.")
    hold_late_s: Count = Field(60, description="A hold this long past its expiry should have given its stock back.")
    order_late_s: Count = Field(300, description="An unpaid order this long past its time should be cancelled.")
    unresolved_s: Count = Field(
        1_800, description="A charge, refund or key this much older than a payment window should be settled."
    )


class AccountSettings(BaseModel):
    """Sessions and passwords."""

    session_days: Count = Field(30, description="Absolute life of a session.")
    session_idle_days: Count = Field(14, description="Life of a session without use.")
    hash_workers: Count = Field(1, description="Threads that hash passwords, per process.")
    hash_queue: Count = Field(16, description="Most log-ins that wait for a thread; more get 503.")
    login_attempts: Count = Field(10, description="Failed log-ins per account in login_window_s.")
    login_attempts_per_network: Count = Field(100, description="The same per network, which many people may share.")
    login_window_s: Count = Field(300, description="Window of login_attempts, link_requests and theirs per network.")
    link_requests: Count = Field(
        5, description="Mailed links per e-mail address in login_window_s. Fails open without Valkey."
    )
    link_requests_per_network: Count = Field(100, description="The same per network, which many people may share.")
    link_minutes: Count = Field(30, description="Life of a mailed link.")
    invitation_hours: Count = Field(72, description="Life of an invitation to work in the shop.")
    people_page: Count = Field(50, description="Accounts per page in the list of people.")
    session_cache_s: Count = Field(60, description="How long Valkey keeps a session that was looked up.")
    session_cache_timeout_ms: Count = Field(
        250, description="Longest wait for Valkey when sessions are looked up; then the database is asked."
    )
    purchase_requests_per_minute: int = Field(
        120,
        ge=0,
        description="Most holds, orders and purchases that one session may ask for in a minute; 0: no limit. "
        "It fails open: while Valkey is away nothing is counted.",
    )


class CatalogSettings(BaseModel):
    """Catalogue and imports."""

    page_default: Count = Field(24, description="Products per page unless asked otherwise.")
    page_max: Count = Field(100, description="Most products per page.")
    import_max_bytes: Count = Field(1_073_741_824, description="Largest import file.")
    import_batch: Count = Field(500, description="Products written per transaction of an import.")
    import_max_field_bytes: Count = Field(131_072, description="Largest cell of an import file.")
    snapshot_max: Count = Field(
        20_000, description="Most SKUs, as many variants and voucher codes, and unknown ones, that a process keeps."
    )
    kept_max_bytes: int = Field(
        33_554_432,
        ge=0,
        description="Most bytes of finished pages and API answers of the catalogue that a process keeps; 0 keeps none, "
        "and each request then asks the database.",
    )
    kept_stale_s: Count = Field(
        1_800, description="How long what is kept is shown, with a note, while the database is away."
    )
    kept_max_variants: Count = Field(5_000, description="Most variants whose stock is looked after for kept answers.")
    stock_refresh_ms: Count = Field(700, description="How often the stock behind kept answers is read.")


class PictureSettings(BaseModel):
    """Uploaded pictures: what is taken, who works on it, and how long files stay that nothing shows."""

    max_bytes: Count = Field(15_728_640, description="Largest picture file that staff may upload.")
    max_megapixels: int = Field(50, ge=1, le=80, description="Most millions of pixels of an uploaded picture.")
    max_per_product: int = Field(20, ge=1, le=100, description="Most pictures of one product.")
    workers: Count = Field(1, description="Threads that work on uploaded pictures, per process; each may take 500 MB.")
    queue: Count = Field(4, description="Most uploads that wait for a thread; more get 503.")
    keep_unused_hours: Count = Field(24, description="How long a picture's files stay after nothing shows it any more.")
    sweep_batch: Count = Field(50, description="Most pictures that one round of the scheduler removes the files of.")


class SecuritySettings(BaseModel):
    """Keys. `tidegate up` makes its own in TIDEGATE_HOME/secrets.json."""

    sealing_keys: SecretStr = Field(
        SecretStr(""), description="Keys for personal data: `2:BASE64,1:BASE64`, the newest first, 32 bytes each."
    )
    fingerprint_key: SecretStr = Field(SecretStr(""), description="Key of the search hashes, base64, 32 bytes.")
    form_key: SecretStr = Field(SecretStr(""), description="Key of form tokens and cursors, base64, 32 bytes.")
    sandbox_webhook_secret: SecretStr = Field(SecretStr(""), description="Secret of the sandbox's webhooks.")
    cookie_secure: bool = Field(False, description="Cookies over HTTPS only; switch on in production.")


class ObservabilitySettings(BaseModel):
    """Logs and metrics."""

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level that is logged.")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: JSON unless on a terminal.")
    metrics_host: str = Field("127.0.0.1", description="Address of the metrics ports.")
    metrics_port: int = Field(0, ge=0, le=65535, description="Metrics port of this process; 0 takes a free one.")
    metrics_port_base: Count = Field(9464, description="First metrics port that `tidegate up` tries to give away.")
    sample_s: float = Field(10.0, gt=0, le=10, description="How often the status page's figures are measured.")
    scrape: list[str] = Field(
        [], max_length=100, description="Metrics ports (host:port) of processes elsewhere that the status page shows."
    )


class SupervisorSettings(BaseModel):
    """`tidegate up`."""

    site_processes: Count = Field(2, description="Site processes.")
    gate_processes: int = Field(0, ge=0, description="Processes for the waiting rooms alone; 0: the site serves them.")
    checkout_processes: int = Field(0, ge=0, description="Processes for buying alone; 0: the site sells.")
    restart_base_ms: Count = Field(200, description="First pause before a dead child is started again; doubles.")
    restart_cap_ms: Count = Field(10_000, description="Longest pause before a dead child is started again.")
    start_timeout_s: Count = Field(60, description="How long a child may take to become ready.")
    stop_timeout_s: Count = Field(10, description="How long a child may take to stop before it is killed.")
    detours: dict[str, Annotated[int, Field(ge=1, le=65_535)]] = Field(
        {},
        max_length=4,
        description="Ports of this machine over which the shop's processes reach `postgres`, `valkey`, `smtp` and "
        "`gateway` (the sandbox, then a process of its own), for rehearsals that break them.",
    )
    demo_drop_opens_in_s: Count = Field(120, description="When the demo drop opens after `tidegate up --demo`.")


class Settings(BaseSettings):
    """All settings; `docs/reference/settings.md` lists them."""

    model_config = SettingsConfigDict(
        env_prefix="TIDEGATE_", env_nested_delimiter="__", extra="ignore", frozen=True, validate_default=True
    )

    home: Path = Field(Path(".tidegate"), description="Data folder of this shop.")
    host: str = Field("127.0.0.1", description="Address that the site listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port that the site listens on.")
    database_url: SecretStr = Field(SecretStr(""), description="PostgreSQL; empty: `tidegate up` runs its own.")
    valkey_url: SecretStr = Field(SecretStr(""), description="Valkey; empty: `tidegate up` runs its own.")
    broker_url: SecretStr = Field(SecretStr(""), description="Celery's broker; empty: the same Valkey.")
    shop_name: str = Field("Tidegate", description="Name of the shop, as shoppers read it.")
    currency: str = Field("GBP", pattern="^[A-Z]{3}$", description="Currency of the shop (ISO 4217).")
    locale: str = Field("en_GB", pattern=LOCALE, description="The shop's own locale: language, prices and dates.")
    locales: Annotated[tuple[Annotated[str, Field(pattern=LOCALE)], ...], Field(max_length=8)] = Field(
        ("en_GB", "de_DE"), description="Locales that a visitor may read the shop in, as a JSON list."
    )
    demo: bool = Field(False, description="Demo mode: sandbox payments and /dev pages.")

    http: HttpSettings = HttpSettings()
    database: DatabaseSettings = DatabaseSettings()
    cache: CacheSettings = CacheSettings()
    jobs: JobSettings = JobSettings()
    archive: ArchiveSettings = ArchiveSettings()
    engine: BatchSettings = BatchSettings()
    holds: HoldSettings = HoldSettings()
    orders: OrderSettings = OrderSettings()
    carts: CartSettings = CartSettings()
    payments: PaymentSettings = PaymentSettings()
    idempotency: IdempotencySettings = IdempotencySettings()
    books: BooksSettings = BooksSettings()
    mail: MailSettings = MailSettings()
    follows: FollowSettings = FollowSettings()
    webhooks: WebhookSettings = WebhookSettings()
    live: LiveSettings = LiveSettings()
    pacing: PacingSettings = PacingSettings()
    accounts: AccountSettings = AccountSettings()
    catalog: CatalogSettings = CatalogSettings()
    pictures: PictureSettings = PictureSettings()
    gate: GateSettings = GateSettings()
    admission: AdmissionSettings = AdmissionSettings()
    overload: OverloadSettings = OverloadSettings()
    security: SecuritySettings = SecuritySettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    supervisor: SupervisorSettings = SupervisorSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the settings file of the shop's data folder."""
        home = settings_home(init_settings().get("home"), default=cls.model_fields["home"].default)
        written = InitSettingsSource(settings_cls, init_kwargs=read_settings_file(home, cls))
        return (init_settings, env_settings, written)

    @property
    def base_url(self) -> str:
        """Public address without a trailing slash."""
        return (self.http.base_url or f"http://127.0.0.1:{self.port}").rstrip("/")

    @property
    def pictures_folder(self) -> Path:
        """Where the files of uploaded pictures lie; backups take every folder like it."""
        return self.home.absolute() / "pictures"

    @property
    def archive_folder(self) -> Path:
        """Where months of messages are archived."""
        return self.archive.folder or self.home.absolute() / "archive"

    @property
    def endpoints_file(self) -> Path:
        """Where a running `tidegate up` says which servers it runs."""
        return self.home.absolute() / "run" / "endpoints.json"

    def require_database_url(self) -> str:
        """The PostgreSQL URL. Raises StartupError when there is none."""
        return self._require(self.database_url, "database", "TIDEGATE_DATABASE_URL")

    def require_valkey_url(self) -> str:
        """The Valkey URL. Raises StartupError when there is none."""
        return self._require(self.valkey_url, "Valkey", "TIDEGATE_VALKEY_URL")

    def require_broker_url(self) -> str:
        """The broker's URL: its own, else Valkey's. Raises StartupError when there is neither."""
        return self.broker_url.get_secret_value() or self.require_valkey_url()

    def _require(self, url: SecretStr, what: str, variable: str) -> str:
        value = url.get_secret_value()
        if not value:
            raise StartupError(
                f"no {what} to talk to: start the shop with `tidegate up` (TIDEGATE_HOME={self.home}) or set {variable}"
            )
        return value


def load_settings(**overrides: Any) -> Settings:
    """Read the settings anew; values of a running `tidegate up` fill what the environment leaves open.

    Raises: StartupError naming the first setting that is wrong.
    """
    try:
        settings = Settings(**overrides)
        missing = _endpoints(settings) | _generated_secrets(settings)
        return settings.model_copy(update=missing) if missing else settings
    except ValidationError as error:
        first = error.errors()[0]
        name = "TIDEGATE_" + "__".join(str(part) for part in first["loc"]).upper()
        raise StartupError(f"{name}: {first['msg']}") from None


@lru_cache(maxsize=1)
def current_settings() -> Settings:
    """The settings of this process, read once."""
    return load_settings()


def _endpoints(settings: Settings) -> dict[str, Any]:
    """URLs (and the mail server) of a running supervisor that `settings` does not name itself."""
    try:
        found = json.loads(settings.endpoints_file.read_text())
    except (OSError, ValueError):
        return {}
    urls: dict[str, Any] = {
        name: SecretStr(found[name])
        for name in ("database_url", "valkey_url", "broker_url")
        if found.get(name) and not getattr(settings, name).get_secret_value()
    }
    if found.get("smtp_url") and not settings.mail.smtp_url:
        urls["mail"] = settings.mail.model_copy(update={"smtp_url": found["smtp_url"]})
    if found.get("base_url") and not settings.http.base_url:
        urls["http"] = settings.http.model_copy(update={"base_url": found["base_url"]})
    if found.get("demo"):
        urls["demo"] = True
    return urls


def _generated_secrets(settings: Settings) -> dict[str, Any]:
    """Keys from TIDEGATE_HOME/secrets.json that the environment does not set."""
    try:
        known = json.loads((settings.home / "secrets.json").read_text())
    except (OSError, ValueError):
        return {}
    missing = {
        name: SecretStr(known[name])
        for name in SecuritySettings.model_fields
        if name in known and not getattr(settings.security, name).get_secret_value()
    }
    return {"security": settings.security.model_copy(update=missing)} if missing else {}
