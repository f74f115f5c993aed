"""Two import-linter contracts that its own kinds cannot express; `[tool.importlinter]` in pyproject.toml uses them.

Patterns are dotted names in which `*` stands for any part of one segment; a pattern covers what lies below it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


@dataclass(frozen=True)
class Offence:
    """One import that a contract forbids."""

    importer: str
    imported: str
    lines: tuple[int, ...]


def covers(pattern: str, module: str) -> bool:
    """Whether `module` is what `pattern` names or lies below it."""
    wanted, given = pattern.split("."), module.split(".")
    return len(given) >= len(wanted) and all(map(fnmatchcase, given, wanted))


def imports_of(graph: ImportGraph, root: str) -> Iterator[tuple[str, str]]:
    """Every direct import by a module of the package `root`, in a stable order."""
    for importer in sorted(graph.modules):
        if importer == root or importer.startswith(f"{root}."):
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                yield importer, imported


def offence(graph: ImportGraph, importer: str, imported: str) -> Offence:
    """The import with the lines where it stands."""
    details = graph.get_import_details(importer=importer, imported=imported)
    return Offence(importer, imported, tuple(sorted({detail["line_number"] for detail in details})))


class RefusedImports(Contract):
    """What both contracts share: a list of offences and how it is shown."""

    advice = ""

    def offences(self, graph: ImportGraph) -> list[Offence]:
        """The imports that break this contract."""
        raise NotImplementedError

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Kept when there is no offence."""
        found = self.offences(graph)
        return ContractCheck(kept=not found, metadata={"offences": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line an offence, then what to do instead."""
        for found in check.metadata["offences"]:
            lines = ", ".join(f"l.{line}" for line in found.lines)
            output.print_error(f"- {found.importer} -> {found.imported} ({lines})", bold=False)
        output.print_error(self.advice, bold=False)
        output.new_line()


class FrontDoorContract(RefusedImports):
    """The inside of a module under `root` is imported from inside it only.

    `doors` may be imported by everyone beside the module's own name, `side_doors` by the modules named in `composers`;
    modules in `open` have no front door.
    """

    type_name = "front_door"
    advice = "Import from the module's own name or from its contracts; export there what others may use."

    root: Any = fields.StringField()
    doors: Any = fields.ListField(subfield=fields.StringField())
    side_doors: Any = fields.ListField(subfield=fields.StringField())
    composers: Any = fields.ListField(subfield=fields.StringField())
    open: Any = fields.ListField(subfield=fields.StringField())

    def offences(self, graph: ImportGraph) -> list[Offence]:
        """Imports that go past a front door."""
        return [offence(graph, *pair) for pair in imports_of(graph, self.root) if not self.may(*pair)]

    def may(self, importer: str, imported: str) -> bool:
        """Whether `importer` may import `imported`."""
        if not imported.startswith(f"{self.root}."):
            return True
        home, *inside = imported.removeprefix(f"{self.root}.").split(".")
        own = importer.removeprefix(f"{self.root}.").split(".")[0]
        if not inside or own == home or home in self.open:
            return True
        if inside[0] in self.doors:
            return True
        return own in self.composers and any(fnmatchcase(inside[0], door) for door in self.side_doors)


class ConfinedContract(RefusedImports):
    """`libraries` are imported by `allowed` modules only; `within` narrows which modules are looked at."""

    type_name = "confined"
    advice = "Keep such imports where the contract allows them (pyproject.toml, tool.importlinter, lists them)."

    root: Any = fields.StringField()
    libraries: Any = fields.ListField(subfield=fields.StringField())
    allowed: Any = fields.ListField(subfield=fields.StringField())
    within: Any = fields.ListField(subfield=fields.StringField(), required=False, default=["*"])

    def offences(self, graph: ImportGraph) -> list[Offence]:
        """Imports of a confined library outside of its place."""
        return [
            offence(graph, importer, imported)
            for importer, imported in imports_of(graph, self.root)
            if any(covers(library, imported) for library in self.libraries)
            and any(covers(pattern, importer) for pattern in self.within)
            and not any(covers(pattern, importer) for pattern in self.allowed)
        ]
