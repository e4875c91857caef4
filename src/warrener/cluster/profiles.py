"""What `warrener init` writes: descriptions to start from, each value with its reason.

orders     nothing that was confirmed is lost: quorum queues, dead letters
logs       throughput: streams, and classic queues that live on disk and have an end
realtime   latency: short queues of what is still true
"""

from collections.abc import Mapping
from typing import Final

_HEAD: Final = """\
# {what}
#
# `warrener validate` checks this file, `warrener diff` shows what would change, `warrener apply`
# makes it so (and starts the cluster if none runs). docs/description.md has every key.

name = "{name}"

[cluster]
nodes = {nodes}
"""

_USER: Final = """
[[user]]
name = "{name}"
# Made once and kept in the state folder; `warrener url --user {name}` shows it. Other ways:
# {{ env = "NAME" }}, {{ file = "PATH" }}.
password = {{ generate = true }}
max_connections = {connections}  # {why}

# Regular expressions of names; what isn't said is not allowed.
[user.permissions.{name}]
configure = "{configure}"
write = "{write}"
read = "{read}"
"""

_ORDERS: Final = (
    _HEAD.format(
        what="Orders, payments, jobs: no confirmed message may be lost.",
        name="orders",
        nodes="3  # a quorum queue has a replica on each, and goes on while two of them live",
    )
    + """
[balancer]
policy = "leastconn"  # connections live long and differ: the node with the fewest gets the next

[[vhost]]
name = "orders"
description = "Nothing confirmed is lost"
max_connections = 1000  # a client that reconnects in a loop is stopped here, not by the memory

# What every queue has that isn't told otherwise.
[queues]
type = "quorum"  # replicated by Raft: survives the loss of a node, with its messages
delivery-limit = 20  # a message that was given back so often is poison: it goes to dead-letters
dead-letter-exchange = ""  # the default exchange: straight into the queue of that name
dead-letter-routing-key = "dead-letters"
dead-letter-strategy = "at-least-once"  # the dead letter is kept until dead-letters has it ...
overflow = "reject-publish"  # ... which RabbitMQ does only with this: a full queue says no

# Where messages go that nobody could handle. Somebody has to look into it now and then.
[[queue]]
vhost = "orders"
name = "dead-letters"

# Dead letters don't become dead letters again: this policy takes the place of [queues] for them.
[[policy]]
vhost = "orders"
name = "dead-letters"
pattern = "^dead-letters$"
apply_to = "queues"
priority = 10
# 1 GiB: disks are finite. Full, it says no, and the dead letters wait where they died.
definition = { max-length-bytes = 1073741824, overflow = "reject-publish" }
"""
    + _USER.format(
        name="orders",
        connections=500,
        why="half of the virtual host's, so that one service can't use up all",
        configure=".*",
        write=".*",
        read=".*",
    )
)

_LOGS: Final = (
    _HEAD.format(
        what="Logs, metrics, events: many messages, read in long batches; old ones may go.",
        name="logs",
        nodes="3  # streams are replicated to all of them, and queues are spread over them",
    )
    + """
[balancer]
policy = "leastconn"
high_water = "2MiB"  # more in flight for each side: longer batches, fewer system calls
journal_limit = "64MiB"  # publishers confirm in long batches; this much of one is kept for a move

[[vhost]]
name = "logs"
description = "Throughput; the oldest go when there is no room"

# Queues that aren't told otherwise: on one node each, no replicas to wait for.
[queues]
type = "classic"
queue-mode = "lazy"  # messages go to disk at once: a backlog of hours doesn't cost memory
max-length-bytes = 4294967296  # 4 GiB a queue: a consumer that is away must not fill the disk
overflow = "drop-head"  # the oldest lines go first

# Streams (declared with x-queue-type = "stream") can be read again and by many.
[[policy]]
vhost = "logs"
name = "streams"
pattern = "^stream\\\\."
apply_to = "queues"

[policy.definition]
max-age = "7D"  # what is older goes ...
max-length-bytes = 21474836480  # ... and so does what doesn't fit into 20 GiB
stream-max-segment-size-bytes = 100000000  # only whole segments go: small ones keep to the limits

[[queue]]
vhost = "logs"
name = "stream.all"
type = "stream"
"""
    + _USER.format(
        name="logs",
        connections=2000,
        why="many small producers",
        configure=".*",
        write=".*",
        read=".*",
    )
)

_REALTIME: Final = (
    _HEAD.format(
        what="Prices, positions, games: what is old is worth nothing.",
        name="realtime",
        nodes="3",
    )
    + """
[balancer]
policy = "p2c"  # the better of two by chance: even, also while many connect at once
link_heartbeat = "5s"  # a node that hangs is noticed after two of these
probe_interval = "500ms"  # a node that died gets no new clients after a second
outage_timeout = "5s"  # without any node: tell the client soon, it may know another cluster
park_timeout = "5s"  # likewise for a consumer whose queue is away
settle_timeout = "1s"  # a planned move doesn't wait long for acks

[[vhost]]
name = "realtime"
description = "Latency; only the newest counts"

# What every queue has that isn't told otherwise.
[queues]
type = "classic"  # one copy, no replication to wait for: nothing here is worth a round trip
max-length = 1000  # short queues are fast queues, and stay in memory
overflow = "drop-head"  # when a consumer is slow, the newest is what it needs
message-ttl = 5000  # ms; nobody acts on what is older
expires = 600000  # ms; a queue that nobody used for ten minutes goes
"""
    + _USER.format(
        name="realtime",
        connections=5000,
        why="one for each player or screen",
        configure=".*",
        write=".*",
        read=".*",
    )
)

PROFILES: Final[Mapping[str, str]] = {
    "orders": _ORDERS,
    "logs": _LOGS,
    "realtime": _REALTIME,
}
