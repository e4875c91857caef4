"""Reads what an installation knows of configuration: its schema and application files.

RabbitMQ looks for ``priv/schema/*.schema`` in every plugin that comes with it, enabled or not
(tried on 3.10.8: a key of a plugin that is off is accepted). Plugins are folders, or ``.ez``
archives with one folder inside.
"""

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import structlog

from warrener.cluster.catalogue.schema import Known, Schema, read_defaults, read_schema

_MAX_FILE: Final = 4 * 1024 * 1024  # bytes; the largest of 3.10 to 4.3 has 100 KB

log = structlog.get_logger(__name__)


def load_schema(root: Path, version: str, plugins: Sequence[str] = ()) -> Schema:
    """The schema of the installation in ``root``. What isn't understood is logged and left out."""
    known: list[Known] = []
    defaults: dict[str, str] = {}
    for name, text in _files(root / "plugins"):
        if name.endswith(".schema"):
            found, problems = read_schema(text, name.partition("/")[0])
            known += found
            for problem in problems:
                log.warning("schema_not_understood", file=name, problem=problem)
        else:
            defaults.update(read_defaults(text))
    return Schema.of(version, known, defaults, plugins)


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """(name, text) of every schema and application file, in the order of their names."""
    for plugin in sorted(folder.iterdir()):
        if plugin.suffix == ".ez" and plugin.is_file():
            yield from _archived(plugin)
            continue
        for pattern in ("priv/schema/*.schema", "ebin/*.app"):
            for path in sorted(plugin.glob(pattern)):
                name = path.relative_to(folder).as_posix()
                yield name, path.read_bytes()[:_MAX_FILE].decode("utf-8", "replace")


def _archived(plugin: Path) -> Iterable[tuple[str, str]]:
    found = []
    try:
        with zipfile.ZipFile(plugin) as archive:
            for info in archive.infolist():
                parts = info.filename.split("/")
                is_schema = parts[1:3] == ["priv", "schema"] and parts[-1].endswith(".schema")
                is_app = parts[1:2] == ["ebin"] and parts[-1].endswith(".app")
                if (is_schema or is_app) and info.file_size <= _MAX_FILE:
                    text = archive.read(info).decode("utf-8", "replace")
                    found.append((info.filename, text))
    except (OSError, zipfile.BadZipFile) as error:
        log.warning("plugin_not_read", file=plugin.name, error=str(error))
    return found
