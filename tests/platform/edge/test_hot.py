"""Hot routes behave like the other routes, and stand in the same document."""

from __future__ import annotations

import typing

import msgspec
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY

from tests.platform.edge.conftest import ROUTES, BasketBody, Client, small_shop
from tests.platform.edge.test_errors import assert_problem
from tidegate.platform.access_log import flush_requests
from tidegate.platform.edge.hot import explain
from tidegate.platform.edge.openapi import PROBLEM_SCHEMA, describe

GOOD = {"lines": [{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 3}], "unknown": "ignored"}


@pytest.fixture
def document() -> dict[str, typing.Any]:
    return describe(small_shop(), ROUTES)


async def test_a_hot_route_decodes_and_answers(client: Client) -> None:
    async with client() as http:
        response = await http.post("/api/v1/baskets", json=GOOD)
        assert response.status_code == 201
        assert response.json() == {"id": "b1", "quantity": 5}
        assert (await http.get("/api/v1/baskets/b%2F7")).status_code == 404  # a slash is no part of one segment
        assert (await http.get("/api/v1/baskets/b7")).json() == {"id": "b7", "quantity": 1}


async def test_a_problem_keeps_its_own_words_and_members(client: Client) -> None:
    async with client() as http:
        response = await http.post("/api/v1/baskets", json=GOOD | {"note": "gone"})
    document = assert_problem(response, 409, "gone-for-good")
    assert document["detail"] == "It is gone; your basket is kept."
    assert document["left"] == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"lines": [{"sku": "A", "quantity": "2"}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "A", "quantity": 2.5}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "A", "quantity": 10**30}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "A"}]}, "lines[0].quantity"),
        ({"lines": []}, "lines"),
        ({}, "lines"),
        ([], ""),
        ({"lines": [{"sku": None, "quantity": 2}]}, "lines[0].sku"),
    ],
)
async def test_a_wrong_field_is_named(client: Client, body: object, field: str) -> None:
    async with client() as http:
        document = assert_problem(await http.post("/api/v1/baskets", json=body), 422, "invalid-request")
    assert [error["field"] for error in document["errors"]] == [field]  # type: ignore[attr-defined]


async def test_only_json_is_taken(client: Client) -> None:
    async with client() as http:
        response = await http.post("/api/v1/baskets", content=b"{}", headers={"content-type": "application/xml"})
        assert_problem(response, 415, "unsupported-media-type")
        response = await http.post("/api/v1/baskets", content=b"{}")
        assert_problem(response, 415, "unsupported-media-type")


def test_messages_that_repeat_the_input_are_not_passed_on() -> None:
    assert explain("Invalid enum value 'hush' - at `$.state`") == ("state", "This value cannot be used.")
    assert explain("Expected `int`, got `str` - at `$.lines[...].n`") == ("lines[].n", "Expected `int`, got `str`.")


def test_the_document_names_every_hot_route(document: dict[str, typing.Any]) -> None:
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert {(route.method, route.path) for route in ROUTES} <= described
    post = document["paths"]["/api/v1/baskets"]["post"]
    assert post["summary"] == "Put goods into a basket"
    assert post["description"] == "All of them or none."
    assert post["security"] == [{"bearer": []}]
    assert set(post["responses"]) == {"201", "400", "401", "403", "409", "413", "415", "422", "431", "503", "default"}
    assert [header["name"] for header in post["parameters"]] == ["Idempotency-Key"]
    get = document["paths"]["/api/v1/baskets/{basket_id}"]["get"]
    assert [(parameter["name"], parameter["in"]) for parameter in get["parameters"]] == [("basket_id", "path")]


def test_the_document_describes_the_types_that_are_decoded(document: dict[str, typing.Any]) -> None:
    schemas = document["components"]["schemas"]
    body = document["paths"]["/api/v1/baskets"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/BasketBody"}
    assert set(schemas["BasketBody"]["properties"]) == {field.name for field in msgspec.structs.fields(BasketBody)}
    assert schemas["BasketBody"]["required"] == ["lines"]
    assert schemas["LineBody"]["properties"]["quantity"]["maximum"] == 100


def test_every_failure_in_the_document_is_a_problem(document: dict[str, typing.Any]) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                if status == "default" or status >= "400":
                    assert list(response["content"]) == ["application/problem+json"], (path, method, status)
    assert document["components"]["schemas"]["Problem"] == PROBLEM_SCHEMA
    assert "HTTPValidationError" not in str(document)


def test_every_reference_of_the_document_leads_somewhere(document: dict[str, typing.Any]) -> None:
    text = msgspec.json.encode(document).decode()
    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])


def test_two_routes_cannot_claim_one_address() -> None:
    app = FastAPI(openapi_url=None)

    @app.get("/api/v1/baskets/{basket_id}")
    async def same(basket_id: str) -> None: ...

    with pytest.raises(AssertionError, match="declared twice"):
        describe(app, ROUTES)


async def test_requests_are_counted_by_the_routes_template(client: Client) -> None:
    def count(route: str, status: str) -> float:
        labels = {"route": route, "method": "GET", "status": status}
        return REGISTRY.get_sample_value("tidegate_http_requests_total", labels) or 0

    routes = [("/api/v1/baskets/{basket_id}", "200"), ("/api/v1/things/{number}", "200"), ("unmatched", "404")]
    flush_requests()
    before = [count(*route) for route in routes]
    async with client() as http:
        for path in ("/api/v1/baskets/1", "/api/v1/baskets/2", "/api/v1/things/3", "/nothing/jane@example.org"):
            await http.get(path)
    flush_requests()
    assert [count(*route) - was for route, was in zip(routes, before, strict=True)] == [2, 1, 1]
