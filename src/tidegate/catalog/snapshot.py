"""What a process keeps of the catalogue, so that a buyer's transaction asks for a revision and not for prices.

The database counts the catalogue's committed changes (`catalog.revision`). A buyer's transaction reads the count; while
it is the one under which terms were loaded, they are still what the catalogue says.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from psycopg import AsyncCursor

from tidegate.catalog.contracts import Rates, Terms, VoucherTerms
from tidegate.catalog.rates import load_rates
from tidegate.catalog.rules import is_code, storable
from tidegate.catalog.views import purchase_terms, variant_terms
from tidegate.catalog.vouchers import voucher_terms
from tidegate.platform.database import Connection
from tidegate.platform.ids import VariantId

MAX_SKU_CHARS = 100
"""Longest SKU that the catalogue can hold; longer ones are not looked up."""

K = TypeVar("K")
V = TypeVar("V")

Asked = AsyncCursor[tuple[Any, ...]]
"""The revision as a transaction was asked for it."""


@dataclass(slots=True)
class _Edition:
    """What was loaded under one revision. A load that a change overtakes ends in the edition that it began in."""

    revision: int
    terms: OrderedDict[str, Terms] = field(default_factory=OrderedDict)
    unknown: OrderedDict[str, None] = field(default_factory=OrderedDict)
    by_variant: OrderedDict[VariantId, Terms] = field(default_factory=OrderedDict)
    vouchers: OrderedDict[str, VoucherTerms] = field(default_factory=OrderedDict)
    unknown_codes: OrderedDict[str, None] = field(default_factory=OrderedDict)
    rates: Rates | None = None


class Snapshot:
    """The terms that this process knows: at most `max_entries` by SKU, by variant and by code, and unknown ones each.

    It takes two steps, for transactions in pipeline mode: `ask` queues the statement, and `answer_with_rates` or
    `by_variant_with_rates` fetches its result after the caller has queued others. `variants` and `rates` are for pages.
    """

    def __init__(self, *, currency: str, max_entries: int) -> None:
        self._currency = currency
        self._max = max_entries
        self._edition = _Edition(revision=-1)

    async def ask(self, conn: Connection) -> Asked:
        """Read the catalogue's revision in the caller's transaction; in pipeline mode this waits for nothing."""
        return await conn.execute("SELECT sum(counter)::bigint FROM catalog.revision", prepare=True)

    def guess(self, skus: Sequence[str]) -> dict[str, Terms] | None:
        """The terms as they were last known, to begin with while the answer is on its way; None when one is missing."""
        edition = self._edition
        found = {sku: terms for sku in skus if (terms := edition.terms.get(sku)) is not None}
        if len(found) < len(skus) and any(sku not in found and sku not in edition.unknown for sku in skus):
            return None
        return found

    def knows_code(self, code: str) -> bool:
        """Whether a voucher of this cleaned code was seen lately. Codes stay taken for ever, so yes is always true."""
        return code in self._edition.vouchers

    def guess_rates(self) -> Rates | None:
        """The shop's rates as they were last known, like `guess`."""
        return self._edition.rates

    async def answer_with_rates(
        self, conn: Connection, asked: Asked, skus: Sequence[str]
    ) -> tuple[dict[str, Terms], Rates]:
        """The terms of these SKUs and what is added to goods, under the revision that was asked for.

        Unknown SKUs are absent; what is not known yet is loaded in this transaction.
        """
        edition = await self._current(asked)
        return await self._terms_in(conn, edition, skus), await _rates_in(conn, edition)

    async def by_variant_with_rates(
        self, conn: Connection, asked: Asked, variant_ids: Collection[VariantId]
    ) -> tuple[dict[VariantId, Terms], Rates]:
        """The terms of these variants and what is added to goods, under the revision that was asked for.

        Whatever the product's status; unknown variants are absent.
        """
        edition = await self._current(asked)
        return await self._variants_in(conn, edition, variant_ids), await _rates_in(conn, edition)

    async def variants(self, conn: Connection, variant_ids: Collection[VariantId]) -> dict[VariantId, Terms]:
        """The terms of these variants as they stand, whatever the product's status; unknown variants are absent."""
        edition = await self._current(await self.ask(conn))
        return await self._variants_in(conn, edition, variant_ids)

    async def rates(self, conn: Connection) -> Rates:
        """What is added to goods, as it stands."""
        return await _rates_in(conn, await self._current(await self.ask(conn)))

    async def vouchers(self, conn: Connection, codes: Sequence[str]) -> dict[str, VoucherTerms]:
        """What `voucher_terms` says in this transaction of cleaned codes; unknown codes are absent."""
        edition = await self._current(await self.ask(conn))
        known = edition.vouchers
        found = {code: terms for code in codes if (terms := known.get(code)) is not None}
        missing = [c for c in codes if c not in found and c not in edition.unknown_codes and is_code(c)]
        if missing:
            loaded = await voucher_terms(conn, codes=missing)
            found |= loaded
            self._keep(known, loaded)
            self._keep(edition.unknown_codes, dict.fromkeys(code for code in missing if code not in loaded))
        return found

    async def _terms_in(self, conn: Connection, edition: _Edition, skus: Sequence[str]) -> dict[str, Terms]:
        known = edition.terms
        found = {sku: terms for sku in skus if (terms := known.get(sku)) is not None}
        missing = [sku for sku in skus if sku not in found and sku not in edition.unknown and _possible(sku)]
        if missing:
            loaded = await purchase_terms(conn, skus=missing, currency=self._currency)
            found |= loaded
            self._keep(known, loaded)
            self._keep(edition.unknown, dict.fromkeys(sku for sku in missing if sku not in loaded))
        return found

    async def _variants_in(
        self, conn: Connection, edition: _Edition, variant_ids: Collection[VariantId]
    ) -> dict[VariantId, Terms]:
        known = edition.by_variant
        found = {variant: terms for variant in variant_ids if (terms := known.get(variant)) is not None}
        missing = list({variant for variant in variant_ids if variant not in found})
        if missing:
            loaded = await variant_terms(conn, variant_ids=missing, currency=self._currency)
            found |= loaded
            self._keep(known, loaded)
        return found

    async def _current(self, asked: Asked) -> _Edition:
        """The edition of the revision asked for; a new one when it is not the one that is kept.

        A load sees at least what its revision counts, so an edition may hold newer terms than its revision, never older
        ones; whoever sees the newer revision begins another edition.
        """
        row = await asked.fetchone()
        assert row is not None
        if row[0] != self._edition.revision:
            self._edition = _Edition(revision=row[0])
        return self._edition

    def _keep(self, kept: OrderedDict[K, V], loaded: Mapping[K, V]) -> None:
        """Add what was loaded; what was loaded first goes first when there is too much."""
        kept.update(loaded)
        while len(kept) > self._max:
            kept.popitem(last=False)


async def _rates_in(conn: Connection, edition: _Edition) -> Rates:
    if edition.rates is None:
        edition.rates = await load_rates(conn)
    return edition.rates


def _possible(sku: str) -> bool:
    return 0 < len(sku) <= MAX_SKU_CHARS and storable(sku)
