"""Each contract of [tool.importlinter] keeps the real tree and fires on a small tree of the same shape."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

SKELETON = [
    "__main__", "accounts", "admin", "catalog", "checkout", "client", "entrypoints", "gate", "inventory", "migrations",
    "notify", "ops", "payments", "platform", "rehearse", "storefront", "web",
]  # fmt: skip

# Contract: (imports it must refuse, imports it must let pass), each as importing module -> imported module.
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "layers": (
        {
            "inventory.holds": "tidegate.payments",
            "catalog.products": "tidegate.checkout",
            "platform.outbox": "tidegate.notify",
            "web.layout": "tidegate.catalog",
            "storefront.shelf": "tidegate.admin",
            "client.shop": "tidegate.platform",
            "checkout.orders": "tidegate.entrypoints",
        },
        {"checkout.basket": "tidegate.inventory", "admin.desk": "tidegate.ops", "gate.rooms": "tidegate.catalog"},
    ),
    "front-door": (
        {
            "checkout.orders": "tidegate.inventory.stock",
            "checkout.terms": "tidegate.inventory.rules",
            "storefront.shelf": "tidegate.catalog.http",
            "entrypoints.site": "tidegate.accounts.sessions",
            "admin.desk": "tidegate.web.forms",
        },
        {
            "checkout.basket": "tidegate.inventory.contracts",
            "checkout.totals": "tidegate.inventory",
            "inventory.holds": "tidegate.inventory.rules",
            "entrypoints.routes": "tidegate.catalog.http",
            "entrypoints.shop": "tidegate.storefront.pages_drop",
            "entrypoints.worker": "tidegate.notify.tasks",
            "entrypoints.cli": "tidegate.catalog.cli",
            "ops.health": "tidegate.platform.database",
            "__main__": "tidegate.entrypoints.cli",
        },
    ),
    "http-edge": (
        {
            "catalog.products": "starlette.responses",
            "checkout.contracts": "fastapi",
            "platform.outbox": "starlette",
            "ops.supervisor": "fastapi",
        },
        {
            "catalog.http": "fastapi",
            "checkout.http_holds": "starlette.routing",
            "storefront.pages": "starlette",
            "web.layout": "starlette",
            "entrypoints.site": "fastapi",
            "platform.edge.errors": "starlette",
        },
    ),
    "jobs-edge": (
        {"checkout.orders": "celery", "platform.outbox": "kombu", "entrypoints.worker": "celery.signals"},
        {"notify.tasks": "celery", "platform.jobs": "celery"},
    ),
    "pure": (
        {
            "inventory.rules": "psycopg",
            "payments.rules": "httpx",
            "checkout.contracts": "redis.asyncio",
            "catalog.contracts": "pathlib",
        },
        {"notify.rules": "tidegate.platform.money", "inventory.holds": "psycopg", "accounts.contracts": "dataclasses"},
    ),
    "replayable-rules": (
        {
            "inventory.rules": "tidegate.platform.clock",
            "payments.rules": "random",
            "checkout.rules": "tidegate.platform.settings",
        },
        {"inventory.holds": "tidegate.platform.clock", "notify.rules": "datetime"},
    ),
}


def write_module(root: Path, name: str, text: str = "") -> None:
    """A module of the small tree, with the packages that it lies in."""
    file = root.joinpath("tidegate", *name.split(".")).with_suffix(".py")
    file.parent.mkdir(parents=True, exist_ok=True)
    for folder in file.parents:
        if folder == root:
            break
        (folder / "__init__.py").touch()
    file.write_text(text)


def small_tree(root: Path, imports: dict[str, str]) -> None:
    """A package named tidegate with every layer, in which each import of `imports` stands."""
    for name in SKELETON:
        write_module(root, name if name.startswith("__") else f"{name}.empty")
    for imported in imports.values():
        if imported.startswith("tidegate."):
            inside = imported.removeprefix("tidegate.")
            write_module(root, inside if "." in inside else f"{inside}.empty")
    for importer, imported in imports.items():
        write_module(root, importer, f"import {imported}\n")
    shutil.copy(ROOT / "pyproject.toml", root)


def lint(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """import-linter with the project's own contracts on the tree in `root`."""
    program = Path(sys.executable).parent / "lint-imports"
    environment = os.environ | {"PYTHONPATH": f"{root}:{ROOT}", "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [program, "--no-logo", "--no-cache", *options],
        cwd=root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_tree_keeps_every_contract() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_empty_tree_of_the_same_shape_breaks_nothing(tmp_path: Path) -> None:
    small_tree(tmp_path, {})
    done = lint(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_module_that_no_layer_names_is_refused(tmp_path: Path) -> None:
    small_tree(tmp_path, {})
    write_module(tmp_path, "helpers.empty")
    assert "helpers" in lint(tmp_path, "--contract", "layers").stdout


@pytest.mark.parametrize("contract", CASES)
def test_a_contract_refuses_what_it_should_and_nothing_else(contract: str, tmp_path: Path) -> None:
    refused, allowed = CASES[contract]
    small_tree(tmp_path, refused | allowed)
    done = lint(tmp_path, "--contract", contract)
    assert done.returncode == 1, done.stdout + done.stderr
    said = [line.strip("-• ") for line in done.stdout.splitlines()]
    for importer, imported in refused.items():
        top = imported if imported.startswith("tidegate.") else imported.split(".")[0]
        assert any(line.startswith(f"tidegate.{importer} -> {top} ") for line in said), (importer, done.stdout)
    for importer in allowed:
        assert not any(line.startswith(f"tidegate.{importer} -> ") for line in said), (importer, done.stdout)


def test_every_contract_has_a_case() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {contract["id"] for contract in project["tool"]["importlinter"]["contracts"]} == set(CASES)
