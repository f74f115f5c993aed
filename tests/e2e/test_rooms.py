"""A waiting room in a browser: lobby, draw, line, turn, and the draw's proof; sold out, a bad network, the staff.

axe finds nothing on any of its pages.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.conftest import Visit
from tests.e2e.shopper import CHECKOUT, Shopper, run, sku_of
from tests.e2e.test_pages import administrator, inspect
from tests.e2e.test_staff import staff_of
from tests.e2e.waiting_crowd import let_join
from tests.gate.test_signing import RING
from tests.servers import Shop, wait_until
from tidegate.gate import PollAnswer, Receipt, next_poll_s
from tidegate.gate.draw import Draw, draw_key
from tidegate.gate.log import BLOCK, consistency_proof, is_consistent, root_of
from tidegate.gate.receipts import Sheet
from tidegate.platform.ids import RoomId, new_id
from tidegate.web import static_url

pytestmark = pytest.mark.browser

JOIN_AGAIN = """async (address) => {
    const answer = await fetch(address, { method: "POST" });
    return (await answer.json()).receipt;
}"""
MARK = "window.sameDocument = true"
IS_SAME = "() => window.sameDocument === true"
COUNT_TONES = """
window.tones = 0;
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (at) { window.tones += 1; return start.call(this, at); };
"""
NO_CRYPTO = "Object.defineProperty(Crypto.prototype, 'subtle', { value: undefined })"
NO_SIGNATURES = """
const importKey = SubtleCrypto.prototype.importKey;
SubtleCrypto.prototype.importKey = function (format, key, kind, ...more) {
  if (kind.name === "Ed25519") return Promise.reject(new DOMException("", "NotSupportedError"));
  return importKey.call(this, format, key, kind, ...more);
};
"""
WITHIN_2_S = 2_000 + 1_000
"""What a message may take to those who wait, in ms; and a second for a busy machine."""


def make_room(shop: Shop, slug: str, product: str, *, mode: str, stock: int, opens_at: str = "now") -> str:
    """A drop with a room; the SKU that it sells."""
    sku = sku_of(shop, product)
    run(shop, "drop", "create", slug, "--sku", sku, "--stock", str(stock), "--opens-at", opens_at, "--room", mode)
    return sku


def take_place(visitor: Shopper, slug: str) -> None:
    """By the button of the room's page, as soon as this process knows the room."""
    wait_until(lambda: visitor.reads(f"/drops/{slug}/room", "Waiting room:"), what="the room's page")
    wait_until(lambda: visitor.reads(f"/drops/{slug}/room", "Take a place"), what="its lobby")
    visitor.press("Take a place")
    expect(visitor.page.get_by_role("button", name="Give my place up")).to_be_visible()


def step(page: Page, name: str) -> Callable[[str], None]:
    """What a step of the draw's page says."""
    return lambda words: expect(page.locator(f"[data-step={name}]")).to_contain_text(words)


def test_lobby_draw_line_and_turn(shop: Shop, visit: Visit) -> None:
    make_room(shop, "moon-night", "giant-garden-thermometer", mode="draw", stock=9, opens_at="+1h")
    stranger, buyer, staff = visit(shop), staff_of(shop, visit), staff_of(shop, visit)
    wait_until(lambda: stranger.reads("/drops/moon-night/room", "Sign in and take a place"))
    inspect(stranger, "room-before-sign-in")
    stranger.press("Sign in and take a place")
    stranger.page.wait_for_url(re.compile("/login"))
    let_join(shop, "moon-night", people=2)
    take_place(buyer, "moon-night")
    buyer.sees("You have a place.")
    older = buyer.page.evaluate(JOIN_AGAIN, "/api/v1/drops/moon-night/places")
    let_join(shop, "moon-night", people=1)
    expect(buyer.page.get_by_text("Opens in")).to_be_visible()
    inspect(buyer, "room-lobby")
    buyer.go("/drops/moon-night/draw")
    buyer.sees("Note it down now")
    commitment = buyer.page.locator("[data-draw=commitment]").inner_text()
    inspect(buyer, "draw-before")

    buyer.page.context.clear_cookies()
    buyer.go("/drops/moon-night/room")
    buyer.sees("Sign in and take a place")
    buyer = staff_of(shop, visit)
    buyer.page.add_init_script(COUNT_TONES)
    buyer.go("/drops/moon-night/room")
    buyer.sees("You have a place.")
    buyer.press("Play a sound when it is my turn")
    expect(buyer.page.get_by_role("button", name="A sound plays when it is your turn")).to_be_visible()
    buyer.page.evaluate(MARK)

    staff.go("/admin/drops/moon-night/room")
    staff.press("Pause")
    staff.sees("Nobody is let in.")
    staff.page.get_by_role("link", name="Open now").click()
    staff.sees("Lots are drawn among the 4 people who have a place now.")
    inspect(staff, "admin-room-open")
    staff.press("Open now")
    expect(staff.page.locator("#live .badge")).to_have_text("Paused")
    buyer.sees("Nobody is let in at the moment.")
    buyer.sees(re.compile(r"You are number [1-4] of 4\."))
    assert buyer.page.evaluate(IS_SAME), "nobody loads the page anew at the draw"
    inspect(buyer, "room-in-line")
    number = buyer.page.locator("[data-show=number]").inner_text()
    receipt = check_the_draw(buyer, visit, commitment=commitment, number=number)
    check_older_receipt(visit(shop), older)
    check_with_less(shop, visit, commitment=commitment, receipt=receipt)

    buyer.go("/drops/moon-night/room")
    buyer.press("Play a sound when it is my turn")
    before = buyer.page.evaluate("window.tones")
    assert before == 1, "it is heard at once"
    buyer.page.evaluate("addEventListener('pagehide', () => sessionStorage.setItem('tones', window.tones))")
    staff.go("/admin/drops/moon-night/room")
    staff.press("Go on")
    buyer.sees("Choose before the time is over")
    expect(buyer.page).to_have_title(re.compile("^It is your turn: "))
    assert buyer.page.evaluate("Number(sessionStorage.getItem('tones'))") == before + 3
    inspect(buyer, "room-turn")
    buyer.press("Buy now")
    buyer.page.wait_for_url(CHECKOUT)
    staff.go("/admin/drops/moon-night/room")
    expect(staff.page.locator(".figures")).to_contain_text("Took something1")


def test_who_looks_early_signs_in_early(shop: Shop, visit: Visit) -> None:
    make_room(shop, "comet-night", "victorian-glass-hanging-t-light", mode="draw", stock=9, opens_at="+5h")
    stranger = visit(shop)
    wait_until(lambda: stranger.reads("/drops/comet-night/room", "People can take a place from"))
    stranger.sees("Sign in now, so that you need not do it when everybody comes.")
    inspect(stranger, "room-before-lobby")
    wait_until(lambda: stranger.reads("/drops/comet-night", "Sign in now"))
    expect(stranger.page.get_by_text("You are signed in")).to_be_hidden()
    inspect(stranger, "drop-with-room")
    stranger.page.get_by_role("main").get_by_role("link", name="Sign in").click()
    email, password = administrator(shop)
    stranger.page.get_by_label("E-mail address").fill(email)
    stranger.page.get_by_label("Password").fill(password)
    stranger.press("Sign in")
    stranger.page.wait_for_url(f"{shop.base_url}/drops/comet-night")
    stranger.sees("You are signed in, so you are ready to take a place.")
    expect(stranger.page.get_by_text("Sign in now")).to_be_hidden()
    inspect(stranger, "drop-with-room-signed-in")
    stranger.page.get_by_role("link", name="Go to the waiting room").click()
    stranger.sees("You are signed in, so you are ready to take a place.")
    inspect(stranger, "room-before-lobby-signed-in")


def check_the_draw(buyer: Shopper, visit: Visit, *, commitment: str, number: str) -> str:
    """The draw's page: one's own receipt, which is returned, a pasted one, and whatever was tampered with."""
    page = buyer.page
    buyer.go("/drops/moon-night/draw")
    buyer.sees("All of it fits.")
    step(page, "log")("Your entry is in the log: yes.")
    step(page, "number")(f"Your number from the published seed: {number}: the same that we gave you.")
    step(page, "signature")("This shop signed your receipt: yes.")
    step(page, "seed")("The seed is the one that was committed to before: yes.")
    buyer.sees("Reproduced: your number comes from the seed and the list of places.")
    inspect(buyer, "draw-own")
    receipt = page.get_by_label("Your receipt").input_value()

    stranger = visit(buyer.shop)
    stranger.go("/drops/moon-night/draw")
    stranger.sees("Paste the receipt that you were given with your place.")
    stranger.page.get_by_label("Your receipt").fill(f" {receipt} ")
    stranger.page.get_by_text("I noted the commitment before it opened").click()
    stranger.page.get_by_label("The commitment as you noted it").fill(commitment)
    stranger.press("Check it")
    stranger.sees("All of it fits.")
    step(stranger.page, "noted")("The commitment is the one that you noted: yes.")
    step(stranger.page, "number")(f"Your number from the published seed: {number}: the same that we gave you.")
    stranger.page.get_by_label("The commitment as you noted it").fill("0" * 64)
    stranger.press("Check it")
    step(stranger.page, "noted")("The commitment is the one that you noted: no.")
    stranger.sees("Something does not fit.")
    stranger.page.get_by_label("Your receipt").fill("tgr1.nothing")
    stranger.press("Check it")
    stranger.sees("This is not a receipt.")

    changed = list(receipt)
    changed[50] = "A" if changed[50] != "A" else "B"  # somewhere in the entry's hash
    stranger.page.get_by_label("Your receipt").fill("".join(changed))
    stranger.page.get_by_label("The commitment as you noted it").fill("")
    stranger.press("Check it")
    stranger.sees("Something does not fit.")
    step(stranger.page, "signature")("This shop signed your receipt: no.")
    step(stranger.page, "log")("Your entry is in the log: no.")
    inspect(stranger, "draw-tampered")

    for name, wrong in (
        ("seed", {"seed": "no. Its hash is not the commitment.", "number": "which is another one."}),
        ("root", {"log": "no. The log that was drawn from", "digest": "fits the values of this page: no."}),
        ("digest", {"digest": "fits the values of this page: no."}),
        ("commitment", {"seed": "no. Its hash is not the commitment.", "digest": "fits the values of this page: no."}),
    ):
        with_another(page, name)
        buyer.go("/drops/moon-night/draw")
        buyer.sees("Something does not fit.")
        for where, words in wrong.items():
            step(page, where)(words)
        page.unroute_all()
    stranger.page.route("**/entries/*", lambda route: route.fulfill(json=lying(route, number=99)))
    stranger.page.get_by_label("Your receipt").fill(receipt)
    stranger.press("Check it")
    step(stranger.page, "number")("We gave you 99, which is another one.")
    return receipt


def check_older_receipt(stranger: Shopper, receipt: str) -> None:
    """A receipt from before the last one came: its log must be the beginning of the one that was drawn from."""
    page = stranger.page
    stranger.go("/drops/moon-night/draw")
    page.get_by_label("Your receipt").fill(receipt)
    stranger.press("Check it")
    step(page, "grown")("The log goes on from the one of your receipt, which had 3 entries: yes.")
    stranger.sees("All of it fits.")
    inspect(stranger, "draw-older")
    nodes = ["ab" * 32]
    page.route("**/consistency/3", lambda route: route.fulfill(json=lying(route, proof=nodes)))
    stranger.press("Check it")
    step(page, "grown")("which had 3 entries: no.")
    stranger.sees("Something does not fit.")
    page.unroute_all()


def check_with_less(shop: Shop, visit: Visit, *, commitment: str, receipt: str) -> None:
    """The draw's page in browsers that lack something."""
    for script, words in ((NO_SIGNATURES, "this browser cannot check signatures"), (NO_CRYPTO, "over https only")):
        lesser = visit(shop)
        lesser.page.add_init_script(script)
        lesser.go("/drops/moon-night/draw")
        if script is NO_SIGNATURES:
            lesser.page.get_by_label("Your receipt").fill(receipt)
            lesser.press("Check it")
            lesser.sees("Nothing is wrong, but not all of it could be checked.")
        lesser.sees(words)

    plain = visit(shop, javascript=False)
    plain.go("/drops/moon-night/draw")
    assert "Without JavaScript this page cannot compute." in plain.page.locator("main noscript").inner_text()
    command = f"tidegate verify-draw {shop.base_url}/drops/moon-night \\ --commitment {commitment}"
    expect(plain.page.locator(".command")).to_contain_text(command)


def with_another(page: Page, name: str) -> None:
    """Let the draw's page show another value of 64 digits."""
    value = re.compile(rf'(data-draw="{name}">)[0-9a-f]{{64}}')

    def answer(route: Route) -> None:
        real = route.fetch()
        route.fulfill(response=real, body=value.sub(rf"\g<1>{'ab' * 32}", real.text(), count=1))

    page.route("**/drops/moon-night/draw", answer)


def lying(route: Route, **values: object) -> dict[str, object]:
    """What the shop answers, with something else in it."""
    found: dict[str, object] = json.loads(route.fetch().text()) | values
    return found


def test_lots_wait_for_the_value_that_staff_draw_in_public(shop: Shop, visit: Visit) -> None:
    make_room(shop, "dice-night", "harmonica-in-box", mode="draw", stock=9, opens_at="+1h")
    with psycopg.connect(shop.endpoints()["database_url"], autocommit=True) as conn:
        conn.execute("UPDATE gate.rooms SET beacon_source = 'staff' WHERE slug = 'dice-night'")
    let_join(shop, "dice-night", people=2)
    buyer, staff = staff_of(shop, visit), staff_of(shop, visit)
    take_place(buyer, "dice-night")
    staff.go("/admin/drops/dice-night/room")
    staff.page.get_by_label("The value of the draw").fill("4 2 6")
    staff.press("Draw the lots with it")
    staff.sees("type it in right after the room has opened")
    staff.go("/admin/drops/dice-night/room/open")
    staff.press("Open now")
    staff.sees("they wait for the value that you draw in public")
    inspect(staff, "admin-room-awaits-value")
    buyer.sees("The lots are drawn as soon as the staff have read out a value in public")
    inspect(buyer, "room-drawing")
    stranger = visit(shop)
    stranger.go("/drops/dice-night/draw")
    stranger.sees("The lots are drawn when the value from outside is there")
    staff.page.get_by_label("The value of the draw").fill("4 2 6")
    staff.press("Draw the lots with it")
    buyer.sees(re.compile(r"You are number [1-3] of 3\.|It is your turn"))
    stranger.go("/drops/dice-night/draw")
    stranger.sees("A value that the staff read out in public after the list was closed went into it")
    stranger.sees("The value was taken")
    inspect(stranger, "draw-of-staff")


def test_sold_out_while_waiting_and_the_next_in_line(shop: Shop, visit: Visit) -> None:
    sku = make_room(shop, "star-night", "enamel-flower-jug-cream", mode="arrival", stock=1)
    [first] = let_join(shop, "star-night", people=1)
    buyer, staff = staff_of(shop, visit), staff_of(shop, visit)
    take_place(buyer, "star-night")
    buyer.sees("You are number 2 of 2.")
    buyer.page.evaluate(MARK)
    staff.go("/admin/drops/star-night/room")
    staff.page.get_by_label("Message to all who wait").fill("One is left.")
    staff.press("Save")
    expect(buyer.page.locator("[data-message]")).to_contain_text("One is left.", timeout=WITHIN_2_S)
    staff.sees("Those who wait read: “One is left.”")
    inspect(staff, "admin-room")

    buyer.page.context.set_offline(True)
    buyer.sees("You are offline, or we cannot be reached.")
    buyer.sees("Your place is kept: it is stored with us, not on this page.")
    inspect(buyer, "room-offline")
    buyer.page.context.set_offline(False)
    expect(buyer.page.locator("[data-offline]")).to_be_hidden()

    first.buy(sku)
    buyer.sees("All of it is taken. Nothing was charged to those who waited.")
    assert buyer.page.evaluate(IS_SAME), "neither a lost poll nor the end loads the page anew"
    inspect(buyer, "room-sold-out")
    run(shop, "stock", "set", sku, "1")
    buyer.sees("Choose before the time is over")


def test_a_page_with_a_place_of_an_earlier_room_is_loaded_anew(shop: Shop, visit: Visit) -> None:
    make_room(shop, "nova-night", "hanging-metal-lantern", mode="arrival", stock=1)
    let_join(shop, "nova-night", people=3)
    waiting = staff_of(shop, visit)
    take_place(waiting, "nova-night")
    waiting.sees("You are number 4 of 4.")
    run(shop, "drop", "replay", "nova-night")
    expect(waiting.page.get_by_role("button", name="Take a place")).to_be_visible()


def assert_same_consistency(page: Page, module: str) -> None:
    """All pairs of small logs: the proof fits, and with anything changed in it, it does not."""
    leaves = [hashlib.sha256(bytes([n])).digest() for n in range(9)]
    proofs: list[dict[str, Any]] = []
    for second in range(1, 10):
        for first in range(1, second + 1):
            block = leaves[:second] if first % BLOCK else []
            path = consistency_proof(first, second, block=block, blocks=[root_of(leaves[:second])])
            proof = [node.hex() for node in path]
            roots = {"firstRoot": root_of(leaves[:first]).hex(), "secondRoot": root_of(leaves[:second]).hex()}
            right: dict[str, Any] = {"first": first, "second": second, "proof": proof, **roots}
            wrong: list[dict[str, Any]] = [
                {"firstRoot": "ab" * 32},
                {"secondRoot": "ab" * 32},
                {"proof": [*proof, "ab" * 32]},
            ]
            proofs += [right, *(right | change for change in wrong)]
            proofs += [right | {"proof": proof[:at] + proof[at + 1 :]} for at in range(len(proof))]
    found = page.evaluate(
        """async ([module, proofs]) => {
            const { isConsistent } = await import(module);
            return Promise.all(proofs.map((proof) => isConsistent(proof)));
        }""",
        [module, proofs],
    )
    expected = [
        is_consistent(
            each["first"], each["second"], [bytes.fromhex(node) for node in each["proof"]],
            first_root=bytes.fromhex(each["firstRoot"]), second_root=bytes.fromhex(each["secondRoot"]),
        )
        for each in proofs
    ]  # fmt: skip
    assert found == expected
    assert sum(expected) == 45, "one for each pair"


def test_a_browser_computes_what_the_gate_does(shop: Shop, visit: Visit) -> None:
    visitor = visit(shop)
    visitor.go("/")
    module = static_url("storefront/draw.js")
    seed, root, beacon = "5e" * 32, "0c" * 32, "7 of hearts, 4 of clubs \N{EM DASH} Zürich"
    key = draw_key(bytes.fromhex(seed), root=bytes.fromhex(root), beacon=beacon)
    sizes = (1, 2, 3, 15, 16, 17, 257, 98_500, 999_999, 2**40)
    asked = [(size, index) for size in sizes for index in sorted({0, size // 3, size - 1})]
    asked += [(12, index) for index in range(12)]
    computed = visitor.page.evaluate(
        """async ([module, values, asked]) => {
            const { numberOf } = await import(module);
            return Promise.all(asked.map(([size, index]) => numberOf({ ...values, size }, index)));
        }""",
        [module, {"seed": seed, "root": root, "beacon": beacon}, asked],
    )
    assert computed == [Draw(key, size).number(index) for size, index in asked]

    assert_same_consistency(visitor.page, module)
    receipts = [Receipt(RoomId(new_id()), n, hashlib.sha256(bytes([n])).digest(), 7, b"r" * 32) for n in range(7)]
    sheet = Sheet(receipts)
    texts = [sheet.text(RING, line) for line in range(7)]
    cut = [text[:-4] + ("AAAA" if text[-4:] != "AAAA" else "BBBB") for text in texts]
    swapped = [".".join([*texts[n].split(".")[:3], texts[n - 1].split(".")[3]]) for n in range(7)]
    keys = [{"kid": kid, "x": urlsafe_b64encode(raw).decode().rstrip("=")} for kid, raw in RING.public_keys.items()]
    signed = visitor.page.evaluate(
        """async ([module, keys, texts]) => {
            const { isSigned, readReceipt } = await import(module);
            return Promise.all(texts.map((text) => isSigned(readReceipt(text), keys)));
        }""",
        [module, keys, [*texts, *cut, *swapped]],
    )
    assert signed == [True] * 7 + [False] * 14

    poll = PollAnswer(near_s=1, far_s=60, per_s=40.0, jitter=0.3)
    places = (None, 1, 40, 41, 2_000, 500_000)
    wishes = [(number, opens_in_s, draw) for number in places for opens_in_s in (-5, 200, 9_000) for draw in (0, 0.6)]
    waits = visitor.page.evaluate(
        """async ([module, poll, wishes]) => {
            const { nextPoll } = await import(module);
            return wishes.map(([number, opensIn_s, draw]) => nextPoll({ poll, number, serving: 1, opensIn_s, draw }));
        }""",
        [static_url("storefront/poll.js"), msgspec.to_builtins(poll), wishes],
    )
    expected = [
        next_poll_s(poll, number=number, serving=1, opens_in_s=opens_in_s, draw=draw)
        for number, opens_in_s, draw in wishes
    ]
    assert waits == pytest.approx(expected)
    pauses = visitor.page.evaluate(
        """async (module) => {
            const { retryPause } = await import(module);
            const after = (failures, draw, retryAfter_s = 0) => retryPause({ failures, draw, retryAfter_s });
            return [after(1, 0), after(1, 1), after(3, 1), after(40, 0), after(40, 1), after(1, 1, 30)];
        }""",
        static_url("storefront/poll.js"),
    )
    assert pauses == [1, 2, 8, 30, 60, 30]
