"""The configuration of a private node: ``rabbitmq.conf``, the environment, the plugins. Pure.

Which keys a RabbitMQ knows differs by version, and it refuses to boot on one that it doesn't: each
key here was in 3.10's schema and still is in 4.x's unless a comment says otherwise.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from warrener.cluster.drivers.ports import LOOPBACK, NodePorts
from warrener.facts.ids import NodeName, short_name

WATERMARK: Final = 0.4
"""Share of the machine's memory at which publishers are blocked: RabbitMQ's own default up to 3.13
for a node that has the machine to itself, divided here among the nodes that share it."""

DISK_FREE_LIMIT: Final = "100MB"
"""RabbitMQ's default is 50 MB, too little for three nodes that write at once; more would refuse to
work on a laptop with a full disk."""

NET_TICKTIME: Final = 4
"""Seconds without a sign of life, give or take a quarter, after which a node on another host counts
as gone. RabbitMQ's default is 60: for so long a partition where packets just vanish goes unnoticed
by Erlang, and a node that is cut off goes on taking messages that it can't confirm. Measured in
docs/decisions/0013-hosts.md."""

NET_SETUPTIME: Final = 2
"""Seconds that a node on another host may take to answer when Erlang connects to it; 7 by default.
Whoever says something to a node that is cut off waits for that: channels, and the management API of
every other node."""

DETECTOR_POLL: Final = 1_000
"""Milliseconds between two looks of a quorum queue's followers whether a leader on another host is
there. RabbitMQ sets 5000, the library itself 1000. A follower that misses its leader waits for one
more look, and for up to a second, before it has itself elected; and while it waits like that, the
news that Erlang has dropped the leader's node shorten nothing. So with 5000 an election can end ten
seconds after the network broke, with 1000 four. Measured in docs/decisions/0013-hosts.md."""

_TCP_USER_TIMEOUT: Final = (
    f"[{{raw,6,18,<<{','.join(str(byte) for byte in (5000).to_bytes(4, sys.byteorder))}>>}}]"
)
"""Milliseconds after which Linux gives a connection up whose data isn't taken. Without it one that
was cut off lingers for as long as TCP retransmits, half a minute after the network is back; and
RabbitMQ 3.10.8 can't start its statistics while two connections to one node are there
(``rabbit_net:dist_info``), so a node that had paused itself stayed paused for good."""

_SETUPTIME: Final = f" -kernel net_setuptime {NET_SETUPTIME}"

_BETWEEN_HOSTS: Final = (
    f"{_SETUPTIME}"
    f" -kernel inet_dist_connect_options {_TCP_USER_TIMEOUT}"
    f" -kernel inet_dist_listen_options {_TCP_USER_TIMEOUT}"
)

_HAS_DETECTOR_KEY: Final = (3, 12)
"""Releases from here on have a key for it in rabbitmq.conf."""

ADVANCED_IS_OURS: Final = "%% Written by Warrener; without this line it is left alone."

LOG_SIZE: Final = 10 * 1024 * 1024
LOG_COUNT: Final = 3

KEPT_FROM_ENVIRONMENT: Final = ("TMPDIR", "TZ")
"""All that a node gets of Warrener's own environment, beside PATH. A list of what to keep and not
of what to drop: RabbitMQ's scripts read far more than ``RABBITMQ_*`` (``NODENAME``,
``CONFIG_FILE``, ``ERL_FLAGS``, ...)."""


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """The files of one node; ``folder`` is its own, ``shared`` the state folder."""

    folder: Path
    shared: Path

    @property
    def config(self) -> Path:
        return self.folder / "rabbitmq.conf"

    @property
    def advanced(self) -> Path:
        return self.folder / "advanced.config"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def has_data(self, name: NodeName) -> bool:
        """Whether the node has a database. Without one, a member that boots founds a cluster."""
        database = self.data / name
        return database.is_dir() and any(database.iterdir())

    @property
    def logs(self) -> Path:
        return self.folder / "log"

    @property
    def log(self) -> Path:
        return self.logs / "rabbitmq.log"

    @property
    def console(self) -> Path:
        return self.logs / "console.log"

    @property
    def tls(self) -> Path:
        """Keys and certificates, if it has any (``cluster.tls.files``)."""
        return self.folder / "tls"

    @property
    def home(self) -> Path:
        return self.shared / "home"

    @property
    def plugins(self) -> Path:
        return self.shared / "enabled_plugins"


def own_settings(
    *,
    release: tuple[int, int],
    cluster_name: str,
    members: Sequence[NodeName],
    ports: NodePorts,
    user: str,
    password: str,
    address: str = LOOPBACK,
    shared_by: int | None = None,
) -> dict[str, str]:
    """What Warrener itself sets in a node's ``rabbitmq.conf``. It holds the password.

    ``address`` is what the node listens on; ``shared_by`` is how many nodes share its machine's
    memory, by default all members."""
    settings: dict[str, str | int] = {
        "listeners.tcp.1": f"{address}:{ports.amqp}",
        "management.tcp.ip": address,
        "management.tcp.port": ports.management,
        "prometheus.tcp.ip": address,
        "prometheus.tcp.port": ports.prometheus,
        "cluster_name": cluster_name,
        # Used once, when the first node makes its database: guest is not made then.
        "default_user": user,
        "default_pass": password,
        "default_user_tags.administrator": "true",
        "cluster_partition_handling": _partition_handling(len(members)),
        "queue_leader_locator": "balanced",
        "vm_memory_high_watermark.relative": _watermark(shared_by or len(members)),
        "disk_free_limit.absolute": DISK_FREE_LIMIT,
        "log.file.level": "info",
        "log.file.rotation.size": LOG_SIZE,
        "log.file.rotation.count": LOG_COUNT,
        "log.console": "false",
        "cluster_formation.peer_discovery_backend": "classic_config",
    }
    if address != LOOPBACK:  # there is a network between them, and it can break
        settings["net_ticktime"] = NET_TICKTIME
        if release >= _HAS_DETECTOR_KEY:
            settings["raft.adaptive_failure_detector.poll_interval"] = DETECTOR_POLL
    if release < (4, 0):  # classic queues had a locator of their own
        settings["queue_master_locator"] = "min-masters"
    if release < (3, 13):
        # Up to here a node that finds no peer's database asks ten times, half a second apart,
        # while it holds the lock that its peers wait for. A peer that has a database says so at
        # the first question.
        settings["cluster_formation.discovery_retry_limit"] = 1
        settings["cluster_formation.discovery_retry_interval"] = 100
    for number, member in enumerate(members, start=1):
        settings[f"cluster_formation.classic_config.nodes.{number}"] = member
    return {key: str(value) for key, value in settings.items()}


def advanced_config(release: tuple[int, int], address: str) -> str:
    """The text of a node's ``advanced.config``: what the keys of its RabbitMQ's rabbitmq.conf don't
    reach. Empty: it needs none."""
    if address == LOOPBACK:
        return ""
    poll = "" if release >= _HAS_DETECTOR_KEY else f"{{aten, [{{poll_interval, {DETECTOR_POLL}}}]}}"
    return f"{ADVANCED_IS_OURS}\n[{poll}].\n"


def config_text(settings: Mapping[str, str]) -> str:
    """The text of ``rabbitmq.conf``: write it 0600."""
    return "".join(f"{key} = {value}\n" for key, value in settings.items())


def live_changes(members: int, by_hand: Collection[str] = (), shared_by: int | None = None) -> str:
    """A piece of Erlang that gives every running node what ``own_settings`` would say for so many
    members: the cluster has grown or shrunk, and who runs shall not keep another's share. Keys
    that were set ``by_hand`` are left alone."""
    calls = []
    if not any(key.startswith("vm_memory_high_watermark.") for key in by_hand):
        calls.append(
            f"rpc:call(N, vm_memory_monitor, set_vm_memory_high_watermark, "
            f"[{_watermark(shared_by or members)}])"
        )
    if "cluster_partition_handling" not in by_hand:
        calls.append(
            f"rpc:call(N, application, set_env, "
            f"[rabbit, cluster_partition_handling, {_partition_handling(members)}])"
        )
    return f"[begin {', '.join([*calls, 'ok'])} end || N <- rabbit_nodes:all_running()], ok."


def _watermark(members: int) -> str:
    return f"{WATERMARK / members:.3f}"


def _partition_handling(members: int) -> str:
    """From 4.3 on accepted without effect."""
    if members >= 3:
        return "pause_minority"  # a minority stops serving rather than diverge
    # Of two nodes neither is a majority, and pause_minority would stop both.
    return "autoheal" if members == 2 else "ignore"


def enabled_plugins(names: Sequence[str]) -> str:
    """The text of ``enabled_plugins``, an Erlang term."""
    return f"[{','.join(names)}].\n"


def enabled_in(text: str) -> frozenset[str]:
    """The names in an ``enabled_plugins``. ValueError if it isn't one."""
    listed = text.strip()
    if not (listed.startswith("[") and listed.endswith("].")):
        raise ValueError("it isn't an Erlang list")
    return frozenset(word for word in listed[1:-2].replace(",", " ").split() if word)


def environment(
    *,
    name: NodeName,
    files: NodeFiles,
    distribution_port: int,
    epmd_port: int,
    path: str,
    mark: Mapping[str, str],
    inherited: Mapping[str, str],
    address: str = LOOPBACK,
    flags: str = "",
) -> dict[str, str]:
    """The environment of a node; ``files`` are where they are on its machine, ``flags`` further
    ones of its Erlang VM and of its tools'. Nothing of the system's own RabbitMQ is read: every
    file that it would look for in /etc/rabbitmq is pointed at the state folder instead."""
    kept = {key: inherited[key] for key in KEPT_FROM_ENVIRONMENT if key in inherited}
    between_hosts = _BETWEEN_HOSTS
    if "net_setuptime" in flags:
        between_hosts = between_hosts.replace(_SETUPTIME, "")
    return {
        "LANG": "C.UTF-8",  # Erlang reads paths in the locale's encoding
        # Without TZ the C library looks at /etc/localtime for every line of the log.
        "TZ": ":/etc/localtime",
        **kept,
        **mark,
        "PATH": path,
        "HOME": str(files.home),
        "RABBITMQ_NODENAME": name,
        "RABBITMQ_MNESIA_BASE": str(files.data),
        "RABBITMQ_LOG_BASE": str(files.logs),
        "RABBITMQ_LOGS": str(files.log),
        "RABBITMQ_PID_FILE": str(files.folder / "rabbitmq.pid"),
        "RABBITMQ_CONFIG_FILE": str(files.config),
        "RABBITMQ_CONFIG_FILES": str(files.shared / "conf.d" / "*.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(files.advanced),
        "RABBITMQ_CONF_ENV_FILE": str(files.shared / "rabbitmq-env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(files.plugins),
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_CRASH_DUMP": str(files.logs / "erl_crash.dump"),
        # The script then becomes the Erlang VM instead of waiting for it: the pid that was started
        # is the node's. It no longer says -noinput itself.
        "RABBITMQ_ALLOW_INPUT": "1",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            # epmd is ours: a node must not start one that outlives it.
            "-noinput -start_epmd false" + ("" if address == LOOPBACK else between_hosts)
        ),
        # In the environment so that it also binds the short-lived VM that a booting node starts to
        # see whether epmd is there.
        "ERL_FLAGS": (
            f"-kernel inet_dist_use_interface {{{address.replace('.', ',')}}} {flags}".rstrip()
        ),
        **({} if address == LOOPBACK else {"RABBITMQ_USE_LONGNAME": "true"}),
    }


_FOR_SERVERS: Final = frozenset(
    {
        "ERL_CRASH_DUMP",  # a tool that crashes must not replace a node's
        "RABBITMQ_ALLOW_INPUT",
        "RABBITMQ_DIST_PORT",  # a tool would take it for the node's to find, and for its own
        "RABBITMQ_PID_FILE",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
    }
)


def tool_environment(node: Mapping[str, str], mark: Mapping[str, str]) -> dict[str, str]:
    """The environment in which RabbitMQ's command-line tools find a node: the node's own, without
    what is meant for a server. They know the node by the cookie in HOME."""
    kept = {key: value for key, value in node.items() if key not in _FOR_SERVERS}
    # A tool that finds no epmd would start one, which then holds the port that ours needs.
    return {**kept, **mark, "ERL_FLAGS": f"{node['ERL_FLAGS']} -start_epmd false"}


def epmd_environment(path: str, mark: Mapping[str, str]) -> dict[str, str]:
    """The environment of epmd, the directory in which the nodes find one another's ports."""
    return {"PATH": path, "LANG": "C.UTF-8", **mark}


def node_files(state: Path, name: NodeName) -> NodeFiles:
    """Where a node's files are."""
    return NodeFiles(state / "nodes" / short_name(name), state)
