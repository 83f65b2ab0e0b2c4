"""One form of log lines in every process: ours, uvicorn's, the libraries', warnings and what nobody caught.

    console   2026-11-30T09:12:31Z [info     ] the worker runs                process=worker
    json      {"timestamp": "...", "level": "info", "event": "the worker runs", "process": "worker"}

Lines go to standard error, a line each (a console's traceback is several). Secrets are hidden and whatever a
terminal would obey is shown as an escape (`feedback.redaction`, `feedback.escaping`). A warning that repeats
is written once a minute (`feedback.processes.log_limit`).
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

from feedback.escaping import for_terminal
from feedback.processes.log_limit import LogLimit
from feedback.redaction import redacted

Fields = MutableMapping[str, Any]


def configure(level: str, form: str, process: str, *, hooks: bool = True) -> None:
    """Log from this level on, in this form, as this process.

    Args:
        hooks: whether what `logging` gets, warnings and what nobody caught are lines of ours too.
    """
    number = getattr(logging, level.upper())

    def named(logger: Any, method: str, fields: Fields) -> Fields:
        fields["process"] = process
        return fields

    structlog.configure(
        processors=[
            LogLimit(),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            named,
            structlog.processors.format_exc_info,
            _clean,
            _renderer(form),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Steadfast())),
    )
    if not hooks:
        return
    logging.root.handlers = [_Bridge()]
    logging.root.setLevel(quieter(level).upper())
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable


def quieter(level: str) -> str:
    """The level of libraries: their own tales are told with `debug` only."""
    return "warning" if level == "info" else level


class _Steadfast:
    """Standard error, which may be gone as a closed terminal is: what cannot be said there ends nobody."""

    def write(self, text: str) -> int:
        """Write what can be written."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def _renderer(form: str) -> Any:
    if form == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _clean(logger: Any, method: str, fields: Fields) -> Fields:
    """Every text without secrets, and without what a terminal obeys."""
    for name, text in fields.items():
        fields[name] = _cleaned(text, lines=name == "exception")
    return fields


def _cleaned(value: Any, *, lines: bool = False) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {_cleaned(str(key)): _cleaned(each) for key, each in value.items()}
    return for_terminal(redacted(str(value)), lines=lines)


class _Bridge(logging.Handler):
    """What is logged by way of `logging`, as a line of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record."""
        try:
            more: Fields = {"logger": record.name}
            if record.exc_info and record.exc_info[0] is not None:
                more["exc_info"] = record.exc_info
            structlog.get_logger().log(record.levelno, record.getMessage(), **more)
        except Exception:
            self.handleError(record)


def _uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger().error("this is a defect: nobody caught it", exc_info=(kind, error, trace))


def _uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None and not issubclass(found.exc_type, SystemExit):
        structlog.get_logger().error(
            "this is a defect: nobody caught it",
            thread=found.thread.name if found.thread else None,
            exc_info=(found.exc_type, found.exc_value, found.exc_traceback),
        )


def _unraisable(found: Any) -> None:
    error = found.exc_value
    structlog.get_logger().warning(
        found.err_msg or "an error where none can be raised",
        exc_info=(type(error), error, error.__traceback__) if error is not None else None,
    )
