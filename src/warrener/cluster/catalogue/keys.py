"""The catalogue: keys of ``rabbitmq.conf`` that operators set, and what a change of each costs.

Which of them are applied live goes by what was tried on RabbitMQ 3.10.8, and by where its sources
read the value: at every use, or once at boot. ``since`` and ``until`` were read off the schema
files of the releases from 3.9.0 to 4.3.0. A part that begins with ``$`` stands for any word.
"""

from collections.abc import Mapping
from typing import Final

from warrener.cluster.catalogue.entries import Entry, Live, set_env
from warrener.cluster.catalogue.keys_of_plugins import ENTRIES as OF_PLUGINS

_YEAR: Final = (
    366 * 24 * 3600 * 1000
)  # ms; Erlang's timers end at 49 days, but none of these is one

_NEW_CONNECTIONS: Final = "new connections"
_NEW_CHANNELS: Final = "new channels"
_NEW_QUEUES: Final = "queues declared from then on"
_NEXT_LOGIN: Final = "the next login"

_WATERMARK: Final = Live("rabbitmqctl set_vm_memory_high_watermark VALUE")
_DISK: Final = Live("rabbitmqctl set_disk_free_limit VALUE")
_LOG: Final = Live("rabbitmqctl set_log_level VALUE", "all log outputs at once")

_LEVELS: Final = (
    ("connection", "connections that open, close or fail"),
    ("channel", "errors on channels"),
    ("queue", "classic queues"),
    ("mirroring", "mirrored queues"),
    ("federation", "federation links"),
    ("upgrade", "upgrades of the node's data"),
    ("ra", "the Raft library under quorum queues and streams"),
    ("default", "everything that has no category of its own"),
)

_SOCKET: Final = (
    "where any tcp_listen_options.* is set, RabbitMQ's own defaults of the others (backlog 128, "
    "nodelay true, linger true/0, exit_on_close false) no longer count: set those too"
)

ENTRIES: Final[tuple[Entry, ...]] = (
    # -- memory and disk
    Entry("vm_memory_high_watermark.relative",
          "Share of the machine's memory at which publishers are blocked",
          low=0.0, high=1.0, live=_WATERMARK,
          note="takes the place of vm_memory_high_watermark.absolute"),
    Entry("vm_memory_high_watermark.absolute",
          "Memory at which publishers are blocked, in bytes or units",
          "bytes", size=True, live=_WATERMARK,
          note="takes the place of vm_memory_high_watermark.relative"),
    Entry("vm_memory_high_watermark_paging_ratio",
          "Share of the watermark at which classic queues page messages to disk",
          note="without effect from 3.12 on: classic queues keep no messages in memory"),
    Entry("vm_memory_calculation_strategy", "How a node measures its own memory"),
    Entry("memory_monitor_interval", "How often memory is compared with the watermark",
          "ms", 1, 3600000),
    Entry("total_memory_available_override_value",
          "The machine's memory, where RabbitMQ can't find it out (containers)", "bytes",
          size=True),
    Entry("disk_free_limit.absolute", "Free disk space below which publishers are blocked",
          "bytes", size=True, live=_DISK, note="takes the place of disk_free_limit.relative"),
    Entry("disk_free_limit.relative",
          "The same as a multiple of the machine's memory", low=0.0, high=100.0, live=_DISK,
          note="takes the place of disk_free_limit.absolute"),
    Entry("background_gc_enabled", "Collects garbage of idle processes now and then"),
    Entry("background_gc_target_interval", "How often that is tried", "ms", 1, _YEAR),
    # -- connections and channels
    Entry("heartbeat", "Heartbeat that the server offers; 0 turns it off", "s", 0, 65535,
          live=set_env("rabbit", "heartbeat", _NEW_CONNECTIONS)),
    Entry("frame_max", "Largest AMQP frame that the server offers", "bytes", 4096, 2147483647,
          live=set_env("rabbit", "frame_max", _NEW_CONNECTIONS)),
    Entry("initial_frame_max", "Largest frame before a connection is tuned (long tokens)",
          "bytes", 4096, 2147483647, default="4096",
          live=set_env("rabbit", "initial_frame_max", _NEW_CONNECTIONS)),
    Entry("channel_max", "Channels that one connection may open; 0: no limit", "", 0, 65535,
          live=set_env("rabbit", "channel_max", _NEW_CONNECTIONS)),
    Entry("channel_max_per_node", "Channels that may be open on a node", low=0, since=(3, 13)),
    Entry("connection_max", "Client connections that a node takes", low=0,
          note="tried on 3.10.8: setting it on a running node has no effect"),
    Entry("ranch_connection_max", "Connections that one listener takes", low=1, since=(3, 12)),
    Entry("handshake_timeout", "How long the AMQP handshake may take", "ms", 100, 3600000,
          live=set_env("rabbit", "handshake_timeout", _NEW_CONNECTIONS)),
    Entry("ssl_handshake_timeout", "How long the TLS handshake may take", "ms", 100, 3600000),
    Entry("reverse_dns_lookups", "Shows clients by host name instead of address",
          live=set_env("rabbit", "reverse_dns_lookups", _NEW_CONNECTIONS)),
    Entry("num_acceptors.tcp", "Processes that accept connections", low=1, high=10000),
    Entry("num_acceptors.ssl", "Processes that accept TLS connections", low=1, high=10000),
    Entry("socket_writer.gc_threshold", "Bytes written after which a connection collects garbage",
          "bytes", 1, live=set_env("rabbit", "writer_gc_threshold", _NEW_CHANNELS)),
    Entry("proxy_protocol", "Expects a PROXY header on every connection"),
    Entry("max_message_size", "Largest message that may be published", "bytes",
          live=set_env("rabbit", "max_message_size", "messages from then on", until=(3, 11))),
    Entry("consumer_timeout", "How long a delivery may stay unacknowledged before its channel is "
          "closed", "ms", 1, _YEAR, live=set_env("rabbit", "consumer_timeout", _NEW_CHANNELS)),
    Entry("consumer_max_per_channel", "Consumers that one channel may have", low=1, since=(4, 0)),
    Entry("session_max_per_connection", "AMQP 1.0 sessions in a connection", low=1, high=65535,
          since=(4, 0)),
    Entry("link_max_per_session", "AMQP 1.0 links in a session", low=1, since=(4, 0)),
    # -- sockets
    Entry("tcp_listen_options.backlog", "Connections that may wait to be accepted", "", 1, 65535,
          note=_SOCKET),
    Entry("tcp_listen_options.nodelay", "Sends small packets at once (TCP_NODELAY)", note=_SOCKET),
    Entry("tcp_listen_options.keepalive", "TCP keepalive on client connections", note=_SOCKET),
    Entry("tcp_listen_options.exit_on_close",
          "Drops what is unsent when a client closes its side", note=_SOCKET),
    Entry("tcp_listen_options.sndbuf", "Kernel's send buffer", "bytes", 1024, 1073741824,
          note=_SOCKET),
    Entry("tcp_listen_options.recbuf", "Kernel's receive buffer", "bytes", 1024, 1073741824,
          note=_SOCKET),
    Entry("tcp_listen_options.buffer", "Erlang's own buffer of a connection", "bytes", 1024,
          1073741824, note=_SOCKET),
    Entry("tcp_listen_options.linger.on", "Waits for unsent data when a socket is closed",
          note=_SOCKET),
    Entry("tcp_listen_options.linger.timeout", "How long it waits", "s", 0, 3600, note=_SOCKET),
    Entry("tcp_listen_options.send_timeout", "How long a client may take nothing before it is "
          "dropped", "ms", 1, 3600000, note=_SOCKET),
    Entry("tcp_listen_options.send_timeout_close", "Closes the socket when that happens",
          note=_SOCKET),
    Entry("tcp_listen_options.high_watermark", "Unsent bytes from which writers wait", "bytes", 1,
          note=_SOCKET),
    Entry("tcp_listen_options.low_watermark", "Unsent bytes below which they go on", "bytes", 1,
          note=_SOCKET),
    Entry("tcp_listen_options.tos", "IP type of service", low=0, high=255, note=_SOCKET),
    # -- cluster
    Entry("cluster_partition_handling", "What nodes do when the cluster is split",
          note="accepted without effect from 4.3 on"),
    Entry("cluster_partition_handling.pause_if_all_down.recover",
          "How pause_if_all_down goes on afterwards"),
    Entry("cluster_partition_handling.pause_if_all_down.nodes.$name",
          "The nodes that pause_if_all_down looks for"),
    Entry("net_ticktime", "Silence after which a node counts another as gone", "s", 1, 3600,
          default="60", live=Live("rabbitmqctl eval 'net_kernel:set_net_ticktime(VALUE).'",
                                  "over the next interval")),
    Entry("cluster_keepalive_interval", "How often nodes greet one another", "ms", 1, 3600000),
    Entry("cluster_name", "What the cluster is called"),
    Entry("delegate_count", "Processes for calls between nodes", low=1, high=10000),
    Entry("mnesia_table_loading_retry_timeout",
          "How long a starting node waits for the others' tables, each time", "ms", 1, 3600000),
    Entry("mnesia_table_loading_retry_limit", "How often it waits", low=1, high=100000),
    Entry("cluster_formation.target_cluster_size_hint", "Nodes that the cluster is to have",
          since=(3, 10)),
    Entry("cluster_formation.peer_discovery_backend", "How nodes find one another"),
    Entry("cluster_formation.discovery_retry_limit", "How often a node looks for its peers"),
    Entry("cluster_formation.discovery_retry_interval", "How long it waits in between", "ms"),
    Entry("cluster_formation.classic_config.nodes.$node", "The nodes of the cluster"),
    Entry("cluster_tags.$tag", "A tag of the cluster, shown to those who ask", since=(4, 1)),
    Entry("node_tags.$tag", "A tag of the node", since=(4, 1)),
    # -- queues
    Entry("queue_leader_locator", "Where leaders of new quorum queues and streams are placed: "
          "client-local or balanced", since=(3, 10), default="client-local",
          live=set_env("rabbit", "queue_leader_locator", _NEW_QUEUES)),
    Entry("queue_master_locator", "Where new classic queues are placed: client-local, min-masters "
          "or random", default="client-local",
          live=set_env("rabbit", "queue_master_locator", _NEW_QUEUES)),
    Entry("default_queue_type", "Type of queues that are declared without one", since=(4, 0)),
    Entry("classic_queue.default_version", "On-disk format of new classic queues", low=1, high=2,
          since=(3, 10), default="1",
          live=set_env("rabbit", "classic_queue_default_version", _NEW_QUEUES)),
    Entry("quorum_queue.compute_checksums", "Checksums on what quorum queues write", since=(3, 11),
          default="true"),
    Entry("quorum_queue.initial_cluster_size", "Replicas of a new quorum queue", low=1, high=255,
          since=(4, 1)),
    Entry("quorum_queue.commands_soft_limit", "Unsettled commands before a publisher is slowed",
          low=1, since=(4, 1)),
    Entry("quorum_queue.property_equivalence.relaxed_checks_on_redeclaration",
          "Lets a quorum queue be declared again as a classic one", since=(3, 12)),
    Entry("quorum_queue.continuous_membership_reconciliation.enabled",
          "Adds replicas to quorum queues that have too few", since=(3, 13)),
    Entry("quorum_queue.continuous_membership_reconciliation.target_group_size",
          "Replicas that are wanted then", low=1, since=(3, 13)),
    Entry("quorum_queue.continuous_membership_reconciliation.auto_remove",
          "Removes replicas on nodes that have left", since=(3, 13)),
    Entry("quorum_queue.continuous_membership_reconciliation.interval",
          "How often that is looked at", "ms", 1, since=(3, 13)),
    Entry("cluster_queue_limit", "Queues that the cluster may have", low=1, since=(4, 0),
          live=set_env("rabbit", "cluster_queue_limit", _NEW_QUEUES)),
    Entry("cluster_exchange_limit", "Exchanges that the cluster may have", low=1, since=(4, 2)),
    Entry("vhost_max", "Virtual hosts that the cluster may have", low=1, since=(3, 12),
          live=set_env("rabbit", "vhost_max", "virtual hosts made from then on")),
    Entry("vhost_restart_strategy", "What happens when a virtual host fails"),
    Entry("queue_index_embed_msgs_below", "Messages up to this size are kept in the queue's index",
          "bytes", 0, 1048576),
    Entry("message_store_shutdown_timeout", "How long the message store may take to stop",
          "ms", 1, _YEAR),
    Entry("mirroring_sync_batch_size", "Messages in one batch when a mirror is synchronised",
          live=set_env("rabbit", "mirroring_sync_batch_size", "the next sync"),
          note="mirrored queues are gone from 4.0 on"),
    Entry("mirroring_sync_max_throughput", "Bytes per second of such a sync; 0: no limit",
          "bytes/s",
          size=True, since=(3, 10), default="0",
          live=set_env("rabbit", "mirroring_sync_max_throughput", "the next sync"),
          note="mirrored queues are gone from 4.0 on"),
    Entry("default_worker_pool_size", "Jobs done at once, such as queues recovered at boot",
          low=1, high=10000),
    # -- Raft
    Entry("raft.wal_max_size_bytes", "Size at which quorum queues' log is rolled over", "bytes",
          65536, default="536870912"),
    Entry("raft.wal_max_entries", "Entries at which it is rolled over", low=1),
    Entry("raft.wal_max_batch_size", "Entries written in one go", low=1),
    Entry("raft.wal_hibernate_after", "Idle time after which the log's process hibernates",
          "ms", 1),
    Entry("raft.segment_max_entries", "Entries in one segment file", low=1, high=65535,
          default="4096"),
    Entry("raft.snapshot_chunk_size", "Bytes of a snapshot sent at once", "bytes", 1),
    Entry("raft.data_dir", "Where quorum queues keep their data"),
    Entry("raft.adaptive_failure_detector.poll_interval",
          "How often nodes look whether leaders are there", "ms", 1, since=(3, 12)),
    # -- statistics
    Entry("collect_statistics", "What is counted without the management plugin"),
    Entry("collect_statistics_interval", "How often statistics are told", "ms", 100, 3600000),
    # -- users and access
    Entry("auth_backends.$num", "Who says who may log in, in this order: internal, ldap, http",
          live=set_env("rabbit", "auth_backends", _NEXT_LOGIN)),
    Entry("auth_backends.$num.authn", "The same, only for logins",
          live=set_env("rabbit", "auth_backends", _NEXT_LOGIN)),
    Entry("auth_backends.$num.authz", "The same, only for permissions",
          live=set_env("rabbit", "auth_backends", _NEXT_LOGIN)),
    Entry("auth_mechanisms.$name", "SASL mechanisms that are offered"),
    Entry("loopback_users", "`none`: every user may connect from anywhere",
          live=set_env("rabbit", "loopback_users", _NEXT_LOGIN)),
    Entry("loopback_users.$user", "Whether a user may only connect from this machine",
          live=set_env("rabbit", "loopback_users", _NEXT_LOGIN)),
    Entry("password_hashing_module", "How passwords are hashed",
          live=set_env("rabbit", "password_hashing_module", "passwords set from then on")),
    Entry("credential_validator.validation_backend", "What checks new passwords",
          live=set_env("rabbit", "credential_validator", "users made from then on")),
    Entry("credential_validator.min_length", "Shortest password", low=0, high=1024,
          live=set_env("rabbit", "credential_validator", "users made from then on")),
    Entry("credential_validator.regexp", "What a password has to match",
          live=set_env("rabbit", "credential_validator", "users made from then on")),
    Entry("ssl_cert_login_from", "Which part of a client's certificate is the user",
          live=set_env("rabbit", "ssl_cert_login_from", _NEXT_LOGIN)),
    Entry("anonymous_login_user", "Whom clients without a login are taken for", since=(4, 0)),
    # -- TLS
    Entry("ssl_options.cacertfile", "Certificates of those whom the server trusts"),
    Entry("ssl_options.certfile", "The server's certificate"),
    Entry("ssl_options.keyfile", "Its private key"),
    Entry("ssl_options.password", "The private key's password"),
    Entry("ssl_options.verify", "Whether clients' certificates are checked", default="verify_none"),
    Entry("ssl_options.fail_if_no_peer_cert", "Whether clients must have one", default="false"),
    Entry("ssl_options.depth", "Certificates between a client's and a trusted one"),
    Entry("ssl_options.versions.$version", "TLS versions that are spoken"),
    Entry("ssl_options.ciphers.$cipher", "Cipher suites that are allowed"),
    Entry("ssl_options.honor_cipher_order", "The server's order of ciphers counts"),
    # -- definitions
    Entry("load_definitions", "File of users, queues and policies that a booting node loads"),
    Entry("definitions.import_backend", "Where definitions come from", since=(3, 10)),
    Entry("definitions.local.path", "File or folder of them", since=(3, 10)),
    Entry("definitions.https.url", "URL of them", since=(3, 10)),
    Entry("definitions.skip_if_unchanged", "Doesn't load again what it has loaded", since=(3, 10)),
    # -- logs
    Entry("log.file.level", "What is written to the node's log", default="info", live=_LOG),
    Entry("log.file.rotation.size", "Size at which the log is rolled over", "bytes", 0),
    Entry("log.file.rotation.count", "Old logs that are kept", low=0, high=10000),
    Entry("log.file.rotation.date", "When the log is rolled over, such as $D0 for midnight"),
    Entry("log.file.formatter", "plaintext or json", note="Warrener reads the plain text to show "
          "how far a boot is; with json it only sees when the node answers"),
    Entry("log.console", "Also logs to standard output"),
    Entry("log.console.level", "What is written there"),
    Entry("log.exchange", "Also publishes log lines to the exchange amq.rabbitmq.log"),
    Entry("log.exchange.level", "What is published there"),
    Entry("log.syslog", "Also sends log lines to syslog"),
    Entry("log.syslog.level", "What is sent there"),
    *(Entry(f"log.{name}.level", f"What is logged of {what}") for name, what in _LEVELS),
    # -- the Erlang VM's watch over itself
    Entry("sysmon_handler.triggers.process.garbage_collection",
          "Warns of a process that collects garbage for so long"),
    Entry("sysmon_handler.triggers.process.long_scheduled_execution",
          "Warns of a process that runs for so long in one go"),
    Entry("sysmon_handler.triggers.process.heap_size", "Warns of a process with so large a heap"),
    Entry("motd_file", "Text that a booting node shows"),
    *OF_PLUGINS,
)  # fmt: skip

KEYS: Final[Mapping[str, Entry]] = {entry.key: entry for entry in ENTRIES}

_PATTERNS: Final = tuple((tuple(e.key.split(".")), e) for e in ENTRIES if "$" in e.key)

_ADVANCED: Final = (
    "it is set in advanced.config, which has no key here; `rabbitmqctl eval` sets it on "
    "a running node"
)
ELSEWHERE: Final[Mapping[str, str]] = {
    "vm_memory_high_watermark":
        "it is vm_memory_high_watermark.relative (0.4) or vm_memory_high_watermark.absolute (2GB)",
    "disk_free_limit":
        "it is disk_free_limit.absolute (2GB) or disk_free_limit.relative (1.5)",
    "default_consumer_prefetch": _ADVANCED,
    "quorum_cluster_size":
        f"{_ADVANCED}; a policy with target-group-size does the same from 3.13 on",
    "quorum_commands_soft_limit": _ADVANCED,
    "credit_flow_default_credit": _ADVANCED,
    "msg_store_credit_disc_bound": _ADVANCED,
    "msg_store_file_size_limit": _ADVANCED,
    "msg_store_io_batch_size": _ADVANCED,
    "queue_index_max_journal_entries": _ADVANCED,
    "channel_operation_timeout": _ADVANCED,
    "message_ttl": "it is set for queues by a policy: `rabbitmqctl set_policy`, message-ttl",
    "max_length": "it is set for queues by a policy: `rabbitmqctl set_policy`, max-length",
    "ha_mode": "it is set for queues by a policy: `rabbitmqctl set_policy`, ha-mode",
    "delivery_limit": "it is set for queues by a policy: `rabbitmqctl set_policy`, delivery-limit",
}  # fmt: skip
"""What people look for among the keys and isn't there, with where it is."""


def entry_for(key: str) -> Entry | None:
    """What the catalogue says of a key as it is written in the file; None if it says nothing."""
    exact = KEYS.get(key)
    if exact is not None:
        return exact
    parts = key.split(".")
    for pattern, entry in _PATTERNS:
        if len(pattern) == len(parts) and all(
            one.startswith("$") or one == part for one, part in zip(pattern, parts, strict=True)
        ):
            return entry
    return None
