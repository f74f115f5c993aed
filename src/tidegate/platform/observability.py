"""Logs and metrics of one process.

Logs are JSON lines on stderr (readable text on a terminal); everything, also what libraries log, passes the redactor.
Metrics are served on a port of their own, so that a shopper can never reach them.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, TextIO

import msgspec
import structlog
from prometheus_client import Gauge, start_http_server
from structlog.typing import EventDict, Processor

from tidegate import __version__
from tidegate.platform.access_log import AccessLog, add_request_id, use_access_log
from tidegate.platform.redaction import Redactor, known_secrets
from tidegate.platform.settings import Settings

METRICS_PORT_VARIABLE = "TIDEGATE_METRICS_PORT"
"""How `tidegate up` tells a child which port it was given; wins over the setting."""

PROCESS_NAME_VARIABLE = "TIDEGATE_PROCESS_NAME"

PROCESS_INFO = Gauge("tidegate_process_info", "Which process this is; always 1.", ["process", "version"])

QUIET_LIBRARIES = dict.fromkeys(("uvicorn.access", "httpx", "httpcore", "stripe"), logging.WARNING)
"""Libraries that would write one line per request at `info`, with addresses in it."""


def configure_logging(settings: Settings, *, process_name: str, stream: TextIO | None = None) -> None:
    """Send all logs of this process, structlog's and the standard library's, to `stream` (stderr).

    Call once at the start of a process, and again only in tests.
    """
    out = stream or sys.stderr
    level = getattr(logging, settings.observability.log_level.upper())
    wanted = settings.observability.log_format
    as_json = wanted == "json" or (wanted == "auto" and not out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_request_id,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _ProcessName(process_name),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        Redactor(known_secrets(settings)),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(serializer=_json_text)
        if as_json
        # The plain formatter: the fancy one prints local variables, which is where secrets live.
        else structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=stream is None,
    )
    _route_standard_logging(shared, renderer, out=out, level=level)
    use_access_log(AccessLog(out, process_name=process_name, level=level) if as_json else None)


def start_metrics(settings: Settings, *, process_name: str) -> int:
    """Serve this process's Prometheus metrics and answer the port.

    A port that is taken is not worth a dead process: a free one is used instead, and logged.
    """
    wanted = int(os.environ.get(METRICS_PORT_VARIABLE) or settings.observability.metrics_port)
    host = settings.observability.metrics_host
    log = structlog.get_logger("tidegate.metrics")
    PROCESS_INFO.labels(process_name, __version__).set(1)
    try:
        server, _ = start_http_server(wanted, addr=host)
    except OSError:
        server, _ = start_http_server(0, addr=host)
        log.warning("metrics_port_taken", wanted=wanted, port=server.server_port)
    port = int(server.server_port)
    log.info("metrics_served", host=host, port=port)
    return port


class _ProcessName:
    def __init__(self, process_name: str) -> None:
        self._name = process_name

    def __call__(self, logger: object, method: str, event: EventDict) -> EventDict:
        event["process"] = self._name
        return event


def _drop_colours(logger: object, method: str, event: EventDict) -> EventDict:
    """Uvicorn sends each message twice, the second time painted."""
    event.pop("color_message", None)
    return event


def _json_text(event: Any, **_: Any) -> str:
    """One JSON line; what JSON cannot say is said by its type, since a `repr` may hold anything."""
    return msgspec.json.encode(event, enc_hook=lambda value: f"<{type(value).__name__}>").decode()


def _route_standard_logging(shared: list[Processor], renderer: Processor, *, out: TextIO, level: int) -> None:
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), _drop_colours],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shared, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "celery", "py.warnings"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    for name, quiet_level in QUIET_LIBRARIES.items():
        logging.getLogger(name).setLevel(max(level, quiet_level))
    logging.captureWarnings(True)
