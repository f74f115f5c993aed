"""JSON routes of an account's address book."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from tidegate.checkout.address_book import (
    SavedAddress,
    change_address,
    list_addresses,
    remove_address,
    save_address,
)
from tidegate.checkout.address_rules import MAX_FIELD
from tidegate.checkout.contracts import Address, AddressBookFull
from tidegate.checkout.shop import Shop
from tidegate.platform.edge.openapi import SIGNED_IN, problems_by_status
from tidegate.platform.problems import NotFound, NotSignedIn
from tidegate.web import Visitor, require_account

router = APIRouter(prefix="/api/v1/addresses", tags=["addresses"])

Owner = Annotated[Visitor, Depends(require_account)]
Text = Annotated[str, Field(max_length=MAX_FIELD)]


class AddressFields(BaseModel):
    """An address; `country` is ISO 3166-1 alpha-2.

    `region` is the state or province, which addresses in some countries must have; `phone` is a number to call.
    """

    name: Text
    line1: Text
    city: Text
    postal_code: Text
    country: Annotated[str, Field(max_length=MAX_FIELD, json_schema_extra={"pattern": "^[A-Z]{2}$"})]
    region: Text = ""
    phone: Annotated[str, Field(max_length=40)] = ""

    def address(self) -> Address:
        """The address as use cases take it."""
        return Address(self.name, self.line1, self.city, self.postal_code, self.country, self.region, self.phone)


class AddressItem(AddressFields):
    """An address of the book."""

    id: UUID

    @classmethod
    def of(cls, saved: SavedAddress) -> AddressItem:
        """The shape of an address of the book."""
        each = saved.address
        return cls(
            id=saved.id,
            name=each.name,
            line1=each.line1,
            city=each.city,
            postal_code=each.postal_code,
            country=each.country,
            region=each.region,
            phone=each.phone,
        )


class AddressList(BaseModel):
    """The whole book, the address that was used last first; at most twenty."""

    items: list[AddressItem]


MINE = problems_by_status((NotSignedIn,))
ONE = problems_by_status((NotSignedIn, NotFound))


@router.get("", openapi_extra=SIGNED_IN, responses=MINE)
async def get_addresses(request: Request, owner: Owner) -> AddressList:
    """Your address book."""
    async with _shop(request).database.connection() as conn:
        book = await list_addresses(conn, person_id=owner.id)
    return AddressList(items=[AddressItem.of(each) for each in book])


@router.post("", status_code=201, openapi_extra=SIGNED_IN, responses=problems_by_status((NotSignedIn, AddressBookFull)))
async def post_address(request: Request, owner: Owner, body: AddressFields) -> AddressItem:
    """Put an address into your book. One that is in it already is answered as it is there, so repeats do no harm."""
    async with _shop(request).database.transaction() as conn:
        return AddressItem.of(await save_address(conn, person_id=owner.id, address=body.address()))


@router.put("/{address_id}", openapi_extra=SIGNED_IN, responses=ONE)
async def put_address(request: Request, owner: Owner, address_id: UUID, body: AddressFields) -> AddressItem:
    """Write another address in the place of one of yours. Orders that were placed keep the old one."""
    async with _shop(request).database.transaction() as conn:
        saved = await change_address(conn, person_id=owner.id, address_id=address_id, address=body.address())
    return AddressItem.of(saved)


@router.delete("/{address_id}", status_code=204, openapi_extra=SIGNED_IN, responses=ONE)
async def delete_address(request: Request, owner: Owner, address_id: UUID) -> Response:
    """Take an address out of your book."""
    async with _shop(request).database.transaction() as conn:
        await remove_address(conn, person_id=owner.id, address_id=address_id)
    return Response(status_code=204)


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop
