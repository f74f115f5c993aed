"""Finding products: in an order that the visitor chooses, by words that may be mistyped.

A word counts when a product has one that starts with it, or one with the same English stem. A word that no product on
sale has is replaced by the nearest one that some product has: near by groups of three letters (PostgreSQL's own arrays
find those, so that no extension is needed), then by how much of the two is equal in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from tidegate.catalog.contracts import Sort
from tidegate.catalog.rules import clean_text
from tidegate.platform.database import Connection

MAX_WORDS = 8
"""Most words of a search that count."""
SHORTEST_CORRECTED = 4
"""Letters of the shortest word that another may stand for."""
NEIGHBOURS = 24
"""Words with most groups of letters in common that are compared letter by letter."""
NEAR = 0.7
"""How much of two words must be equal, 0 to 1, for one to stand for the other."""

SOLD_IN = (
    " p.status = 'active' AND EXISTS (SELECT 1 FROM catalog.variants AS v JOIN catalog.prices AS c"
    " ON c.variant_id = v.id AND c.currency = %(currency)s WHERE v.product_id = p.id)"
)
_LOWEST = (
    "(SELECT min(c.amount) FROM catalog.variants AS v JOIN catalog.prices AS c"
    " ON c.variant_id = v.id AND c.currency = %(currency)s WHERE v.product_id = p.id)"
)
_RANK = (
    "(ts_rank('{0.05, 0.2, 0.5, 1.0}', p.search, %(words)s::tsquery, 1) * 1000000)::bigint * 100"
    " + floor(ln(p.popularity::float8 + 1) * 2)::bigint"
)
"""Where a word is counts most, title before tags before description; popularity decides between equals."""
_KEYS = {
    Sort.RELEVANCE: _RANK,
    Sort.POPULAR: "p.popularity",
    Sort.PRICE: f"-{_LOWEST}",
    Sort.PRICE_DOWN: _LOWEST,
    Sort.ARRANGED: (
        "coalesce((SELECT 1000000000000000 - m.position FROM catalog.product_collections AS m"
        " JOIN catalog.collections AS o ON o.id = m.collection_id"
        " WHERE m.product_id = p.id AND o.slug = %(collection)s), least(p.popularity, 900000000000000))"
    ),
    Sort.NEWEST: "(extract(epoch FROM p.created_at) * 1000000)::bigint",
}
"""What comes first has the larger number."""


NOTHING = "-"
"""In place of a query: what was typed has neither letters nor digits, and finds nothing."""


@dataclass(frozen=True, slots=True)
class Words:
    """What is looked for: a query of PostgreSQL, and the words it stands for if they are not those that were typed."""

    tsquery: str
    """Empty when there is nothing to look for; or `NOTHING`."""
    corrected: str = ""


async def words_of(conn: Connection, query: str) -> Words:
    """What a search text looks for among the products on sale."""
    text = clean_text(query)
    if not text:
        return Words("")
    rows = await conn.execute(
        "SELECT w.word, to_tsvector('pg_catalog.english', w.word) = ''"
        " FROM unnest(string_to_array(catalog.search_text(%s), ' ')) WITH ORDINALITY AS w (word, place)"
        " WHERE w.word <> '' ORDER BY w.place",
        (text,),
    )
    found = list(dict.fromkeys(await rows.fetchall()))
    words = [word for word, filler in found if not filler] or [word for word, _ in found]
    words = words[:MAX_WORDS]
    if not words:
        return Words(NOTHING)
    unknown = await _unknown(conn, words)
    nearest = {word: await _nearest(conn, word) for word in unknown if len(word) >= SHORTEST_CORRECTED}
    meant = [nearest.get(word) or word for word in words]
    row = await (
        await conn.execute(
            "SELECT string_agg(catalog.search_query(w.word), ' & ') FROM unnest(%s::text[]) AS w (word)", (meant,)
        )
    ).fetchone()
    assert row is not None
    return Words(row[0], " ".join(meant) if meant != words else "")


async def find_rows(
    conn: Connection,
    *,
    columns: str,
    words: Words,
    collection: str,
    sort: Sort,
    place: tuple[int, str] | None,
    limit: int,
    currency: str,
) -> list[tuple[Any, ...]]:
    """Rows of `columns` and the place's number at their end, from after `place`, at most `limit`."""
    if words.tsquery == NOTHING:
        return []
    where = [SOLD_IN]
    if words.tsquery:
        where.append("p.search @@ %(words)s::tsquery")
    if collection:
        where.append(
            "EXISTS (SELECT 1 FROM catalog.product_collections AS m JOIN catalog.collections AS o"
            " ON o.id = m.collection_id WHERE m.product_id = p.id AND o.slug = %(collection)s)"
        )
    key = _KEYS[sort]
    if place:
        where.append(f"{key} <= %(key)s AND ({key} < %(key)s OR p.slug > %(slug)s)")
    rows = await conn.execute(
        f"SELECT {columns}, {key} AS place FROM catalog.products AS p"  # noqa: S608 - our own constants
        f" WHERE {' AND '.join(where)} ORDER BY {key} DESC, p.slug LIMIT %(limit)s",
        {
            "currency": currency,
            "words": words.tsquery,
            "collection": collection,
            "key": place[0] if place else None,
            "slug": place[1] if place else None,
            "limit": limit,
        },
    )
    return await rows.fetchall()


async def _unknown(conn: Connection, words: Sequence[str]) -> list[str]:
    """The words that no product on sale has, in their order."""
    rows = await conn.execute(
        "SELECT w.word FROM unnest(%s::text[]) WITH ORDINALITY AS w (word, place) WHERE NOT EXISTS ("
        " SELECT FROM catalog.products AS p WHERE p.status = 'active'"
        " AND p.search @@ catalog.search_query(w.word)::tsquery) ORDER BY w.place",
        (list(words),),
    )
    return [row[0] for row in await rows.fetchall()]


async def _nearest(conn: Connection, word: str) -> str | None:
    """The word of some product on sale that is most like `word`, or None when none is near."""
    rows = await conn.execute(
        "SELECT t.term FROM (SELECT s.term, cardinality(s.trigrams) AS grams, (SELECT count(*)"
        " FROM unnest(s.trigrams) AS g (gram) WHERE g.gram = ANY(catalog.trigrams(%(word)s))) AS common"
        " FROM catalog.search_terms AS s WHERE s.trigrams && catalog.trigrams(%(word)s)"
        " AND length(s.term) BETWEEN length(%(word)s) - 3 AND length(%(word)s) + 3) AS t"
        " ORDER BY t.common::real / (t.grams + length(%(word)s) + 1 - t.common) DESC, t.term LIMIT %(most)s",
        {"word": word, "most": NEIGHBOURS},
    )
    near = sorted(
        ((likeness(word, row[0]), row[0]) for row in await rows.fetchall()), key=lambda each: (-each[0], each[1])
    )
    for how, term in near:
        if how < NEAR:
            return None
        if not await _unknown(conn, [term]):
            return str(term)
    return None


def likeness(one: str, other: str) -> float:
    """How much of two words is equal in order, 0 to 1 (Ratcliff and Obershelp, as `difflib` has it)."""
    return SequenceMatcher(None, one, other, autojunk=False).ratio()
