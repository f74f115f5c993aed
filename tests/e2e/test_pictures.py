"""Pictures and options in a browser: uploaded and seen at once, bad files told, choices told; axe finds nothing."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Visit
from tests.e2e.shopper import CHECKOUT, Shopper, run
from tests.e2e.test_pages import inspect
from tests.e2e.test_staff import staff_of
from tests.pictures import SVG, a_bomb, a_picture
from tests.servers import Shop

pytestmark = pytest.mark.browser

TEES = [("S", "Moss", 0), ("S", "Brick", 9), ("M", "Moss", 4), ("M", "Brick", 9), ("L", "Brick", 0)]
ADD = "Add the picture"


def choose(staff: Shopper, file: Path, content: bytes) -> None:
    """Choose a file in the form that uploads."""
    file.write_bytes(content)
    staff.page.get_by_label("Picture file").set_input_files(file)


def test_an_uploaded_picture_is_seen_at_once(shop: Shop, visit: Visit, tmp_path: Path) -> None:
    guest, staff = visit(shop), staff_of(shop, visit)
    guest.go("/products/chilli-lights")
    expect(guest.page.locator(".picture-lead img")).to_have_attribute("src", re.compile("^/art/"))
    staff.go("/admin/products/chilli-lights/edit")
    staff.page.get_by_role("link", name="Add pictures").click()
    for content, told in (
        (SVG, "This is an SVG drawing"),
        (b"not a picture at all", "The shop cannot read this file."),
        (a_picture()[:-5_000], "This picture is damaged or not complete."),
        (a_bomb(), "has far more pixels than the shop takes"),
        (b"\xff\xd8\xff" + bytes(16_000_000), "This file is larger than 15 MB."),
    ):
        staff.page.get_by_label("What it shows").fill("A string of red chilli lights across a window")
        choose(staff, tmp_path / "photo.jpg", content)
        staff.press(ADD)
        staff.sees(told)
    expect(staff.page.get_by_label("What it shows")).to_have_value("A string of red chilli lights across a window")
    inspect(staff, "admin-pictures-wrong")
    staff.page.get_by_label("What it shows").fill("")
    choose(staff, tmp_path / "photo.jpg", a_picture(width=2400, height=1600))
    staff.press(ADD)
    staff.sees("Your picture is uploaded and kept here")
    inspect(staff, "admin-pictures-kept")
    staff.page.get_by_label("What it shows").fill("A string of red chilli lights across a window")
    staff.press(ADD)
    staff.sees("The picture is there.")
    guest.page.reload()
    picture = guest.page.get_by_role("img", name="A string of red chilli lights across a window")
    expect(picture).to_be_visible()
    assert picture.evaluate("each => each.complete && each.naturalWidth") > 0
    choose(staff, tmp_path / "second.png", a_picture("PNG", width=700, height=1100, colour="#2b5866"))
    staff.page.get_by_label("Decoration only").last.check()
    staff.press(ADD)
    staff.sees("2 pictures")
    inspect(staff, "admin-pictures")
    staff.page.get_by_label("Place").first.fill("3")
    staff.press("Save")
    staff.sees("Saved. The shop shows it now.")
    guest.page.reload()
    expect(guest.page.locator(".gallery img")).to_have_attribute("alt", "A string of red chilli lights across a window")
    inspect(guest, "product-pictures")


def test_a_collection_presents_itself(shop: Shop, visit: Visit, tmp_path: Path) -> None:
    guest, staff = visit(shop), staff_of(shop, visit)
    staff.go("/admin/collections/kitchen")
    staff.page.get_by_label("Description", exact=False).first.fill(
        "Things for the table and the shelf above it, made to be used every day.\n\nMost of them are enamel."
    )
    staff.page.get_by_role("button", name="Save", exact=True).click()
    staff.sees("Saved. The shop shows it now.")
    choose(staff, tmp_path / "kitchen.jpg", a_picture(width=1800, height=900, colour="#4b8a57"))
    staff.page.get_by_label("What it shows").fill("A shelf with cups in a row")
    staff.press(ADD)
    staff.sees("Saved. The shop shows it now.")
    last = staff.page.get_by_label(re.compile("^Place of ")).last
    name = (last.get_attribute("aria-label") or "").removeprefix("Place of ")
    last.fill("1")
    staff.press("Save the order")
    staff.sees("Saved. The shop shows it now.")
    inspect(staff, "admin-collection")
    guest.go("/collections/kitchen")
    expect(guest.page.locator(".shelf h2 a").first).to_have_text(name)
    expect(guest.page.get_by_role("img", name="A shelf with cups in a row")).to_be_visible()
    inspect(guest, "collection-pictures")


def test_options_tell_what_goes_together(shop: Shop, visit: Visit, tmp_path: Path) -> None:
    listed = tmp_path / "tee.csv"
    with listed.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(
            ["Handle", "Title", "Option1 Name", "Option1 Value", "Option2 Name", "Option2 Value",
             "Variant SKU", "Variant Price", "Variant Inventory Qty", "Status"]
        )  # fmt: skip
        for size, colour, stock in TEES:
            price = "24.00" if colour == "Moss" else "19.00"
            rows.writerow(
                ["field-tee", "Field tee", "Size", size, "Colour", colour, f"{size}-{colour}", price, stock, "active"]
            )
    run(shop, "import", str(listed))
    shopper = visit(shop)
    shopper.go("/products/field-tee")
    shopper.sees("S, Brick")
    shopper.page.get_by_role("radio", name="Moss").check()
    shopper.sees("S, Moss is sold out.")
    shopper.sees("Moss can be had in: M.")
    expect(shopper.page.locator("input[value=L]")).to_be_disabled()
    inspect(shopper, "product-options")
    shopper.page.locator("input[value=M]").check()
    shopper.sees("M, Moss")
    expect(shopper.page.locator("#chosen .price")).to_have_text("£24.00")
    shopper.press("Buy now")
    shopper.page.wait_for_url(CHECKOUT)
    shopper.sees("Moss")
    plain = visit(shop, javascript=False, width=390)
    plain.go("/products/field-tee")
    plain.page.get_by_role("radio", name="Moss").check()
    plain.press("Buy now")
    plain.sees("S, Moss is sold out.")
    plain.page.get_by_text("All versions and prices").first.click()
    expect(plain.page.get_by_role("row", name=re.compile("M Moss £24.00 Only . left"))).to_be_visible()
