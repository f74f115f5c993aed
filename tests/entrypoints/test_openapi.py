"""The OpenAPI document and the hot routes say the same: each route in the document with its answers, and vice versa."""

from __future__ import annotations

import base64
import inspect
import re
from typing import Any

import pytest
from pydantic import SecretStr

from tidegate.entrypoints.site import HOT_ROUTES, create_app
from tidegate.platform.edge.hot import HotRoute
from tidegate.platform.edge.openapi import EDGE_PROBLEMS, describe
from tidegate.platform.edge.stack import OnlyHttp
from tidegate.platform.problems import (
    BodyTooLarge,
    CrossSite,
    MalformedBody,
    NotSignedIn,
    Problem,
    UnsupportedMedia,
)
from tidegate.platform.settings import SecuritySettings, Settings

SLUG = re.compile(r"`([a-z-]+)`: ")
EXPRESSION = re.compile(r"\$response\.body#/(.+)")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    key = SecretStr(base64.b64encode(bytes(32)).decode())
    app = create_app(Settings(demo=True, security=SecuritySettings(form_key=key)))
    assert isinstance(app, OnlyHttp)
    return describe(app.app, HOT_ROUTES)


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every operation by its id."""
    found = [operation for path in document["paths"].values() for operation in path.values()]
    by_id = {operation["operationId"]: operation for operation in found}
    assert len(by_id) == len(found), "an operation's id is its own"
    return by_id


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, or the one that it refers to."""
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def body_of(document: dict[str, Any], holder: dict[str, Any]) -> dict[str, Any]:
    """Schema of a request's or response's JSON."""
    return resolved(document, holder["content"]["application/json"]["schema"])


def answers(route: HotRoute) -> set[tuple[int, str]]:
    """Status and slug of every refusal of a route: its own, and those of the layers around it."""
    kinds: set[type[Problem]] = {*route.problems, *EDGE_PROBLEMS}
    kinds |= {NotSignedIn} if route.signed_in else set()
    kinds |= {MalformedBody, UnsupportedMedia} if route.body is not None else set()
    kinds |= {BodyTooLarge, CrossSite} if route.method != "GET" else set()
    return {(kind.status, kind.slug) for kind in kinds}


@pytest.mark.parametrize("route", HOT_ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_hot_route_is_documented_as_it_is(document: dict[str, Any], route: HotRoute) -> None:
    operation = document["paths"][route.path][route.method.lower()]
    assert operation["operationId"] == route.endpoint.__name__
    assert operation["summary"] == (inspect.getdoc(route.endpoint) or "").splitlines()[0].rstrip(".")
    responses = operation["responses"]
    told = {
        (int(status), slug)
        for status, response in responses.items()
        if status != "default"
        for slug in SLUG.findall(response["description"])
    }
    assert told == answers(route)
    status, returned = route.returns
    accepted = {202} if route.accepted else set()
    assert {int(each) for each in responses if each != "default"} == {
        status,
        *accepted,
        *(number for number, _ in told),
    }
    for each in accepted:
        assert responses[str(each)]["content"] == responses[str(status)]["content"]
        assert responses[str(each)]["description"] == route.accepted
    assert ("content" in responses[str(status)]) == (returned is not None)
    if returned is not None:
        assert body_of(document, responses[str(status)])["title"] == returned.__name__
    assert ("requestBody" in operation) == (route.body is not None)
    if route.body is not None:
        assert body_of(document, operation["requestBody"])["title"] == route.body.__name__
    assert operation.get("security") == ([{"bearer": []}] if route.signed_in else None)
    assert "bearer" in document["components"]["securitySchemes"]
    named = {(each["in"], each["name"], each["required"]) for each in operation.get("parameters", ())}
    in_path = {("path", name, True) for name in re.findall(r"{(\w+)}", route.path)}
    assert named == in_path | {("header", header.name, header.required) for header in route.headers}


def test_what_the_document_says_of_buying_waiting_and_guests_is_served_hot(document: dict[str, Any]) -> None:
    documented = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if operation["tags"] in (["checkout"], ["gate"]) or path == "/api/v1/guests"
    }
    assert documented == {(route.method, route.path) for route in HOT_ROUTES}


def test_links_lead_somewhere(document: dict[str, Any]) -> None:
    by_id = operations(document)
    followed = 0
    for operation in by_id.values():
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                target = by_id[link["operationId"]]
                takes = {each["name"] for each in target.get("parameters", ())}
                assert set(link.get("parameters", {})) <= takes
                for name in link.get("requestBody", {}):
                    assert name in body_of(document, target["requestBody"])["properties"]
                for expression in EXPRESSION.findall(str(link)):
                    first = re.split(r"[/\x27]", expression)[0]
                    assert first in body_of(document, response)["properties"], expression
                followed += 1
    assert followed >= 9
