"""Choosing by options: the rules, and the product page of a shopper without scripts."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product as combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.catalog.makers import a_product
from tests.storefront.conftest import Reader, Sell, text_of
from tidegate.catalog import NewVariant, find_variants, write_products
from tidegate.catalog.contracts import Variant
from tidegate.inventory import set_stock
from tidegate.platform.database import Database
from tidegate.platform.ids import VariantId, new_id
from tidegate.platform.money import Money
from tidegate.storefront.offers import VariantOffer
from tidegate.storefront.options import choose, find_variant, option_names

NAMES = ("Size", "Colour")
SIZES, COLOURS = ("S", "M", "L"), ("Red", "Blue")


def offer_of(values: tuple[str, ...], left: int, amount: int = 500) -> VariantOffer:
    pairs = tuple(zip(NAMES, values, strict=False))
    return VariantOffer(
        Variant(VariantId(new_id()), "-".join(values), pairs, Money(amount, "GBP"), None), left, None, True
    )


stocks = st.dictionaries(st.sampled_from(list(combinations(SIZES, COLOURS))), st.integers(0, 3), min_size=2, max_size=6)


@given(stock=stocks, asked=st.tuples(st.sampled_from(["", "XL", *SIZES]), st.sampled_from(["", "Green", *COLOURS])))
def test_what_is_said_of_a_choice_is_true(stock: dict[tuple[str, ...], int], asked: tuple[str, str]) -> None:
    variants = [offer_of(values, left) for values, left in stock.items()]
    names = option_names(variants)
    assert names == NAMES
    made = choose(variants, names, asked)
    chosen = tuple(next(each.value for each in group.values if each.chosen) for group in made.groups)
    for wanted, got, group in zip(asked, chosen, made.groups, strict=True):
        assert got == wanted or wanted not in {each.value for each in group.values}, "what was asked for is chosen"
    assert made.variant is find_variant(variants, chosen)
    assert made.available == (stock.get(chosen, 0) > 0)
    assert bool(made.told) != made.available
    if not any(asked):
        assert made.available == any(stock.values()), "at first something is chosen that can be had"
    for place, group in enumerate(made.groups):
        for each in group.values:
            combination = (*chosen[:place], each.value, *chosen[place + 1 :])
            having = [left for values, left in stock.items() if values[place] == each.value]
            assert each.gone == (not any(having))
            if stock.get(combination, 0) > 0:
                assert "Sold out" not in str(each.hint) and "Not in" not in str(each.hint)
            else:
                assert each.hint, "what cannot be had together is said"


@pytest.mark.parametrize(
    "variants",
    [
        [offer_of(("S", "Red"), 1)],
        [offer_of((), 1), offer_of((), 1)],
        [offer_of(("S",), 1), offer_of(("M", "Red"), 1)],
        [offer_of(("S", "Red"), 1), offer_of(("S", "Red"), 1)],
    ],
)
def test_variants_that_do_not_differ_by_the_same_options_are_listed_as_they_are(variants: list[VariantOffer]) -> None:
    assert option_names(variants) == ()


async def tees(database: Database, stock: dict[tuple[str, str], int]) -> None:
    """A tee in sizes and colours; those that `stock` does not name are not made."""
    variants = tuple(
        NewVariant(f"TEE-{size}-{colour}".upper(), (("Size", size), ("Colour", colour)), Money(1500, "GBP"))
        for size, colour in stock
    )
    async with database.transaction() as conn:
        await write_products(conn, products=[replace(a_product("tee", title="Tee"), variants=variants)])
        ids = await find_variants(conn, skus=[each.sku for each in variants])
        await set_stock(conn, levels={ids[f"TEE-{s}-{c}".upper()]: left for (s, c), left in stock.items()})


STOCK = {("S", "Red"): 9, ("S", "Blue"): 0, ("M", "Red"): 9, ("M", "Blue"): 9, ("L", "Red"): 0}


@pytest.mark.anyio
async def test_each_option_is_a_group_of_its_own(reader: Reader, database: Database) -> None:
    await tees(database, STOCK)
    page = await reader.get("/products/tee")
    assert re.findall(r"<legend>(\w+)</legend>", page.text) == ["Size", "Colour"]
    assert re.findall(r'name="option-1" value="(\w+)"', page.text) == ["S", "M", "L"]
    assert re.findall(r'value="(\w+)" required checked', page.text) == ["S", "Red"]
    assert re.findall(r'value="(\w+)" required disabled', page.text) == ["L"], "there is none of it in any colour"
    assert "Blue Sold out in S" in text_of(page)


@pytest.mark.anyio
@pytest.mark.parametrize("to", ["/holds", "/cart/add"])
async def test_the_server_finds_the_variant_that_was_chosen(reader: Reader, database: Database, to: str) -> None:
    await tees(database, STOCK)
    chosen = {"product": "tee", "option-1": "M", "option-2": "Blue", "quantity": "2"}
    done = await reader.send("/products/tee", to, **chosen)
    assert done.status_code == 303
    page = text_of(await reader.get(done.headers["location"]))
    assert "Size: M" in page or "M, Blue" in page or "M / Blue" in page, page


@pytest.mark.anyio
@pytest.mark.parametrize("to", ["/holds", "/cart/add"])
@pytest.mark.parametrize(
    ("size", "colour", "told"),
    [
        ("S", "Blue", "S, Blue is sold out. Blue can be had in: M. S can be had in: Red."),
        ("L", "Blue", "L, Blue is not made. Blue can be had in: M."),
    ],
)
async def test_what_cannot_be_had_together_is_told_and_the_choice_is_kept(
    reader: Reader, database: Database, to: str, size: str, colour: str, told: str
) -> None:
    await tees(database, STOCK)
    chosen = {"product": "tee", "option-1": size, "option-2": colour, "quantity": "2"}
    done = await reader.send("/products/tee", to, **chosen)
    assert done.status_code == 303
    page = await reader.get(done.headers["location"])
    assert told in text_of(page)
    assert re.findall(r'value="(\w+)" required checked', page.text) == [size, colour]
    assert '<option value="2" selected>' in page.text
    assert (await reader.get("/cart")).text.count("TEE-") == 0


@pytest.mark.anyio
async def test_nothing_chosen_is_told(reader: Reader, database: Database, sell: Sell) -> None:
    await tees(database, STOCK)
    done = await reader.send("/products/tee", "/holds", product="tee")
    assert done.status_code == 422
    assert "Choose what you want first. Nothing was held." in text_of(done)
    done = await reader.send("/products/tee", "/cart/add", product="nothing", **{"option-1": "S"})
    assert done.status_code == 422
