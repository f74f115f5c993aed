"""List the benchmarks, or run one: `python -m benchmarks [NAME [OPTION...]] [--json]`."""

from __future__ import annotations

import ast
import importlib
import json
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def known(folder: Path = FOLDER) -> dict[str, str]:
    """Names of the benchmarks in `folder` with the first line of what each says about itself; imports none of them."""
    found = {}
    for file in sorted(folder.glob("[!_]*.py")):
        tree = ast.parse(file.read_text(), str(file))
        if any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in tree.body):
            found[file.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def listing(benchmarks: dict[str, str]) -> str:
    """What to choose from, one a line."""
    if not benchmarks:
        return "There is no benchmark yet: a file benchmarks/NAME.py with a function `run` is one."
    return "\n".join(f"  {name:<16} {about}".rstrip() for name, about in benchmarks.items())


def main(arguments: list[str]) -> int:
    """Run the benchmark that is named first; exit code 2 when there is none of that name.

    With `--json` the last line printed is one JSON object.
    """
    as_json = "--json" in arguments
    name, *options = [argument for argument in arguments if argument != "--json"] or [""]
    benchmarks = known()
    if not name:
        print(listing(benchmarks))
        return 0
    if name not in benchmarks:
        print(f"No benchmark is called {name}.\n{listing(benchmarks)}", file=sys.stderr)
        return 2
    figures = importlib.import_module(f"benchmarks.{name}").run(options)
    if as_json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{key:<32} {value}" for key, value in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
