"""The OpenAPI document: FastAPI's own, plus the hot routes, with every failure described as a problem."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from tidegate.platform.edge.hot import HotRoute
from tidegate.platform.problems import (
    BodyTooLarge,
    CrossSite,
    HeadersTooLarge,
    InvalidRequest,
    MalformedBody,
    NotSignedIn,
    Overloaded,
    Problem,
    UnknownHost,
    UnsupportedMedia,
)

REFERENCE = "#/components/schemas/{name}"
PROBLEM_REFERENCE = {"$ref": REFERENCE.format(name="Problem")}
PROBLEM_TYPE = "application/problem+json"
UNSAFE_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
PARAMETER = re.compile(r"{(\w+)}")
REPLACED_SCHEMAS = ("HTTPValidationError", "ValidationError")
"""FastAPI's shapes of a validation error, which this shop never sends."""

SECURITY = {
    "type": "http",
    "scheme": "bearer",
    "description": "The token that `/api/v1/guests` or `/api/v1/sessions` gave.",
}
SIGNED_IN: dict[str, Any] = {"security": [{"bearer": []}]}
"""`openapi_extra` of a FastAPI route that needs a session."""

EDGE_PROBLEMS: tuple[type[Problem], ...] = (UnknownHost, InvalidRequest, HeadersTooLarge, Overloaded)
"""What the edge may answer at any address."""

PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "description": "What went wrong, what was kept and what to do (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "Address of a page about this kind of problem; its end names it."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "For the shop's staff, when the fault is ours."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
    "additionalProperties": True,
}


def openapi_router(describe: Callable[[], dict[str, Any]]) -> APIRouter:
    """`/openapi.json`; `describe` is asked once."""
    router = APIRouter(include_in_schema=False)
    encoded = lru_cache(maxsize=1)(lambda: msgspec.json.encode(describe()))

    @router.get("/openapi.json")
    async def openapi_document() -> Response:
        return Response(encoded(), media_type="application/json")

    return router


def describe(app: FastAPI, hot: Sequence[HotRoute]) -> dict[str, Any]:
    """The whole document. Raises: AssertionError when two routes claim one method of one address."""
    document = app.openapi()
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for name in REPLACED_SCHEMAS:
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM_SCHEMA
    document["components"].setdefault("securitySchemes", {})["bearer"] = SECURITY
    for path in document["paths"].values():
        for method, operation in path.items():
            _describe_failures(operation, method)
            _summarise(operation)
    _add_hot_routes(document, hot)
    return document


def problems_by_status(kinds: Sequence[type[Problem]]) -> dict[int | str, dict[str, Any]]:
    """`responses` of a FastAPI route: its own problems; those of the edge are added by `describe`."""
    return {int(status): response for status, response in _problem_responses(kinds).items()}


def _describe_failures(operation: dict[str, Any], method: str) -> None:
    """FastAPI's own description of a failed validation becomes ours; any failure is a problem."""
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    edge = _edge_problems(method, body="requestBody" in operation, signed_in="security" in operation)
    for status, response in _problem_responses(edge).items():
        told = responses.get(status, {}).get("description")
        words = response["description"]
        responses[status] = response | {"description": f"{told}; {words}" if told and told not in words else words}
    for status, response in responses.items():
        if status.isdigit() and int(status) >= 400:
            response["content"] = {PROBLEM_TYPE: {"schema": PROBLEM_REFERENCE}}
    responses.setdefault("default", _problem_response([]))


def _edge_problems(method: str, *, body: bool, signed_in: bool) -> list[type[Problem]]:
    """What the edge and the session may answer before an operation does."""
    kinds = [*EDGE_PROBLEMS]
    kinds += [NotSignedIn] if signed_in else []
    kinds += [MalformedBody] if body else []
    kinds += [BodyTooLarge, CrossSite] if method.upper() in UNSAFE_METHODS else []
    return kinds


def _summarise(operation: dict[str, Any]) -> None:
    """The first line of a handler's docstring says more than its name, which FastAPI would take."""
    summary, _, description = operation.pop("description", operation["summary"]).partition("\n")
    operation["summary"] = summary.rstrip(".")
    if description.strip():
        operation["description"] = description.strip()


def _add_hot_routes(document: dict[str, Any], hot: Sequence[HotRoute]) -> None:
    types = [kind for route in hot for kind in (route.body, route.returns[1]) if kind is not None]
    shapes, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    taken = document["components"]["schemas"].keys() & components.keys()
    assert not taken, f"two different schemas are called {sorted(taken)}"
    document["components"]["schemas"] |= components
    shape_of = {id(kind): shape for kind, shape in zip(types, shapes, strict=True)}
    for route in hot:
        path = document["paths"].setdefault(route.path, {})
        method = route.method.lower()
        assert method not in path, f"{route.method} {route.path} is declared twice"
        path[method] = _operation(route, shape_of)


def _operation(route: HotRoute, shape_of: dict[int, Any]) -> dict[str, Any]:
    status, returned = route.returns
    success: dict[str, Any] = {"description": "Done."}
    if returned is not None:
        success["content"] = {"application/json": {"schema": shape_of[id(returned)]}}
    if route.links:
        success["links"] = {link.operation: link.document() for link in route.links}
    answers = {str(status): success}
    if route.accepted:
        answers["202"] = success | {"description": route.accepted}
    edge = _edge_problems(route.method, body=route.body is not None, signed_in=route.signed_in)
    edge += [UnsupportedMedia] if route.body is not None else []
    problems = dict.fromkeys((*route.problems, *edge))
    name = getattr(route.endpoint, "__name__", route.path)
    summary, _, description = (inspect.getdoc(route.endpoint) or name).partition("\n")
    operation: dict[str, Any] = {
        "tags": [route.tag],
        "summary": summary.rstrip("."),
        "operationId": name,
        "responses": {**answers, **_problem_responses(list(problems)), "default": _problem_response([])},
    }
    if description.strip():
        operation["description"] = description.strip()
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": shape_of[id(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation | (SIGNED_IN if route.signed_in else {})


def _parameters(route: HotRoute) -> list[dict[str, Any]]:
    text = {"type": "string"}
    in_path = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": text | ({"format": "uuid"} if name.endswith("_id") else {}),
        }
        for name in PARAMETER.findall(route.path)
    ]
    in_head = [
        {
            "name": header.name,
            "in": "header",
            "required": header.required,
            "description": header.description,
            "schema": text | ({"pattern": header.pattern} if header.pattern else {}),
        }
        for header in route.headers
    ]
    return in_path + in_head


def _problem_responses(problems: Sequence[type[Problem]]) -> dict[str, Any]:
    by_status: dict[int, list[type[Problem]]] = {}
    for problem in problems:
        by_status.setdefault(problem.status, []).append(problem)
    return {str(status): _problem_response(kinds) for status, kinds in sorted(by_status.items())}


def _problem_response(kinds: Sequence[type[Problem]]) -> dict[str, Any]:
    words = "; ".join(
        f"`{kind.slug}`: {(inspect.getdoc(kind) or kind.slug).splitlines()[0].rstrip('.')}" for kind in kinds
    )
    return {
        "description": words or "Anything else that goes wrong.",
        "content": {PROBLEM_TYPE: {"schema": PROBLEM_REFERENCE}},
    }
