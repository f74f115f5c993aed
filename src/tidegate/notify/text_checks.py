"""What a merchant's own text may do: say what its message's variables hold, choose, and go through lists.

The sandbox keeps a template away from the program; this keeps it small. A text is read as a tree before it runs, and
whatever could grow or last without bound is refused: loops over anything but a declared list, more than two of them
inside one another, variables of its own, macros, products, formats. So its length and its time are bounded by its
source and by what its message holds. Every name is looked up in the declared context, also where no example leads.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from jinja2 import TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tidegate.notify.message_kinds import declared
from tidegate.notify.sandbox import FRAMES
from tidegate.platform.texts import text as _

MAX_LOOPS: Final = 2
"""Loops inside one another."""
MAX_DEPTH: Final = 60
"""Parts of a tree inside one another."""

COMMON: Final[Mapping[str, Any]] = MappingProxyType({"shop_name": str, "lang": str})
"""What every text may use besides its message's variables."""

FUNCTIONS: Final = frozenset({"money", "country", "super"})
FILTERS: Final = frozenset(
    "abs capitalize count d default e escape first int last length lines lower title trim truncate upper"
    " urlencode".split()
)
"""None of them makes a text much longer than it is."""
TESTS: Final = frozenset("defined eq equalto even ge gt in le lt ne none odd undefined".split())

ALLOWED: Final = (
    nodes.Add, nodes.And, nodes.Block, nodes.Compare, nodes.Concat, nodes.CondExpr, nodes.Const, nodes.Div,
    nodes.FloorDiv, nodes.If, nodes.Keyword, nodes.List, nodes.Neg, nodes.Not, nodes.Operand, nodes.Or, nodes.Output,
    nodes.Sub, nodes.Template, nodes.TemplateData, nodes.Test, nodes.Tuple,
)  # fmt: skip
"""Kinds of nodes that need no more than that their parts are right; others are looked at one by one."""

WORDS: Final[Mapping[type[nodes.Node], str]] = MappingProxyType(
    {
        nodes.Assign: "{% set %}",
        nodes.AssignBlock: "{% set %}",
        nodes.With: "{% with %}",
        nodes.Macro: "{% macro %}",
        nodes.CallBlock: "{% call %}",
        nodes.FilterBlock: "{% filter %}",
        nodes.Include: "{% include %}",
        nodes.Import: "{% import %}",
        nodes.FromImport: "{% import %}",
        nodes.Mul: "*",
        nodes.Pow: "**",
        nodes.Mod: "%",
        nodes.Slice: "[:]",
        nodes.Dict: "{}",
    }
)


class TextWrong(Exception):
    """A text cannot be used. `line` is where, from 1; 0 where that cannot be said."""

    def __init__(self, reason: str, *, line: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


class _Loop:
    """The type of `loop` inside one."""

    FIELDS = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a text something stands: the names that are known there."""

    names: Mapping[str, Any]
    loops: int = 0
    depth: int = 0

    def inner(self) -> _Place:
        return _Place(self.names, self.loops, self.depth + 1)


def check_tree(tree: nodes.Template, context: Any, environment: ImmutableSandboxedEnvironment) -> None:
    """Raises: TextWrong when a text does or names what it may not."""
    names = {name: inner for name, (inner, _about) in declared(context).items()} | dict(COMMON)
    extends = next(tree.find_all(nodes.Extends), None)
    if extends is not None:
        _check_extending(tree, extends, environment)
    for node in tree.body:
        if not isinstance(node, nodes.Extends):
            _type_of(node, _Place(names))


def _check_extending(tree: nodes.Template, extends: nodes.Extends, environment: ImmutableSandboxedEnvironment) -> None:
    """What stands outside of the blocks that a frame has would be left out without a word."""
    frame = extends.template
    if not isinstance(frame, nodes.Const) or frame.value not in FRAMES or extends not in tree.body:
        raise TextWrong(_("A text may extend %(frames)s.", frames=", ".join(FRAMES)), line=extends.lineno)
    known = _blocks_of(frame.value, environment)
    for node in tree.body:
        if isinstance(node, nodes.Block):
            if node.name not in known:
                message = _("%(frame)s has no block %(name)s; it has: %(known)s.", frame=frame.value, name=node.name,
                            known=", ".join(sorted(known)))  # fmt: skip
                raise TextWrong(message, line=node.lineno)
        elif node is not extends and not _is_blank(node):
            raise TextWrong(_("What stands outside of the blocks is not shown."), line=_line_of(node))


def _blocks_of(name: str, environment: ImmutableSandboxedEnvironment) -> set[str]:
    assert environment.loader is not None
    source, _file, _fresh = environment.loader.get_source(environment, name)
    tree = environment.parse(source)
    found = {block.name for block in tree.find_all(nodes.Block)}
    for extends in tree.find_all(nodes.Extends):
        if isinstance(extends.template, nodes.Const):
            found |= _blocks_of(extends.template.value, environment)
    return found


def _is_blank(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Output) and all(
        isinstance(part, nodes.TemplateData) and not part.data.strip() for part in node.nodes
    )


def _line_of(node: nodes.Node) -> int:
    """Where the first thing of a node stands that is not blank."""
    first = next((part for part in node.iter_child_nodes()), node)
    if isinstance(first, nodes.TemplateData):
        return first.lineno + first.data[: len(first.data) - len(first.data.lstrip())].count("\n")
    return first.lineno


def _type_of(node: nodes.Node, place: _Place) -> Any:
    """The type of what a node stands for; None where that is not known. Raises: TextWrong."""
    if place.depth > MAX_DEPTH:
        raise TextWrong(_("Too much is inside one another here."), line=node.lineno)
    inner = place.inner()
    match node:
        case nodes.Name():
            return _name(node, place)
        case nodes.Getattr():
            return _part_of(_type_of(node.node, inner), node.attr, node)
        case nodes.Getitem():
            return _item_of(node, inner)
        case nodes.Call():
            return _call(node, inner)
        case nodes.Filter():
            return _filter(node, inner)
        case nodes.For():
            return _for(node, inner)
        case nodes.Test() if node.name not in TESTS:
            raise _refused(_("is %(name)s", name=node.name), node)
        case _ if isinstance(node, ALLOWED):
            for child in node.iter_child_nodes():
                _type_of(child, inner)
            return str if isinstance(node, nodes.Const) else None
    raise _refused(WORDS.get(type(node), type(node).__name__.lower()), node)


def _name(node: nodes.Name, place: _Place) -> Any:
    if node.name not in place.names:
        known = ", ".join(place.names)
        raise TextWrong(_("There is no %(name)s here. There are: %(known)s.", name=node.name, known=known),
                        line=node.lineno)  # fmt: skip
    return place.names[node.name]


def _part_of(whole: Any, name: str, node: nodes.Node) -> Any:
    if whole is _Loop and name in _Loop.FIELDS:
        return int
    parts = declared(whole) if hasattr(whole, "__dataclass_fields__") else {}
    if name not in parts:
        raise TextWrong(
            _("There is no .%(name)s here. There are: %(known)s.", name=name, known=", ".join(parts) or "-"),
            line=node.lineno,
        )
    return parts[name][0]


def _item_of(node: nodes.Getitem, place: _Place) -> Any:
    if not isinstance(node.arg, nodes.Const):
        raise _refused("[...]", node)
    whole = _type_of(node.node, place)
    if isinstance(node.arg.value, str):
        return _part_of(whole, node.arg.value, node)
    return _element_of(whole, node)


def _element_of(whole: Any, node: nodes.Node) -> Any:
    if typing.get_origin(whole) is not list:
        raise TextWrong(_("This is not a list."), line=node.lineno)
    return typing.get_args(whole)[0]


def _call(node: nodes.Call, place: _Place) -> Any:
    if not isinstance(node.node, nodes.Name) or node.node.name not in FUNCTIONS or node.dyn_args or node.dyn_kwargs:
        raise _refused(_("calling anything but money(...), country(...) and super()"), node)
    for child in (*node.args, *node.kwargs):
        _type_of(child, place)
    return str


def _filter(node: nodes.Filter, place: _Place) -> Any:
    if node.name not in FILTERS or node.node is None or node.dyn_args or node.dyn_kwargs:
        raise _refused(f"| {node.name}", node)
    given = _type_of(node.node, place)
    for child in (*node.args, *node.kwargs):
        _type_of(child, place)
    if node.name == "lines":
        return list[str]
    return _element_of(given, node) if node.name in ("first", "last") else None


def _for(node: nodes.For, place: _Place) -> None:
    if place.loops >= MAX_LOOPS:
        raise TextWrong(_("Not more than %(most)s loops inside one another.", most=MAX_LOOPS), line=node.lineno)
    if node.recursive or not isinstance(node.target, nodes.Name):
        raise _refused(_("such a loop"), node)
    element = _element_of(_type_of(node.iter, place), node)
    within = _Place({**place.names, node.target.name: element, "loop": _Loop}, place.loops + 1, place.depth)
    for child in (*([node.test] if node.test else []), *node.body):
        _type_of(child, within)
    for child in node.else_:
        _type_of(child, place)


def _refused(what: str, node: nodes.Node) -> TextWrong:
    return TextWrong(_("This cannot be used in a text: %(what)s.", what=what), line=node.lineno)


def wrong_syntax(error: Exception) -> TextWrong:
    """What Jinja2 or Python could not read, as a TextWrong."""
    if isinstance(error, TemplateSyntaxError):
        return TextWrong(_("This cannot be read: %(reason)s", reason=error.message or ""), line=error.lineno)
    return TextWrong(_("This is too long or too deep to be read."))
