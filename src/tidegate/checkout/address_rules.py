"""What an address must have, and how it travels as a document. No I/O."""

from __future__ import annotations

import re

from tidegate.checkout.contracts import Address
from tidegate.platform.texts import text as _

ADDRESS_FIELDS = ("name", "line1", "city", "postal_code", "country", "region", "phone")
"""The fields of an address, as forms and documents name them."""

BILLING = "billing_"
"""Stands before the name of a field where an order form speaks of the billing address."""

WITH_REGION = frozenset({"AU", "BR", "CA", "CN", "ID", "IN", "JP", "MX", "MY", "TH", "TW", "US"})
"""Countries whose post wants a state, province or prefecture. Elsewhere it may be given and is never asked for."""

MAX_FIELD = 200
MIN_DIGITS, MAX_DIGITS = 5, 15
"""Digits of a phone number (ITU-T E.164 allows 15)."""

COUNTRY = re.compile("[A-Z]{2}")
PHONE = re.compile(r"\+?[0-9 ()./-]{5,40}")


def check_address(address: Address, *, phone_required: bool = False) -> dict[str, str]:
    """What is wrong with an address, by field; empty when nothing is."""
    wrong: dict[str, str] = {}
    for field, words in _WORDS.items():
        value = getattr(address, field)
        if not value.strip():
            wrong[field] = words
        elif len(value) > MAX_FIELD or not value.isprintable():
            wrong[field] = _too_long()
    if "country" not in wrong and not COUNTRY.fullmatch(address.country):
        wrong["country"] = _("Use the two letters of the country, such as GB.")
    if len(address.region) > MAX_FIELD or not address.region.isprintable():
        wrong["region"] = _too_long()
    elif not address.region and address.country in WITH_REGION:
        wrong["region"] = _("Enter the state or province: addresses in this country have one.")
    if (address.phone or phone_required) and not is_phone(address.phone):
        wrong["phone"] = _("Enter a phone number such as +44 20 7946 0958.")
    return wrong


def is_phone(text: str) -> bool:
    """Whether it can be dialled: digits in a usual spelling, with a plus where the country's code is first."""
    return PHONE.fullmatch(text) is not None and MIN_DIGITS <= sum(sign.isdigit() for sign in text) <= MAX_DIGITS


def clean_address(address: Address) -> Address:
    """The address without the blanks around what was typed."""
    return Address(*(getattr(address, field).strip() for field in ADDRESS_FIELDS))


def address_document(address: Address) -> dict[str, str]:
    """An address as it is sealed and told; what was not given is left out."""
    document = {
        "name": address.name,
        "line1": address.line1,
        "city": address.city,
        "postal_code": address.postal_code,
        "country": address.country,
    }
    if address.region:
        document["region"] = address.region
    if address.phone:
        document["phone"] = address.phone
    return document


def _too_long() -> str:
    return _("Use at most %(most)s letters, digits and signs on one line.", most=MAX_FIELD)


_WORDS = {
    "name": _("Enter the name of who receives it."),
    "line1": _("Enter street and number."),
    "city": _("Enter the town."),
    "postal_code": _("Enter the postal code."),
    "country": _("Enter the country."),
}
