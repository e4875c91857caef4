"""Finds a RabbitMQ installation and the Erlang it runs on, and reads its version off the disk.

Two layouts are known, the same inside: Debian's, ``/usr/lib/rabbitmq/lib/rabbitmq_server-X``,
and the generic Unix archive, ``rabbitmq_server-X`` wherever it was unpacked. ``find_installation``
takes the root of one, the folder it lies in, or its ``sbin``. Nothing is started to find out.
"""

import difflib
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from warrener.cluster.errors import ErlangMissing, RabbitMQMissing, UnknownPlugin

SEARCHED: Final = (Path("/usr/lib/rabbitmq/lib"),)

PATH: Final = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/erlang/bin:"
    "/usr/local/lib/erlang/bin"
)
"""Appended to the user's PATH when Erlang is looked for."""

_HOW: Final = (
    "install Debian's with `apt-get install --no-install-recommends rabbitmq-server`, or name the "
    'root of another installation in warrener.toml: `rabbitmq = "PATH"` under [cluster]'
)


@dataclass(frozen=True, slots=True)
class Installation:
    """A RabbitMQ and its Erlang. ``path`` is the PATH its scripts are run with."""

    root: Path
    version: str
    erl: Path
    epmd: Path
    path: str

    @property
    def server(self) -> Path:
        return self.root / "sbin" / "rabbitmq-server"

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version: (3, 10)."""
        return release(self.version)

    def plugins(self) -> tuple[str, ...]:
        """The names of the plugins (and libraries) that come with it."""
        return tuple(sorted({name for name, _ in _packages(self.root)}))

    def check_plugins(self, wanted: Iterable[str]) -> None:
        """Raises UnknownPlugin naming each that isn't there, and the nearest that is."""
        there = self.plugins()
        problems = []
        for name in wanted:
            if name not in there:
                close = difflib.get_close_matches(name, there, n=1)
                problems.append(f"{name}" + (f" (did you mean {close[0]}?)" if close else ""))
        if problems:
            raise UnknownPlugin(
                f"RabbitMQ {self.version} in {self.root} has no plugin {', '.join(problems)}; "
                f"change `plugins` under [cluster] in warrener.toml"
            )


def release(version: str) -> tuple[int, int]:
    """(4, 1) of "4.1.0-rc.2"; (0, 0) if it isn't a version."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def erlang_version(erl: Path) -> str:
    """The version of the Erlang that an ``erl`` belongs to, as it says itself ("25.2.3"); empty if
    it doesn't say."""
    told = sorted(
        erl.resolve().parent.parent.glob("releases/*/OTP_VERSION"),
        key=lambda path: [int(number) for number in re.findall(r"\d+", path.parent.name)],
    )
    try:
        return told[-1].read_text().strip() if told else ""
    except OSError:
        return ""


def find_installation(
    wanted: Path | None, path: str, *, searched: Sequence[Path] = SEARCHED
) -> Installation:
    """The installation at ``wanted``, or the newest of those in ``searched``.

    ``path`` is the user's PATH. Raises RabbitMQMissing or ErlangMissing.
    """
    root = _wanted_root(wanted) if wanted is not None else _newest(searched)
    version = _version(root)
    full_path = f"{path}:{PATH}" if path else PATH
    erl = shutil.which("erl", path=full_path)
    if erl is None:
        raise ErlangMissing(
            f"RabbitMQ {version} is in {root}, but no Erlang (`erl`) is on the PATH; install "
            f"Debian's with `apt-get install --no-install-recommends rabbitmq-server`, which "
            f"brings Erlang along (erlang-base and others), or put `erl` on the PATH"
        )
    return Installation(root, version, Path(erl), _find_epmd(Path(erl), full_path), full_path)


def _wanted_root(wanted: Path) -> Path:
    above = {"sbin": wanted.parent, "rabbitmq-server": wanted.parent.parent}.get(wanted.name)
    for root in (wanted, above):
        if root is not None and _is_root(root):
            return root.resolve()
    inside = _roots_in(wanted)
    if inside:
        return inside[-1].resolve()
    found = "does not exist" if not wanted.exists() else "has no sbin/rabbitmq-server"
    raise RabbitMQMissing(
        f"no RabbitMQ in {wanted}: it {found}; `rabbitmq` under [cluster] in warrener.toml has to "
        f"be the root of an installation, such as /opt/rabbitmq_server-4.1.0. To use Debian's, "
        f"leave the key out and `apt-get install --no-install-recommends rabbitmq-server`"
    )


def _newest(searched: Sequence[Path]) -> Path:
    for folder in searched:
        roots = _roots_in(folder)
        if roots:
            return roots[-1]
    raise RabbitMQMissing(f"RabbitMQ is not installed; {_HOW}")


def _roots_in(folder: Path) -> list[Path]:
    """Installations lying in ``folder``, oldest release first."""
    roots = [root for root in folder.glob("rabbitmq_server-*") if _is_root(root)]
    return sorted(roots, key=lambda root: [int(n) for n in re.findall(r"\d+", root.name)])


def _is_root(root: Path) -> bool:
    return (root / "sbin" / "rabbitmq-server").is_file()


def _packages(root: Path) -> Iterable[tuple[str, str]]:
    """(name, version) of everything under ``plugins``: folders, or ``.ez`` archives."""
    for entry in (root / "plugins").glob("*-*"):
        name, _, version = entry.name.removesuffix(".ez").partition("-")
        if version[:1].isdigit():
            yield name, version


def _version(root: Path) -> str:
    for name, version in _packages(root):
        if name == "rabbit":
            return version
    raise RabbitMQMissing(
        f"{root} has sbin/rabbitmq-server but no plugins/rabbit-VERSION: the installation is "
        f"incomplete; {_HOW}"
    )


def _find_epmd(erl: Path, path: str) -> Path:
    """epmd lies beside the runtime: ``ROOT/bin/erl`` and ``ROOT/erts-N/bin/epmd``."""
    beside = sorted(erl.resolve().parent.parent.glob("erts-*/bin/epmd"))
    if beside:
        return beside[-1]
    found = shutil.which("epmd", path=path)
    if found is None:
        raise ErlangMissing(
            f"{erl} is there, but not epmd, which belongs to Erlang; install Debian's with "
            f"`apt-get install --no-install-recommends erlang-base`"
        )
    return Path(found)
