"""What is asked of a cluster before its definitions are kept, or others put back."""

from typing import Any

from warrener.cluster.definitions import Entry
from warrener.management import topology as api
from warrener.management.client import ManagementClient, ManagementError


async def exported(client: ManagementClient) -> dict[str, Any]:
    """What RabbitMQ exports, and what 3.10 leaves out of it: what is said of virtual hosts."""
    found = await api.definitions(client)
    more = {vhost.name: _about(vhost) for vhost in await api.vhosts(client)}
    vhosts = found.get("vhosts")
    if isinstance(vhosts, list):
        found["vhosts"] = [
            {**more.get(vhost["name"], {}), **vhost}
            if isinstance(vhost, dict) and isinstance(vhost.get("name"), str)
            else vhost
            for vhost in vhosts
        ]
    return found


def _about(vhost: api.VHostAnswer) -> Entry:
    metadata = vhost.metadata if isinstance(vhost.metadata, dict) else {}
    kind = vhost.default_queue_type or metadata.get("default_queue_type")
    about: dict[str, Any] = {"description": vhost.description or "", "tags": vhost.tags or []}
    if isinstance(kind, str) and kind not in ("", "undefined"):
        about["default_queue_type"] = kind
    return about


async def queue_types(client: ManagementClient, release: tuple[int, int]) -> frozenset[str]:
    """Before 4.0 there are three, two of them only once their feature flag is on; empty after."""
    if release >= (4, 0):
        return frozenset()
    types = {"classic", "quorum", "stream"}
    try:
        flags = await client.get_json("/api/feature-flags")
    except ManagementError:
        return frozenset(types)
    for flag in flags if isinstance(flags, list) else []:
        if isinstance(flag, dict) and flag.get("state") == "disabled":
            types.discard(str(flag.get("name")).removesuffix("_queue"))
    return frozenset(types)


async def exchange_types(client: ManagementClient) -> frozenset[str]:
    """Those that this cluster has, plugins' included."""
    overview = await client.get_json("/api/overview", {"columns": "exchange_types"})
    types = overview.get("exchange_types") if isinstance(overview, dict) else None
    return frozenset(one["name"] for one in types or [] if isinstance(one, dict) and "name" in one)
