"""The driver's files in a state folder, all of them private (folders 0700, files 0600).

    cluster.json            the cluster's id, ports, members (``Record``)
    config.json             settings of RabbitMQ's that were chosen by `config set` (``Chosen``)
    credentials.json        the user and password that Warrener and its users log in with
    home/.erlang.cookie     what the nodes know one another by (0400, as Erlang insists)
    enabled_plugins, rabbitmq-env.conf, conf.d/
    nodes/NAME/             one node's configuration, data and logs

Files are replaced whole, by a rename: a reader sees the old or the new one.
"""

import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from warrener.cluster.errors import StateBroken, StateInUse
from warrener.facts.ids import NodeName

USER: Final = "warrener"

_PASSWORD_BYTES: Final = 20  # 160 bits
_COOKIE_BYTES: Final = 20
_MAX_FILE: Final = 1024 * 1024


_T = TypeVar("_T")


class Used(msgspec.Struct, frozen=True):
    """A RabbitMQ that a node runs."""

    root: str
    version: str


class Trial(msgspec.Struct, frozen=True):
    """A node that is being given another RabbitMQ, and what it ran before."""

    node: NodeName
    before: Used


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What the driver has to remember of a cluster between two runs.

    ``members``: the nodes that have joined, empty until the cluster was formed for the first time.
    ``joining``: a node that is being added, or made anew; ``leaving``: one that is being removed
    and holds nothing any more. Both are None at most times. ``unspread``: nodes that have joined,
    and were not given their share of replicas yet.
    """

    id: str
    base: int | None = None
    balancer_port: int | None = None
    members: tuple[NodeName, ...] = ()
    joining: NodeName | None = None
    leaving: NodeName | None = None
    unspread: tuple[NodeName, ...] = ()
    rabbitmq: str = ""
    installations: dict[NodeName, Used] = {}  # these three: ``installations``
    described: str = ""
    trial: Trial | None = None


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of ``rabbitmq.conf`` that a user chose: key -> value as the file has it. They come
    before Warrener's own and those of warrener.toml. Passwords may be among them."""

    settings: dict[str, str] = {}


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Never shown in logs: ``repr`` leaves the password out."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r})"


class PrivateFiles:
    """A state folder as the driver sees it."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def prepare(self) -> None:
        """Makes the folders."""
        for folder in (self.state, self.state / "home", self.state / "conf.d", self.nodes):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)

    @property
    def nodes(self) -> Path:
        return self.state / "nodes"

    def lock(self) -> int:
        """Locks the folder of the nodes for this process: a file descriptor, closed to unlock.

        The folder itself is locked, so there is no lock file. Raises StateInUse.
        """
        fd = os.open(self.nodes, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise StateInUse(
                f"the cluster in {self.state} is run by another process already; stop it with "
                f"`warrener down`, or choose another folder with --state DIR"
            ) from None
        return fd

    def read_record(self) -> Record | None:
        """None if this folder never had a cluster."""
        return self._read(self.state / "cluster.json", Record)

    def write_record(self, record: Record) -> None:
        write_private(self.state / "cluster.json", msgspec.json.encode(record) + b"\n")

    def read_chosen(self) -> Chosen:
        """What was chosen so far; nothing if nothing was."""
        return self._read(self.state / "config.json", Chosen) or Chosen()

    def write_chosen(self, chosen: Chosen) -> None:
        write_private(self.state / "config.json", msgspec.json.encode(chosen) + b"\n")

    def credentials(self) -> Credentials:
        """Those of this cluster, made up at the first call."""
        path = self.state / "credentials.json"
        found = self._read(path, Credentials)
        if found is None:
            found = Credentials(user=USER, password=secrets.token_hex(_PASSWORD_BYTES))
            write_private(path, msgspec.json.encode(found) + b"\n")
        return found

    def prepare_cookie(self) -> None:
        """Makes the Erlang cookie if there is none."""
        path = self.state / "home" / ".erlang.cookie"
        if not path.exists():
            write_private(path, secrets.token_hex(_COOKIE_BYTES).encode(), mode=0o400)

    def remove_node_data(self, folder: Path) -> None:
        """Forgets what a node that never belonged to a cluster has stored."""
        if folder.exists():
            shutil.rmtree(folder)

    def remove_node(self, folder: Path) -> None:
        """Removes all that there is of a node that is no member any more, its logs included."""
        if folder.exists():
            shutil.rmtree(folder)

    def mark(self, record: Record) -> str:
        """What marks the processes of this cluster. With the folder's own identity in it: a copy of
        the folder is another cluster, a folder that was moved is the same."""
        return f"{record.id}{self.mark_of_folder()}"

    def mark_of_folder(self) -> str:
        """How every mark of this folder's processes ends; known also when the record is damaged."""
        status = self.state.stat()
        return f"-{status.st_dev:x}-{status.st_ino:x}"

    def _read(self, path: Path, kind: type[_T]) -> _T | None:
        try:
            with path.open("rb") as file:
                return msgspec.json.decode(file.read(_MAX_FILE), type=kind)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StateBroken(
                f"{path} is damaged ({error}); restore it, or remove the cluster and its data "
                f"with `warrener down --purge`"
            ) from None


def write_private(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replaces a file in one step; it is private from its first byte on."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
