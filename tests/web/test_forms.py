"""Forms are taken only with the token of our own page, from the same browser, in time."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

import tidegate
from tests.web.conftest import PAGE, SAME_ORIGIN, People, browser
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import SecuritySettings
from tidegate.web.forms import FORM_COOKIE, TOKEN_LIFE_S, PostedForm, form_key, make_token, token_holds

KEY = b"k" * 32
BINDING = "binding-of-a-browser"


async def shown_token(http: httpx.AsyncClient) -> str:
    page = (await http.get("/buy")).text
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def test_a_token_holds_for_its_browser_and_its_time() -> None:
    token = make_token(KEY, BINDING, now_s=1_000_000)
    assert token_holds(KEY, token, BINDING, now_s=1_000_000)
    assert token_holds(KEY, token, BINDING, now_s=1_000_000 + TOKEN_LIFE_S)
    assert token_holds(KEY, token, BINDING, now_s=1_000_000 - 30)  # made by a process whose clock is ahead
    assert not token_holds(KEY, token, BINDING, now_s=1_000_001 + TOKEN_LIFE_S)
    assert not token_holds(KEY, token, BINDING, now_s=1_000_000 - 100)
    assert not token_holds(KEY, token, BINDING + "x", now_s=1_000_000)
    assert not token_holds(b"x" * 32, token, BINDING, now_s=1_000_000)


@given(st.text(max_size=90), st.sampled_from(["", "f4240.", "0."]))
def test_no_other_text_holds(text: str, start: str) -> None:
    assert not token_holds(KEY, start + text, BINDING, now_s=1_000_000)


@given(st.integers(0, 71), st.characters())
def test_no_changed_token_holds(place: int, character: str) -> None:
    token = make_token(KEY, BINDING, now_s=1_000_000)
    place %= len(token)
    changed = token[:place] + character + token[place + 1 :]
    assert changed == token or not token_holds(KEY, changed, BINDING, now_s=1_000_000)


async def test_a_form_with_its_token_is_taken(people: People) -> None:
    async with browser(people) as http:
        token = await shown_token(http)
        response = await http.post("/buy", data={"form_token": token, "sku": " A-1 "}, headers=SAME_ORIGIN)
        assert response.headers["location"] == "/bought?n=1&sku=A-1"
        multipart = {"form_token": (None, token), "sku": (None, "A-2")}
        assert (await http.post("/buy", files=multipart, headers=SAME_ORIGIN)).status_code == 303


async def test_a_form_without_its_token_is_refused_calmly(people: People) -> None:
    async with browser(people) as mine, browser(people) as theirs:
        token, foreign = await shown_token(mine), await shown_token(theirs)
        for wrong in ({}, {"form_token": ""}, {"form_token": foreign}, {"form_token": token[:-1]}):
            response = await mine.post("/buy", data={"sku": "A-1"} | wrong, headers=SAME_ORIGIN | PAGE)
            assert response.status_code == 403
            assert "Go back, reload the page" in response.text
        mine.cookies.delete(FORM_COOKIE)
        assert (await mine.post("/buy", data={"form_token": token}, headers=SAME_ORIGIN)).status_code == 403
    assert people.known == {}


async def test_a_form_from_another_site_is_refused_even_with_its_token(people: People) -> None:
    async with browser(people) as http:
        token = await shown_token(http)
        for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}, {}):
            response = await http.post("/buy", data={"form_token": token}, headers=headers)
            assert response.json()["type"] == "/problems/cross-site"


async def test_a_form_keeps_its_token_through_the_first_purchase(people: People) -> None:
    """Two tabs were open before there was a session: both must work."""
    async with browser(people) as http:
        early = await shown_token(http)
        assert await http.post("/buy", data={"form_token": early}, headers=SAME_ORIGIN)
        late = await shown_token(http)
        for token in (early, late):
            assert (await http.post("/buy", data={"form_token": token}, headers=SAME_ORIGIN)).status_code == 303


async def test_forms_are_bounded(people: People) -> None:
    async with browser(people) as http:
        token = await shown_token(http)
        many = {"form_token": token} | {f"field{i}": "x" for i in range(2_000)}
        long = {"form_token": token, "note": "x" * 70_000}
        nul = {"form_token": token, "note": "a\0b"}
        file = {"picture": ("a.png", b"x")}
        for answer, status in (
            (await http.post("/buy", data=many, headers=SAME_ORIGIN), 400),
            (await http.post("/buy", data=long, headers=SAME_ORIGIN), 400),
            (await http.post("/buy", data=nul, headers=SAME_ORIGIN), 422),
            (await http.post("/buy", files=file, headers=SAME_ORIGIN), 400),
            (await http.post("/buy", json={}, headers=SAME_ORIGIN), 415),
        ):
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"


def test_a_posted_form_is_read_by_name() -> None:
    form = PostedForm((("a", "1"), ("b", " 2 "), ("a", "3")))
    assert (form.get("a"), form.get("b"), form.get("c"), form.get("c", "-")) == ("3", "2", "", "-")
    assert form.all("a") == ["1", "3"]


def test_a_shop_without_a_form_key_does_not_start() -> None:
    for key in ("", "c2hvcnQ=", "%%%"):
        with pytest.raises(StartupError, match="FORM_KEY"):
            form_key(SecuritySettings(form_key=SecretStr(key)))


def test_pages_read_forms_in_one_way_only() -> None:
    """`request.form()` would skip the token, the bounds and the look at NUL characters."""
    package = Path(tidegate.__file__).parent
    found = [
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if re.search(r"\brequest\.form\(|\bForm\(", file.read_text()) and file.name != "forms.py"
    ]
    assert found == [], "read forms with tidegate.web.read_form"
