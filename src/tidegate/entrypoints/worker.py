"""The worker: Celery processes that handle events and deliver messages."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tidegate.entrypoints.subscriptions import SUBSCRIPTIONS
from tidegate.platform.jobs import LANES, run_worker
from tidegate.platform.observability import configure_logging, start_metrics
from tidegate.platform.settings import Settings

NAME = "worker"


def serve(settings: Settings, *, lanes: Sequence[str] = LANES) -> None:
    """Work on `lanes`, the most urgent first, until SIGTERM; ends the process with the worker's exit code.

    Raises: StartupError when a URL or a key is missing.
    """
    configure_logging(settings, process_name=NAME)
    start_metrics(settings, process_name=NAME)
    sys.exit(run_worker(settings, SUBSCRIPTIONS, lanes=lanes))
