"""Where personal data is: every column that holds some, sealed or as a keyed hash. A test compares it with the schema.

Nothing else may hold personal data. Whoever adds a column adds it here, and thereby to what is told and erased when a
person asks (GDPR, articles 15 and 17) and re-sealed when the key changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a column keeps personal data."""

    SEALED = "sealed"
    FINGERPRINT = "fingerprint"


@dataclass(frozen=True, slots=True)
class PersonalColumn:
    """A column with personal data, and what it is needed for."""

    schema: str
    table: str
    column: str
    kind: Kind
    why: str
    sealed_as: str = ""
    """The name that is authenticated with it, where that is another column's, into which it is copied as it is."""

    @property
    def name(self) -> str:
        """As `sealing` names it."""
        return f"{self.schema}.{self.table}.{self.column}"


PERSONAL_DATA = (
    PersonalColumn("accounts", "links", "email_fingerprint", Kind.FINGERPRINT, "ending an address's other links"),
    PersonalColumn("accounts", "links", "email_sealed", Kind.SEALED, "whose account a mailed link opens"),
    PersonalColumn("accounts", "people", "email_fingerprint", Kind.FINGERPRINT, "finding an account at sign-in"),
    PersonalColumn("accounts", "people", "email_sealed", Kind.SEALED, "where to write to an account's owner"),
    PersonalColumn("checkout", "addresses", "address_sealed", Kind.SEALED, "the address book of an account"),
    PersonalColumn("checkout", "orders", "email_fingerprint", Kind.FINGERPRINT, "finding what an address ordered"),
    PersonalColumn("checkout", "orders", "email_sealed", Kind.SEALED, "the receipt, and what is told about the order"),
    PersonalColumn("checkout", "orders", "shipping_sealed", Kind.SEALED, "the name and address that goods are sent to"),
    PersonalColumn("notify", "deliveries", "address_sealed", Kind.SEALED, "the name and address of one message"),
    PersonalColumn("notify", "deliveries", "words_sealed", Kind.SEALED, "what an application says to somebody"),
    PersonalColumn("notify", "devices", "device_sealed", Kind.SEALED, "where a device is told, and what it is called"),
    PersonalColumn("notify", "devices", "token_fingerprint", Kind.FINGERPRINT, "finding a device again"),
    PersonalColumn(
        "notify",
        "inbox_messages",
        "words_sealed",
        Kind.SEALED,
        "what an application says, in an inbox",
        sealed_as="notify.deliveries.words_sealed",
    ),
    PersonalColumn(
        "notify",
        "recipients",
        "address_sealed",
        Kind.SEALED,
        "where to write to a follower",
        sealed_as="notify.deliveries.address_sealed",
    ),
    PersonalColumn("notify", "recipients", "email_fingerprint", Kind.FINGERPRINT, "finding a follower's address again"),
    PersonalColumn(
        "notify",
        "sends",
        "words_sealed",
        Kind.SEALED,
        "what an application says to followers",
        sealed_as="notify.deliveries.words_sealed",
    ),
    PersonalColumn(
        "notify",
        "suppression_changes",
        "email_fingerprint",
        Kind.FINGERPRINT,
        "why staff stopped an address, or wrote to it again",
    ),
    PersonalColumn(
        "notify", "suppressions", "email_fingerprint", Kind.FINGERPRINT, "writing no more to an address that bounced"
    ),
    PersonalColumn(
        "notify",
        "words",
        "words_sealed",
        Kind.SEALED,
        "what an application says to followers, in their inboxes",
        sealed_as="notify.deliveries.words_sealed",
    ),
    PersonalColumn(
        "platform",
        "idempotency_keys",
        "pending_sealed",
        Kind.SEALED,
        "an order while its payment is being asked for; written as an order, or gone, within seconds",
    ),
    PersonalColumn(
        "platform", "outbox", "personal_sealed", Kind.SEALED, "what an event's handlers need; erased when done"
    ),
)
"""Sorted by schema, table and column."""

NOT_PERSONAL = {
    "accounts.links.token_hash": "a hash of random bytes",
    "accounts.people.password_hash": "an argon2id hash, which says nothing about its owner",
    "accounts.sessions.token_hash": "a hash of random bytes",
    "catalog.shipping_methods.name": "a way of delivery, such as Express",
    "catalog.shipping_zones.name": "countries that are delivered to alike",
    "catalog.tax_rates.name": "a tax, such as VAT",
    "checkout.carriers.name": "a company that carries parcels",
    "checkout.order_taxes.name": "a tax, such as VAT",
    "checkout.orders.shipping_amount": "what delivery cost",
    "checkout.orders.shipping_code": "a way of delivery",
    "checkout.orders.shipping_name": "a way of delivery, such as Express",
    "gate.rooms.seed_sealed": "the random seed of a draw, kept from everybody until it is drawn",
    "gate.signing_keys.secret_sealed": "the secret half of a key that signs passes and receipts",
    "notify.providers.old_secret_sealed": "what signed a mail provider's receipts before its last rotation",
    "notify.providers.secret_sealed": "what signs a mail provider's receipts",
    "notify.webhook_endpoints.old_secret_sealed": "what signed an endpoint's webhooks before its last rotation",
    "notify.webhook_endpoints.secret_sealed": "what signs an endpoint's webhooks",
    "notify.keys.token_hash": "a hash of random bytes",
    "payments.sandbox_payments.token": "a made-up card of the sandbox, such as tok_ok",
    "platform.idempotency_keys.fingerprint": "a hash of a request, compared and never searched for",
}
"""Columns whose names sound personal, or that are sealed for another reason, and why they are not."""
