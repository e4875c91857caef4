"""What is said of the hosts of a description before anything is done there."""

from pathlib import Path
from typing import TYPE_CHECKING

from warrener.cli.common import err, shown

if TYPE_CHECKING:
    from warrener.cluster.spec import ClusterSpec


def tell_what_is_installed(spec: "ClusterSpec") -> None:
    """Where RabbitMQ is missing and would be installed at the start of the cluster, and by what.
    Looks at the hosts, if the description lets anything be installed at all."""
    if not any(host.install for host in spec.hosts):
        return
    from warrener.cluster.drivers.host_install import COMMAND
    from warrener.daemon.wiring import look_at_hosts

    seen, _ = look_at_hosts(spec)
    where = ", ".join(one.name for one in seen if one.installable)
    if where:
        err().print(
            f"RabbitMQ is missing on {where}: it is installed there first, by `{COMMAND}`, and its "
            f"own service is kept off.",
            markup=False,
            soft_wrap=True,
        )


def tell_where_hosts_are_judged(spec: "ClusterSpec", file: Path) -> None:
    """A description is checked without its hosts; `warrener doctor` asks them."""
    if not spec.hosts:
        return
    err().print(
        f"`warrener doctor -f {shown(file)}` looks whether its hosts are ready.",
        markup=False,
        soft_wrap=True,
    )
