"""Every form of every page, filled in badly: a page says in plain words what is wrong, and keeps what was typed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.conftest import Visit
from tests.e2e.shopper import Shopper
from tests.e2e.test_access import addresses
from tests.servers import Shop, wait_until
from tests.sizes import at_full_size

pytestmark = pytest.mark.browser

RUBBISH = "<b>Ünglaublich & 'lang'</b> " * 12
"""Too long for a line, no number, no address, no date, and not HTML either."""

FORMS = """() => [...document.querySelectorAll('main form[method=post]')]
    .map(form => ({action: form.getAttribute('action') || '',
        names: [...form.elements].filter(field => field.name && field.matches(
            'textarea, input:not([type=hidden], [type=checkbox], [type=radio], [type=submit], [type=file],'
            + ' [type=time])'))
            .map(field => field.name)}))
    .filter(form => form.names.length)"""
"""The forms of a page into which something is typed."""

SEND = """([action, names, text]) => {
    const typed = 'textarea, input:not([type=hidden], [type=checkbox], [type=radio], [type=file])';
    const form = [...document.querySelectorAll('main form[method=post]')]
        .find(each => (each.getAttribute('action') || '') === action && each.elements[names[0]]);
    if (!form) return false;
    form.noValidate = true;
    for (const field of form.elements) {
        if (!field.name || !field.matches(typed)) continue;
        if (text && field.matches('[type=date], [type=datetime-local], [type=time]')) continue;
        if (field.matches('[type=email], [type=number]')) field.type = 'text';
        field.removeAttribute('maxlength');
        field.value = text;
    }
    form.requestSubmit(form.querySelector('button.button-primary') || form.querySelector('button'));
    return true;
}"""

ANSWER = """([action, names]) => {
    const forms = [...document.querySelectorAll('main form[method=post]')];
    const form = forms.find(each => (each.getAttribute('action') || '') === action && each.elements[names[0]]);
    const typed = !form ? null : Object.fromEntries(names.map(name => form.elements[name])
        .filter(field => field && !field.matches('[type=password], [type=date], [type=datetime-local]'))
        .map(field => [field.name, [field.value, field.maxLength]]));
    const wrong = [...document.querySelectorAll('[aria-invalid=true]')].map(field => [field.name,
        (field.getAttribute('aria-describedby') || '').split(' ')
            .map(id => document.getElementById(id)?.textContent.trim() || '').join(' ').trim()]);
    const active = document.activeElement;
    return {typed, wrong, focus: active.matches('[role=alert], [aria-invalid=true]'),
        alert: document.querySelector('main [role=alert]')?.textContent.trim() || '',
        title: document.querySelectorAll('h1').length, ways: document.querySelectorAll('main .actions a').length};
}"""

SIGNED_IN = ("/admin", "/account")
LINKS = ("/confirm?token=nothing-like-it", "/reset/new?token=nothing-like-it", "/invitation?token=nothing-like-it")
"""Where mailed links lead: pages that a walk without mails does not see."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form on a page."""

    address: str
    action: str
    names: tuple[str, ...]


def forms(visitor: Shopper, address: str) -> Iterator[Form]:
    """The forms of a page that have fields to type into."""
    answer = visitor.page.goto(visitor.shop.base_url + address)
    assert answer is not None
    assert answer.status in (200, 404), f"{address} answers {answer.status}"
    for each in visitor.page.evaluate(FORMS):
        yield Form(address, each["action"], tuple(each["names"]))


def complaints(visitor: Shopper, form: Form, text: str) -> Iterator[str]:
    """What is amiss in the answer to a form that is filled with `text`."""
    page = visitor.page
    visitor.go(form.address)
    with page.expect_navigation() as sent:
        assert page.evaluate(SEND, [form.action, form.names, text]), f"{form.address} lost its form {form.action}"
    answer = sent.value
    if answer.status >= 500:
        yield f"answers {answer.status}"
    elif answer.status >= 400:
        if not (answer.headers.get("content-type") or "").startswith("text/html"):
            yield "is answered with no page"
            return
        said = page.evaluate(ANSWER, [form.action, form.names])
        if said["typed"] is not None and not said["focus"]:
            with suppress(AssertionError):  # a browser obeys autofocus when it draws the page, maybe after its load
                wait_until(lambda: page.evaluate("document.activeElement !== document.body"), timeout_s=2)
            said = page.evaluate(ANSWER, [form.action, form.names])
        yield from _unhelpful(form, said, text)
    elif text:
        yield "took rubbish"
    if page.get_by_role("heading", level=1).count() != 1:
        yield "leads to a page without one first heading"


def _unhelpful(form: Form, said: dict[str, Any], text: str) -> Iterator[str]:
    if said["title"] != 1:
        yield "has no single first heading"
    if said["typed"] is None:
        if not (said["alert"] or said["ways"]):
            yield "the form is gone, and nothing says why"
        return
    if not said["wrong"] and not form.address.endswith("/reopen"):  # what is walked is a drop that runs
        yield f"marks no field as wrong (it says: {said['alert'][:80]!r})"
    yield from (f"says nothing beside {name}" for name, words in said["wrong"] if not words)
    if not said["focus"]:
        yield "leaves the focus elsewhere than at what is wrong"
    for name, (kept, longest) in said["typed"].items():
        whole = kept.strip() == text.strip()
        cut = bool(kept) and text.startswith(kept.strip()) and len(kept) >= longest > 0
        if not whole and not cut:
            yield f"loses what was typed into {name}: {kept[:40]!r}"


@at_full_size  # forms are filled in badly without a browser, too: tests/admin, tests/storefront, tests/checkout
@pytest.mark.timeout(300)
def test_bad_input_is_explained_and_kept(shop: Shop, visit: Visit) -> None:
    shopper, staff = visit(shop), visit(shop)
    found: list[str] = []
    walked = 0
    known = (*addresses(shopper, staff).values(), *LINKS)
    with_a_zone(staff)
    for address in known:
        visitor = staff if address.startswith(SIGNED_IN) else shopper
        for form in list(forms(visitor, address)):
            walked += 1
            for kind, text in (("rubbish", RUBBISH), ("empty", "")):
                told = complaints(visitor, form, text)
                found += [f"{address} ({form.action or 'itself'}), {kind}: {each}" for each in told]
    assert walked >= 20, "a walk that sees no forms proves nothing"
    assert not found, "\n".join(found)


def with_a_zone(staff: Shopper) -> None:
    """A zone of delivery, whose form for ways to send is on the page then; a zone alone costs nobody anything."""
    staff.go("/admin/shipping")
    staff.page.locator("form[action='/admin/shipping/zones'] [name=name]").fill("Everywhere else")
    staff.page.locator("form[action='/admin/shipping/zones'] button").click()
    staff.sees("Everywhere else")
