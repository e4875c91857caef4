"""A detached daemon: ``python -m warrener.daemon``, started by ``launch.py``."""

import argparse
import os
import sys
from pathlib import Path

from warrener.daemon.errors import DaemonError
from warrener.daemon.launch import PipeReporter, read_secret
from warrener.daemon.options import Options
from warrener.facts.data_plane import DataPlane


def main() -> int:
    """Runs until stopped; exit code 0, or what the error says."""
    parser = argparse.ArgumentParser(prog="python -m warrener.daemon")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--data-plane", type=DataPlane)
    parser.add_argument("--attach", type=int, metavar="FD")
    parser.add_argument("--for-apply", action="store_true")
    parser.add_argument("--auto-weights", action="store_true")
    parser.add_argument("--prometheus", action=argparse.BooleanOptionalAction)
    parser.add_argument("--report", type=int, required=True, metavar="FD")
    given = parser.parse_args()
    os.chdir("/")  # a daemon holds no folder that somebody may want to unmount
    os.set_inheritable(given.report, False)
    reporter = PipeReporter(given.report)
    try:
        from warrener.daemon.run import run  # noqa: PLC0415  # its import errors are reported too

        attach, password = (None, "") if given.attach is None else read_secret(given.attach)
        options = Options(
            given.state,
            given.file,
            given.nodes,
            True,
            given.data_plane,
            given.for_apply,
            attach,
            password,
            given.auto_weights,
            given.prometheus,
        )
        run(options, reporter)
    except DaemonError as error:
        reporter.failed(error)
        return error.exit_code
    except ImportError as error:
        reporter.failed(DaemonError(f"Warrener isn't installed completely: {error}; run `make up`"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
