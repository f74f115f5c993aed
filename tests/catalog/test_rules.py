"""The catalogue's pure decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.catalog.contracts import NewProduct, NewVariant, Status
from tidegate.catalog.rules import (
    MAX_POPULARITY,
    MAX_QUERY,
    MAX_SKU,
    MAX_WORDS,
    clean_text,
    decode_cursor,
    encode_cursor,
    is_slug,
    made_skus,
    options_text,
    parse_moment,
    product_slug,
    search_patterns,
    settle_skus,
    slugify,
    source_hash,
    storable,
)
from tidegate.platform.money import Money
from tidegate.platform.problems import InvalidRequest

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SLUGS = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,3}", fullmatch=True)


def variant(sku: str, *, other: str | None = None, line: int = 0, amount: int = 100) -> NewVariant:
    return NewVariant(sku, (("Size", sku),), Money(amount, "GBP"), other_sku=other, line=line)


def product(slug: str, *variants: NewVariant) -> NewProduct:
    return NewProduct(slug, slug, "", "", "", (), Status.ACTIVE, variants)


@given(st.text(max_size=300))
def test_a_product_always_has_an_address_and_always_the_same(handle: str) -> None:
    slug = product_slug(handle)
    assert is_slug(slug)
    assert product_slug(handle) == slug


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("Café & Crème", "cafe-creme"),
        ("  White--Hanging  Heart ", "white-hanging-heart"),
        ("Men's", "mens"),
        ("红", ""),
    ],
)
def test_slugs_read_like_the_text(text: str, slug: str) -> None:
    assert slugify(text) == slug


@given(st.text(max_size=200), st.lists(st.text(max_size=60), max_size=3))
def test_a_made_sku_fits_and_is_the_same_every_time(handle: str, values: list[str]) -> None:
    made = made_skus(handle, values)
    assert made == made_skus(handle, values)
    assert all(0 < len(sku) <= MAX_SKU and sku.isascii() and sku.isprintable() for sku in made)


def test_made_skus_tell_products_from_options() -> None:
    assert made_skus("a-b", ["c"])[0] != made_skus("a", ["b-c"])[0]
    assert made_skus("floor-lamp", [])[0] == "FLOOR-LAMP"
    assert made_skus("gloves", ["Dark Green", "XL"])[0] == "GLOVES_DARK-GREEN_XL"


@given(st.integers(0, MAX_POPULARITY), SLUGS)
def test_a_cursor_comes_back_as_it_went(popularity: int, slug: str) -> None:
    cursor = encode_cursor(popularity, slug)
    assert decode_cursor(cursor) == (popularity, slug)
    assert cursor.isascii()
    assert not set(cursor) & set("=+/&? ")


@given(st.text(max_size=600))
def test_other_text_is_refused_as_a_cursor_and_nothing_worse(text: str) -> None:
    try:
        popularity, slug = decode_cursor(text)
    except InvalidRequest:
        return
    assert is_slug(slug)
    assert abs(popularity) <= MAX_POPULARITY


@pytest.mark.parametrize(
    "found", ["[1]", "[1,2]", '["1","a"]', '[-9223372036854775808,"a"]', '[1e400,"a"]', '[true,"A"]', "[" * 200, "{}"]
)
def test_well_coded_nonsense_is_refused_as_a_cursor(found: str) -> None:
    from base64 import urlsafe_b64encode

    with pytest.raises(InvalidRequest):
        decode_cursor(urlsafe_b64encode(found.encode()).decode())


@given(st.text(max_size=MAX_QUERY))
def test_search_patterns_can_be_sent_to_the_database(query: str) -> None:
    patterns = search_patterns(query)
    assert len(patterns) <= MAX_WORDS
    for pattern in patterns:
        inner = pattern[1:-1].replace("\\\\", "").replace("\\%", "").replace("\\_", "")
        assert storable(pattern)
        assert not set(inner) & set("\\%_")


def test_a_search_is_bounded() -> None:
    with pytest.raises(InvalidRequest):
        search_patterns("x" * (MAX_QUERY + 1))


@given(st.text(max_size=200))
def test_clean_text_is_one_line_that_can_be_stored(text: str) -> None:
    clean = clean_text(text)
    assert storable(clean)
    assert clean == clean.strip()
    assert "\n" not in clean
    assert clean_text(clean) == clean


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("+90s", NOW + timedelta(seconds=90)),
        ("+2m", NOW + timedelta(minutes=2)),
        (" +1H ", NOW + timedelta(hours=1)),
        ("+3d", NOW + timedelta(days=3)),
        ("2026-11-27T12:00", datetime(2026, 11, 27, 12, 0, tzinfo=UTC)),
        ("2026-11-27T12:00+01:00", datetime(2026, 11, 27, 11, 0, tzinfo=UTC)),
        ("2026-11-27 12:00:30Z", datetime(2026, 11, 27, 12, 0, 30, tzinfo=UTC)),
    ],
)
def test_moments_as_people_write_them(text: str, moment: datetime) -> None:
    assert parse_moment(text, now=NOW) == moment


@pytest.mark.parametrize(
    "text", ["", "soon", "+", "+2", "2m", "+2w", "-5m", "2026-13-01", "+999999999d", "9999-12-31", "+１m"]
)
def test_other_moments_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_moment(text, now=NOW)


@given(st.text(max_size=40))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    try:
        moment = parse_moment(text, now=NOW)
    except InvalidRequest:
        return
    assert moment.tzinfo is not None


@given(st.timedeltas(timedelta(days=-3000), timedelta(days=3000)), st.integers(-12, 14))
def test_an_offset_is_kept(away: timedelta, hours: int) -> None:
    told = (NOW + away).astimezone(timezone(timedelta(hours=hours)))
    assert parse_moment(told.isoformat(), now=NOW) == told


def test_options_read_as_a_line() -> None:
    assert options_text([("Colour", "Red"), ("Size", "M")]) == "Colour: Red, Size: M"
    assert options_text([]) == ""


SKUS = st.sampled_from(["A", "B", "C", "D"])
NEW_VARIANTS = st.builds(
    lambda sku, other: variant(sku, other=f"{sku}-{other}" if other else None), SKUS, st.sampled_from(["", "1"])
)
NEW_PRODUCTS = st.lists(
    st.builds(lambda slug, variants: product(slug, *variants), SLUGS, st.lists(NEW_VARIANTS, min_size=1, max_size=5)),
    max_size=5,
    unique_by=lambda made: made.slug,
)


@given(NEW_PRODUCTS, st.dictionaries(SKUS, SLUGS))
def test_a_sku_is_given_to_one_variant(products: list[NewProduct], owners: dict[str, str]) -> None:
    kept, refused = settle_skus(products, owners)
    given_skus = [(v.sku, p.slug) for p in kept for v in p.variants]
    assert len({sku for sku, _ in given_skus}) == len(given_skus)
    assert all(owners.get(sku, slug) == slug for sku, slug in given_skus)
    assert len(given_skus) + len(refused) == sum(len(p.variants) for p in products)
    assert all(p.variants for p in kept)


@given(NEW_PRODUCTS, st.dictionaries(SKUS, SLUGS))
def test_settling_again_gives_the_same(products: list[NewProduct], owners: dict[str, str]) -> None:
    kept, _ = settle_skus(products, owners)
    after = owners | {v.sku: p.slug for p in kept for v in p.variants}
    assert settle_skus(products, after)[0] == kept


def test_a_taken_sku_is_refused_and_a_made_one_steps_aside() -> None:
    mine, made = variant("A", line=3), variant("B", other="B-1", line=4)
    kept, refused = settle_skus([product("mine", mine, made)], {"A": "theirs", "B": "theirs"})
    assert [v.sku for v in kept[0].variants] == ["B-1"]
    assert [(error.line, error.reason) for error in refused] == [(3, "SKU A is used by the product theirs already")]


def test_the_source_hash_changes_with_what_is_sold_and_not_with_stock() -> None:
    from dataclasses import replace

    one = product("one", variant("A", amount=100))
    assert source_hash(one) != source_hash(product("one", variant("A", amount=101)))
    assert source_hash(one) != source_hash(replace(one, tags=("new",)))
    assert source_hash(one) == source_hash(replace(one, variants=(replace(one.variants[0], quantity=9, line=7),)))
