"""The worker: Celery processes that handle events and deliver messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from tidegate.entrypoints.subscriptions import SUBSCRIPTIONS
from tidegate.platform.jobs import run_worker
from tidegate.platform.lanes import LANES
from tidegate.platform.observability import PROCESS_NAME_VARIABLE, configure_logging, start_metrics
from tidegate.platform.problems import StartupError
from tidegate.platform.settings import Settings

NAME = "worker"


def serve(settings: Settings, *, lanes: Sequence[str] | None = None, processes: int | None = None) -> None:
    """Work on `lanes`, the most urgent first, until SIGTERM; ends the process with the worker's exit code.

    Raises: StartupError when a URL or a key is missing, or when there is no such lane.
    """
    if unknown := set(lanes or ()) - set(LANES):
        raise StartupError(f"there is no lane called {sorted(unknown)[0]}; there are {', '.join(LANES)}")
    if processes is not None:
        jobs = settings.jobs.model_copy(update={"worker_processes": processes})
        settings = settings.model_copy(update={"jobs": jobs})
    name = os.environ.get(PROCESS_NAME_VARIABLE, NAME)
    configure_logging(settings, process_name=name)
    start_metrics(settings, process_name=name)
    sys.exit(run_worker(settings, SUBSCRIPTIONS, lanes=[lane for lane in LANES if not lanes or lane in lanes]))
