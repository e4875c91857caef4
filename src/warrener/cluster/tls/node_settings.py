"""What a node is told about TLS: its ``rabbitmq.conf``, Erlang's arguments. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from warrener.facts.tls import TlsPart, TlsSettings, TlsVersion

_VERSIONS: Final = {
    TlsVersion.V1_2: ("tlsv1.3", "tlsv1.2"),
    TlsVersion.V1_3: ("tlsv1.3",),
}

SETUP_TIME: Final = 20
"""Seconds for a connection of Erlang's distribution to be set up; its own default is 7. A tool
loads the modules for TLS while that time runs: half a second on an idle machine, more than 7 on one
with ten times the work that it can do (measured: two cores, load 15 to 20; `rabbitmqctl` failed
more often than not)."""


@dataclass(frozen=True, slots=True)
class NodeTlsFiles:
    """What a node reads: ``identity`` is its own, ``shown`` the one that its management page shows,
    each a key with its certificate; ``shown_trust`` and ``trust`` are the authorities. ``options``
    has what Erlang's distribution goes by."""

    identity: Path
    trust: Path
    shown: Path
    shown_trust: Path
    options: Path


def with_tls(own: Mapping[str, str], settings: TlsSettings, files: NodeTlsFiles) -> dict[str, str]:
    """A node's own settings (``node_config.own_settings``) with its listeners as ``settings`` has
    them: on the same ports, and none of them open in plain as well."""
    told = dict(own)
    if settings.has(TlsPart.LINKS):
        told["listeners.ssl.1"] = told.pop("listeners.tcp.1")
        told["listeners.tcp"] = "none"
        told |= _options("ssl_options", files.identity, files.trust, settings)
        # The balancer logs in with the client's own name and password; a certificate of its own
        # would say nothing more.
        told["ssl_options.verify"] = "verify_none"
        told["ssl_options.fail_if_no_peer_cert"] = "false"
    if settings.has(TlsPart.MANAGEMENT):
        for plugin in ("management", "prometheus"):
            for key in ("ip", "port"):
                told[f"{plugin}.ssl.{key}"] = told.pop(f"{plugin}.tcp.{key}")
            told |= _options(f"{plugin}.ssl", files.shown, files.shown_trust, settings)
    return told


def _options(prefix: str, identity: Path, trust: Path, settings: TlsSettings) -> dict[str, str]:
    return {
        f"{prefix}.cacertfile": str(trust),
        f"{prefix}.certfile": str(identity),
        f"{prefix}.keyfile": str(identity),
        **{
            f"{prefix}.versions.{number}": version
            for number, version in enumerate(_VERSIONS[settings.min_version], start=1)
        },
    }


def distribution_options(settings: TlsSettings, files: NodeTlsFiles) -> str:
    """The file that ``-ssl_dist_optfile`` names: both sides show a certificate of the cluster's and
    verify the other's."""
    versions = ",".join(f"'{version}'" for version in _VERSIONS[settings.min_version])
    common = (
        f"{{cacertfile, {_string(files.trust)}}},\n"
        f"    {{certfile, {_string(files.identity)}}},\n"
        f"    {{keyfile, {_string(files.identity)}}},\n"
        f"    {{versions, [{versions}]}},\n"
        f"    {{verify, verify_peer}}"
    )
    return (
        f"[{{server, [\n    {common},\n    {{fail_if_no_peer_cert, true}}]}},\n"
        f" {{client, [\n    {common}]}}].\n"
    )


def erlang_flags(settings: TlsSettings, files: NodeTlsFiles) -> str:
    """Arguments of the Erlang VM of nodes and of RabbitMQ's tools; empty without TLS between them.
    For ``ERL_FLAGS``, which is taken apart as a shell would."""
    if not settings.has(TlsPart.INTER_NODE):
        return ""
    options = _quoted(str(files.options))
    return f"-kernel net_setuptime {SETUP_TIME} -proto_dist inet_tls -ssl_dist_optfile {options}"


def _string(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _quoted(text: str) -> str:
    plain = all(one.isalnum() or one in "/._-+@%," for one in text)
    return text if plain else "'" + text.replace("'", "'\\''") + "'"


CLEAR_CACHES: Final = """
    Clear = fun(Cache) ->
        case whereis(Cache) of
          undefined -> none;
          Pid -> gen_server:call(Pid, {unconditionally_clear_pem_cache, self()}, 10000)
        end
      end,
    [{N, catch erpc:call(N, fun() -> [Clear(C) || C <- [ssl_pem_cache, ssl_pem_cache_dist]] end,
                         20000)} || N <- rabbit_nodes:all_running()], ok.
"""
