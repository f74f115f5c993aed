"""Logs as a process writes them, caught for a test."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from tidegate.platform.access_log import flush_requests, use_access_log
from tidegate.platform.observability import configure_logging
from tidegate.platform.settings import Settings


class CaughtLogs(io.StringIO):
    """What was logged."""

    def getvalue(self) -> str:
        """The text, with the lines that wait to be written together."""
        flush_requests()
        return super().getvalue()

    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines, decoded."""
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        return [line for line in self.lines() if line["event"] == name]


@contextmanager
def caught_logs(settings: Settings, *, log_format: str = "json", log_level: str = "info") -> Iterator[CaughtLogs]:
    """Configure logging as a process does, into memory; put everything back at the end."""
    wanted = settings.observability.model_copy(update={"log_format": log_format, "log_level": log_level})
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = CaughtLogs()
    configure_logging(settings.model_copy(update={"observability": wanted}), process_name="test", stream=out)
    try:
        yield out
    finally:
        use_access_log(None)
        structlog.reset_defaults()
        logging.captureWarnings(False)
        root.handlers = handlers
        root.setLevel(level)
