"""`/problems/{slug}`: what each kind of problem means, at the address that its documents name as their type."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from tidegate.platform.problems import NotFound, Problem
from tidegate.web.rendering import render

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """One kind of problem, as its class describes it."""

    slug: str
    status: int
    title: str
    explanation: str


@dataclass(frozen=True, slots=True)
class ProblemsContext:
    """Context of `web/problems.html`."""

    kinds: tuple[ProblemKind, ...]


@dataclass(frozen=True, slots=True)
class ProblemContext:
    """Context of `web/problem.html`."""

    kind: ProblemKind


def problem_kinds() -> dict[str, ProblemKind]:
    """Every kind of problem that the loaded modules know, by slug."""
    found = {}
    for kind in sorted(_descendants(Problem), key=lambda kind: kind.slug):
        title, _, explanation = (inspect.getdoc(kind) or kind.slug).partition("\n")
        found[kind.slug] = ProblemKind(kind.slug, kind.status, title.rstrip("."), explanation.strip())
    return found


@router.get("/problems")
async def list_problems(request: Request) -> Response:
    """All kinds of problems."""
    return render(request, "web/problems.html", ProblemsContext(tuple(problem_kinds().values())))


@router.get("/problems/{slug}")
async def show_problem(request: Request, slug: str) -> Response:
    """One kind of problem."""
    kind = problem_kinds().get(slug)
    if kind is None:
        raise NotFound()
    return render(request, "web/problem.html", ProblemContext(kind))


def _descendants(kind: type[Problem]) -> Iterator[type[Problem]]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)
