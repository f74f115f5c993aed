"""TIDEGATE_HOME/run/endpoints.json: how other commands find a running shop."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tidegate.ops.contracts import RunningProcess


def write_endpoints(
    file: Path,
    *,
    urls: Mapping[str, str],
    demo: bool,
    supervisor_pid: int,
    processes: Sequence[RunningProcess],
    parts: Mapping[str, Sequence[int]] | None = None,
    control: Mapping[str, Any] | None = None,
) -> None:
    """Replace the file in one step; it holds passwords and is its owner's alone.

    `parts` are the ports of processes that serve a part of the site; `control` is where the supervisor takes commands.
    """
    document = {
        **urls,
        "demo": demo,
        "supervisor_pid": supervisor_pid,
        "processes": [{"name": one.name, "pid": one.pid, "metrics_port": one.metrics_port} for one in processes],
        "parts": {part: list(ports) for part, ports in (parts or {}).items()},
        **({"control": dict(control)} if control else {}),
    }
    draft = file.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(document, out, indent=1)
    draft.replace(file)
