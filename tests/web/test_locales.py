"""In which language a request is answered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.conftest import PAGE, People, browser
from tidegate.web.locales import best_locale

OFFERED = ("en_GB", "de_DE")


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ("", "en_GB"),
        ("de", "de_DE"),
        ("de-AT,de;q=0.9,en;q=0.8", "de_DE"),
        ("fr,de;q=0.5,en;q=0.9", "en_GB"),
        ("en;q=0,de;q=0.1", "de_DE"),
        ("DE", "de_DE"),
        ("*", "en_GB"),
        ("de;q=x,en", "en_GB"),
    ],
)
def test_accept_language(asked: str, got: str) -> None:
    assert best_locale(asked, OFFERED) == got


@given(st.text(alphabet=st.characters(codec="latin-1"), max_size=60))
def test_whatever_is_asked_an_offered_locale_answers(asked: str) -> None:
    assert best_locale(asked, OFFERED) in OFFERED


async def test_an_error_page_speaks_the_browsers_language(people: People) -> None:
    async with browser(people) as client:
        response = await client.get("/nowhere", headers=PAGE | {"accept-language": "de"})
        assert response.status_code == 404
        assert "Unter dieser Adresse ist nichts" in response.text
        assert '<html lang="de-DE"' in response.text
        assert response.headers["content-language"] == "de-DE"
        assert "Accept-Language" in response.headers["vary"]


async def test_the_choice_beats_the_browser(people: People) -> None:
    async with browser(people) as client:
        chosen = await client.get("/language", params={"locale": "de_DE", "then": "/problems"})
        assert (chosen.status_code, chosen.headers["location"]) == (303, "/problems")
        page = await client.get("/problems", headers=PAGE | {"accept-language": "en"})
        assert '<html lang="de-DE"' in page.text


@pytest.mark.parametrize("then", ["//evil.example", "https://evil.example", "/\\evil.example", "x", "/a\nb"])
async def test_the_choice_leads_to_no_other_site(people: People, then: str) -> None:
    async with browser(people) as client:
        response = await client.get("/language", params={"locale": "xx_XX", "then": then})
        assert response.headers["location"] == "/"
        assert "set-cookie" not in response.headers
