"""The daemon's own log: structlog and everything of the standard library, into one file.

Lines are ``time level event key=value ...``; an exception's traceback follows its line. The file
is bounded: ``daemon.log`` becomes ``daemon.log.1`` at 5 MiB.
"""

import logging
import logging.handlers
import os
from pathlib import Path
from typing import Final

import structlog

MAX_BYTES: Final = 5 * 1024 * 1024


def open_log(path: Path, *, debug: bool) -> logging.Handler:
    """Sends all logging of this process to ``path``; returns the handler, to be closed last."""
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=MAX_BYTES, backupCount=1, encoding="utf-8"
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.dev.ConsoleRenderer(
                    colors=False, exception_formatter=structlog.dev.plain_traceback
                ),
            ],
        )
    )
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    return handler


def close_log(handler: logging.Handler) -> None:
    """Undoes ``open_log``."""
    logging.getLogger().removeHandler(handler)
    logging.captureWarnings(False)
    handler.close()
    structlog.reset_defaults()
