"""Keys that Warrener sets itself and depends on: why, and where the same is to be changed. Pure."""

import re
from typing import Final

_LISTENERS: Final = (
    "Warrener gives every node ports of its own, which the balancer and the tests of its health go "
    "by; `port` under [balancer] in warrener.toml is where clients connect"
)
_FORMATION: Final = (
    "Warrener forms the cluster itself; `nodes` under [cluster] in warrener.toml, or "
    "`warrener up --nodes N`, says how many there are"
)
_LOGIN: Final = (
    "it is the administrator that Warrener makes and uses, with a password made up for this "
    "cluster; `warrener url` shows the login, and further users are added with "
    "`rabbitmqctl add_user` or in the management page"
)
_FILES: Final = "each node's files are in the state folder, where Warrener reads and keeps them"

_RESERVED: Final = (
    (r"(listeners|num_acceptors_listeners)(\..*)?", _LISTENERS),
    (r"(tcp|stream\.tcp)_listen_options\.(port|fd)", _LISTENERS),
    (r"(management|prometheus)\.(tcp|ssl)\.(port|ip|listener.*)", _LISTENERS),
    (r"management\.(listener(\..*)?|ssl(\..*)?)", _LISTENERS),
    (r"prometheus\.ssl(\..*)?", _LISTENERS),
    (r"ssl_options\.(cacertfile|certfile|keyfile|verify|fail_if_no_peer_cert|versions\..*)",
     "[tls] in warrener.toml turns TLS on, with certificates that it makes or that are yours; "
     "docs/tls.md has how"),
    (r"(management|prometheus)\.(path_prefix|path)",
     "Warrener asks the management API and the metrics at their usual paths"),
    (r"distribution\.listener\..*",
     "Warrener binds the nodes' own connections to loopback, on ports of their own"),
    (r"proxy_protocol",
     "the nodes would expect a PROXY header on every connection, and the balancer sends none"),
    (r"cluster_formation\..*", _FORMATION),
    (r"cluster_name", "`name` in warrener.toml is the cluster's name"),
    (r"default_(user|pass|vhost|user_tags(\..*)?|permissions\..*|users\..*)", _LOGIN),
    (r"(log\.dir|log\.file|raft\.data_dir)", _FILES),
    (r"management\.(disable_stats|disable_basic_auth)|management_agent\.disable_metrics_collector",
     "Warrener sees queues, leaders and alarms through the management API, with its own login"),
    (r"erlang\..*", "it is an argument of the Erlang VM, which reads no rabbitmq.conf"),
)  # fmt: skip

_COMPILED: Final = tuple((re.compile(pattern), why) for pattern, why in _RESERVED)


def why_reserved(key: str) -> str:
    """Why a key can't be set here; empty if it can."""
    for pattern, why in _COMPILED:
        if pattern.fullmatch(key):
            return f"Warrener sets this itself: {why}"
    return ""
