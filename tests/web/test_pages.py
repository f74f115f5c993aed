"""The frame of all pages: what is rendered is escaped, complete and reachable; static files are kept for ever."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jinja2 import UndefinedError

import tidegate
from tests.web.conftest import PAGE, People, browser
from tidegate.catalog import UnknownProduct
from tidegate.checkout import LimitReached
from tidegate.checkout.contracts import QuantityOutOfRange
from tidegate.platform.money import Money
from tidegate.platform.problems import InvalidRequest, NotFound
from tidegate.platform.texts import text, translated
from tidegate.web import environment, static_url, words_of
from tidegate.web.assets import catalogue, version
from tidegate.web.pages_problems import problem_kinds

PACKAGE = Path(tidegate.__file__).parent
TEMPLATES = sorted(PACKAGE.glob("*/templates/**/*.html"))


def template(text: str, **values: object) -> str:
    return environment("en_GB").from_string(text).render(**values)


def parts(call: str, **values: object) -> str:
    imported = "{% import 'web/parts.html' as parts with context %}"
    return template(imported + "{{ parts." + call + " }}", **values)


def test_values_are_written_as_people_write_them() -> None:
    moment = datetime(2026, 11, 22, 12, 5, 7, 123_456, tzinfo=UTC)
    assert template("{{ m | money }}", m=Money(123_450, "GBP")) == "£1,234.50"
    assert template("{{ 98500 | number }}") == "98,500"
    assert template("{{ t | datetime }}", t=moment) == "22 Nov 2026, 12:05:07"
    assert template("{{ t | iso }}", t=moment) == "2026-11-22T12:05:07.123Z"
    assert template("{{ ngettext('%(num)s unit', '%(num)s units', n) }}", n=3) == "3 units"
    assert environment("de_DE").from_string("{{ m | money }}").render(m=Money(123_450, "EUR")) == "1.234,50\xa0€"


def test_what_is_missing_is_an_error_and_what_is_there_is_escaped() -> None:
    with pytest.raises(UndefinedError):
        template("{{ nothing }}")
    assert template("{{ x }}", x="<script>") == "&lt;script&gt;"


def test_a_field_keeps_its_value_and_says_what_is_wrong() -> None:
    html = parts("field('city', 'Town', value=v, error='Name a town.', autocomplete='address-level2')", v='"><b>')
    assert 'value="&#34;&gt;&lt;b&gt;"' in html
    assert 'aria-invalid="true"' in html
    assert 'aria-describedby="error-city"' in html
    assert '<label for="field-city">' in html
    assert 'autocomplete="address-level2"' in html


def test_every_state_has_a_word_a_shape_and_a_colour() -> None:
    css = (PACKAGE / "web/static/site.css").read_text()
    shapes = set()
    for state in ("waiting", "open", "held", "paid", "sold_out", "expired", "failed"):
        html = parts(f"state_badge('{state}')")
        word = re.sub(r"<[^>]+>", "", html).strip()
        assert word
        shapes.add(re.sub(r"<span.*", "", html.partition("<svg")[2]))
        assert f".badge-{state}" in css or state in ("sold_out", "expired")  # these two wear the neutral colour
    assert len(shapes) == 7


def test_a_countdown_says_until_when() -> None:
    html = parts(
        "countdown(t, 'Opens in', '2 minutes', then='reveal', target='buy')", t=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert 'data-until="2026-01-01T00:00:00.000Z"' in html
    assert 'role="timer"' in html
    assert 'data-target="buy"' in html


async def test_the_layout_has_what_everybody_needs(people: People) -> None:
    async with browser(people) as http:
        page = (await http.get("/problems")).text
    assert '<html lang="en-GB" data-server-time="2' in page
    assert "Quay &amp; &lt;Sons&gt;" in page
    assert 'class="skip-link" href="#main"' in page
    for landmark in ("<header", "<nav", '<main id="main"', "<footer"):
        assert landmark in page
    assert "<script>" not in page
    assert not re.search(r"\sstyle=|\son[a-z]+=", page)
    styles = gzip.compress((PACKAGE / "web/static/site.css").read_bytes())  # as it goes over the wire
    assert len(page.encode()) + len(styles) < 50_000


OWN_POLICY = {
    "message_preview.html",  # what is shown in a sandboxed frame: web/frames.py has its policy
    "report.html",  # a file, which needs nothing else
    "compare.html",  # another
}


def test_no_template_has_inline_script_or_style() -> None:
    for file in TEMPLATES:
        text = file.read_text()
        if file.parent.parent.name == "notify":
            continue  # mail has no policy and no style sheets
        if file.name in OWN_POLICY:
            continue
        code = text.replace('<script type="application/ld+json">', "")  # data, which nothing runs
        assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son(click|load|change|submit|input)=", code), (
            file
        )
        assert not re.search(r"""(src|href|action)=["'](https?:)?//""", text), file


async def test_every_asset_of_a_page_is_there_and_kept(people: People) -> None:
    async with browser(people) as http:
        found = set()
        for path in ("/problems", "/docs"):
            found |= set(re.findall(r'(?:href|src)="(/static/[^"]+)"', (await http.get(path)).text))
        assert len(found) >= 6
        for address in found:
            response = await http.get(address)
            assert response.status_code == 200, address
            assert "immutable" in response.headers["cache-control"]
            assert response.headers.get("content-encoding") == "gzip" or len(response.content) < 1_000
            again = await http.get(address, headers={"if-none-match": response.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")


async def test_other_versions_are_served_but_not_kept(people: People) -> None:
    async with browser(people) as http:
        response = await http.get("/static/0000000000000000/web/site.css")
        assert response.status_code == 200
        assert response.headers["cache-control"] == "public, no-cache"
        assert response.headers["content-type"].startswith("text/css")
        plain = await http.get(static_url("web/site.css"), headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        for path in (
            "/static/",
            "/static/x",
            f"/static/{version()}/web/../web/forms.py",
            f"/static/{version()}/web/%00",
        ):
            assert (await http.get(path)).status_code in (404, 422), path
        assert (await http.post("/static/x/web/site.css", headers={"sec-fetch-site": "none"})).status_code == 405


def test_an_asset_that_does_not_exist_is_a_bug() -> None:
    with pytest.raises(KeyError, match=r"web/nothing\.css"):
        static_url("web/nothing.css")
    assert "web/countdown.js" in catalogue()


async def test_errors_have_calm_pages(people: People) -> None:
    async with browser(people) as http:
        for path, status, words in (
            ("/nothing", 404, "There is nothing at this address"),
            ("/own", 401, "You are not signed in here"),
            ("/problems/nothing", 404, "There is nothing at this address"),
        ):
            response = await http.get(path, headers=PAGE)
            assert response.status_code == status
            assert words in response.text
            assert response.headers["x-request-id"] in response.text
            assert "Go to the shop" in response.text
        foreign = await http.get("/", headers=PAGE | {"host": "evil.example"})
        assert foreign.status_code == 400
        assert "This shop has another address" in foreign.text


def test_a_page_tells_what_was_written_for_people() -> None:
    told = words_of(InvalidRequest(text("Only %(left)s left", left=3)))
    assert translated(told, "de") == "Nur noch 3 übrig"
    for problem in (NotFound("there is no such order"), UnknownProduct()):
        assert words_of(problem) == "It may be mistyped, or what was here is gone. Nothing in your cart changed."
    assert words_of(LimitReached("for programs")) == "You have as many as one person may have"
    for kind in (InvalidRequest, QuantityOutOfRange):
        assert words_of(kind("for programs")) == "Something in it is not right"


async def test_every_problem_has_its_page(people: People) -> None:
    async with browser(people) as http:
        index = (await http.get("/problems")).text
        for kind in problem_kinds().values():
            assert f'href="/problems/{kind.slug}"' in index
            response = await http.get(f"/problems/{kind.slug}")
            assert response.status_code == 200
            assert f"/problems/{kind.slug}" in response.text


async def test_the_reference_needs_nothing_from_elsewhere(people: People) -> None:
    async with browser(people) as http:
        response = await http.get("/docs")
    assert "unsafe" not in response.headers["content-security-policy"]
    assert not re.search(r'(src|href)="(https?:)?//', response.text)


@dataclass(frozen=True)
class Wrong:
    title: str


def test_a_context_is_complete_or_the_page_fails() -> None:
    with pytest.raises(UndefinedError):
        environment("en_GB").get_template("web/error.html").render(title="x")
