"""Who is asking: bearer tokens, cookies, guests."""

from __future__ import annotations

import pytest

from tests.web.conftest import SAME_ORIGIN, People, browser
from tidegate.web import SESSION_COOKIE


async def test_a_bearer_token_names_a_person(people: People) -> None:
    customer, staff = people.add("customer"), people.add("staff")
    async with browser(people) as http:
        assert (await http.get("/me")).json() == {"role": None}
        assert (await http.get("/me", headers={"authorization": f"Bearer {customer.token}"})).json() == {
            "role": "customer"
        }
        http.cookies.set(SESSION_COOKIE, customer.token)
        assert (await http.get("/me")).json() == {"role": "customer"}
        assert (await http.get("/me", headers={"authorization": f"bearer {staff.token}"})).json() == {"role": "staff"}
        assert people.asked == 3  # once per request, and not at all without a token


@pytest.mark.parametrize(
    "token", ["", "short", "x" * 300, "with space and more", "bad\xff" + "x" * 20, "'; DROP TABLE--" * 2]
)
async def test_what_is_no_token_is_not_looked_up(people: People, token: str) -> None:
    async with browser(people) as http:
        headers = {b"authorization": b"Bearer " + token.encode("latin-1")}
        assert (await http.get("/me", headers=headers)).json() == {"role": None}
        headers = {b"cookie": b"tidegate_session=" + token.encode("latin-1")}
        assert (await http.get("/me", headers=headers)).json() == {"role": None}
    assert people.asked == 0


async def test_doors_are_closed_by_default(people: People) -> None:
    async with browser(people) as http:
        assert (await http.get("/own")).status_code == 401
        guest = {"authorization": f"Bearer {people.add('guest').token}"}
        assert (await http.get("/own", headers=guest)).status_code == 200


@pytest.mark.parametrize("secure", [False, True])
async def test_a_stranger_becomes_a_guest_once(people: People, secure: bool) -> None:
    async with browser(people, secure=secure) as http:
        page = (await http.get("/buy")).text
        token = page.partition('name="form_token" value="')[2].partition('"')[0]
        first = await http.post("/buy", data={"form_token": token, "sku": "A-1"}, headers=SAME_ORIGIN)
        assert first.status_code == 303
        cookie = next(c for c in first.headers.get_list("set-cookie") if c.startswith(SESSION_COOKIE)).lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "path=/" in cookie
        assert "domain" not in cookie
        assert ("secure" in cookie) is secure
        second = await http.post("/buy", data={"form_token": token, "sku": "A-2"}, headers=SAME_ORIGIN)
        assert second.status_code == 303
        assert "set-cookie" not in second.headers
        assert len(people.known) == 1
        await http.post("/leave", headers=SAME_ORIGIN)
        assert (await http.get("/me")).json() == {"role": None}
