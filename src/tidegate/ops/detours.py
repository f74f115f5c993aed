"""Detours: a rehearsal's own proxies between the shop's processes and what they depend on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tidegate.platform.broken_network import detour_url
from tidegate.platform.embedded.ports import port_is_free
from tidegate.platform.problems import StartupError

NAMES: Mapping[str, tuple[str, ...]] = {
    "postgres": ("database_url",),
    "valkey": ("valkey_url", "broker_url"),
    "smtp": ("smtp_url",),
    "gateway": ("gateway_url",),
}
"""What a detour may lead to, and the addresses that it takes the place of."""

FILE = "detours.json"


def lead_round(urls: Mapping[str, str], detours: Mapping[str, int], *, note: Path) -> dict[str, str]:
    """The addresses that the shop's processes are told; `note` gets the true ones, for whoever runs the detours.

    Raises: StartupError for a detour to something else, or over a port on which nothing listens.
    """
    unknown = sorted(set(detours) - set(NAMES))
    if unknown:
        raise StartupError(f"TIDEGATE_SUPERVISOR__DETOURS: there is no {unknown[0]!r}; name {', '.join(NAMES)}")
    for name, port in detours.items():
        if port_is_free(port):
            raise StartupError(
                f"TIDEGATE_SUPERVISOR__DETOURS: nothing listens at 127.0.0.1:{port}, over which {name} is to be reached"
            )
    told = dict(urls)
    true = {name: urls[NAMES[name][0]] for name in detours}
    for name, port in detours.items():
        for each in NAMES[name]:
            if urls[each] == true[name]:
                told[each] = detour_url(urls[each], port)
    if detours:
        with os.fdopen(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(true, out)
    return told
