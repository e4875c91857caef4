"""``[config]`` of warrener.toml held against what the installed RabbitMQ knows.

Where the file is read it isn't always known which installation will run; so a setting is only
judged where RabbitMQ's release is known and is that of the installation found on this machine. The
daemon checks every setting again with the installation that it runs, before it writes one.
"""

import functools
import os

from warrener.cluster.catalogue.check import WrongSetting, check_setting
from warrener.cluster.catalogue.schema import Schema
from warrener.cluster.config_table import CHECKS, Problem
from warrener.cluster.drivers.installation import find_installation
from warrener.cluster.drivers.schema_files import load_schema
from warrener.cluster.errors import ClusterError
from warrener.cluster.policy_keys import Release
from warrener.cluster.wanted import Scalar


def plug_in() -> None:
    """From here on settings are checked where a file is read."""
    if check not in CHECKS:
        CHECKS.append(check)


def check(key: str, value: Scalar, release: Release | None) -> Problem | None:
    """What is wrong with a setting; None also where that can't be told."""
    schema = _installed()
    if schema is None or release != schema.release:
        return None
    try:
        check_setting(key, value, schema)
    except WrongSetting as wrong:
        return Problem(wrong.text, wrong.allowed, wrong.nearest)
    return None


@functools.cache
def _installed() -> Schema | None:
    try:
        installation = find_installation(None, os.environ.get("PATH", ""))
        return load_schema(installation.root, installation.version)
    except (ClusterError, OSError):
        return None
