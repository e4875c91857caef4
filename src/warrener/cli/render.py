"""Tables and lines for people. What is here is made to be read at 80 columns."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from warrener.control.operations import (
    BalancerStatus,
    EventLine,
    NodeStatus,
    RebalanceAnswer,
    SessionLine,
    StatusAnswer,
    ViewStatus,
)
from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import short_name
from warrener.facts.reasons import NodeState
from warrener.facts.snapshot import QueueView

QUEUES_SHOWN: Final = 20
SESSIONS_SHOWN: Final = 50

_STATE_STYLE: Final = {
    NodeState.RUNNING: "green",
    NodeState.STARTING: "yellow",
    NodeState.STOPPING: "yellow",
    NodeState.STOPPED: "dim",
    NodeState.DOWN: "red",
    NodeState.UNREACHABLE: "yellow",
    NodeState.LOST: "red",
}
_OLD_VIEW: Final = 10.0  # seconds; the daemon stops acting on it then, too


def size(count: int | None) -> str:
    """Bytes in at most five characters, powers of 1024: 512B, 9.6G."""
    if count is None:
        return "-"
    amount = float(count)
    for unit in "BKMGT":
        if amount < 1000 or unit == "T":
            break
        amount /= 1024
    return f"{amount:.1f}{unit}" if amount < 10 and unit != "B" else f"{amount:.0f}{unit}"


def span(seconds: float | None) -> str:
    """A length of time in at most six characters: 4s, 12m, 3h12m, 5d3h."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 1:
        return f"{whole}s"
    if hours < 1:
        return f"{minutes}m"
    if days < 1:
        return f"{hours}h{minutes % 60:02}m"
    return f"{days}d{hours % 24}h"


def status(console: Console, answer: StatusAnswer, folder: str) -> None:
    """The whole status."""
    console.print(
        f"[bold]{escape(answer.cluster)}[/] in {escape(folder)}: {answer.phase}, "
        f"up {span(answer.uptime)}{_software(answer.nodes)}",
        soft_wrap=True,
    )
    console.print()
    console.print(node_table(answer.nodes))
    console.print()
    if answer.balancer is not None:
        _balancer(console, answer.balancer, answer.nodes)
    if answer.tls:
        words = ", ".join(answer.tls)
        console.print(
            f"[bold]TLS[/] {words.replace('_', '-')}{_without_tls(answer.balancer)}",
            soft_wrap=True,
        )
        console.print()
    _metrics(console, answer)
    _queues(console, answer.queues)
    _view(console, answer.management)


def _metrics(console: Console, answer: StatusAnswer) -> None:
    if not answer.metrics_url:
        return
    beside = f", Prometheus at {answer.prometheus_url}" if answer.prometheus_url else ""
    console.print(f"[bold]Metrics[/] {answer.metrics_url}{beside}", soft_wrap=True)
    console.print()


def _without_tls(balancer: BalancerStatus | None) -> str:
    if balancer is None:
        return ""
    found = f"; {balancer.tls_rejected:,} handshakes failed" if balancer.tls_rejected else ""
    if balancer.plain_port is not None:
        found += f"; port {balancer.plain_port} of the balancer is without"
    return found


def _software(nodes: Sequence[NodeStatus]) -> str:
    versions = {node.version for node in nodes if node.version}
    erlang = {node.erlang_version for node in nodes if node.erlang_version}
    if len(versions) != 1:
        return ""  # then each row has its own
    on = f" on Erlang {erlang.pop()}" if len(erlang) == 1 else ""
    return f", RabbitMQ {versions.pop()}{on}"


def node_table(nodes: Sequence[NodeStatus]) -> Table:
    """One row per node; the version only where nodes differ in it."""
    differ = len({node.version for node in nodes if node.version}) > 1
    table = new_table("node", "state", ">pid")
    if differ:
        table.add_column("version")
    for header in (">uptime", ">memory", ">disk", "alarms", ">leaders", ">sessions"):
        add_column(table, header)
    for node in nodes:
        state = "[yellow]drained[/]" if node.being_drained else _state(node)
        memory = (
            f"{size(node.memory_used)}/{size(node.memory_limit)}"
            if node.memory_limit
            else size(node.memory_used)
        )
        alarms = f"[red]{', '.join(node.alarms)}[/]" if node.alarms else "-"
        table.add_row(
            escape(node.name),
            state,
            str(node.pid or "-"),
            *([node.version or "-"] if differ else []),
            span(node.uptime),
            memory,
            size(node.disk_free),
            alarms,
            "-" if node.leaders is None else str(node.leaders),
            str(node.sessions),
        )
    return table


def _state(node: NodeStatus) -> str:
    return f"[{_STATE_STYLE[node.state]}]{node.state}[/]"


def _balancer(console: Console, balancer: BalancerStatus, nodes: Sequence[NodeStatus]) -> None:
    if balancer.data_plane is DataPlane.HAPROXY:
        _haproxy(console, balancer, nodes)
        return
    console.print(
        f"[bold]Balancer[/] {balancer.host}:{balancer.port}, policy {balancer.policy}, "
        f"{balancer.fit_nodes} of {len(nodes)} nodes fit",
        soft_wrap=True,
    )
    console.print(
        f"  {balancer.sessions} sessions open, {balancer.sessions_total} so far, "
        f"{balancer.rejected_total} rejected; {balancer.published:,} messages in, "
        f"{balancer.delivered:,} out",
        soft_wrap=True,
    )
    console.print(f"  {locality(balancer.locality, balancer.locality_error)}", soft_wrap=True)
    console.print(
        f"  messages: {balancer.messages_local:,} local, {balancer.messages_remote:,} remote; "
        f"channels moved: {counts(balancer.moves or {})}{_trouble(balancer)}",
        soft_wrap=True,
    )
    weight_reasons(console, balancer, nodes)
    unfit(console, nodes)
    console.print()


def _haproxy(console: Console, balancer: BalancerStatus, nodes: Sequence[NodeStatus]) -> None:
    process = f"process {balancer.pid}" if balancer.pid else "[red]not running, is started anew[/]"
    console.print(
        f"[bold]HAProxy[/] {balancer.host}:{balancer.port}, policy {balancer.policy}, "
        f"{balancer.fit_nodes} of {len(nodes)} nodes fit",
        soft_wrap=True,
    )
    console.print(
        f"  version {escape(balancer.data_plane_version)}, {process}; it passes bytes: no locality,"
        f"\n  no moves, no message counts",
        soft_wrap=True,
    )
    console.print(
        f"  {balancer.sessions} sessions open, {balancer.sessions_total} so far, "
        f"{balancer.rejected_total} rejected; {size(balancer.bytes_in)} in, "
        f"{size(balancer.bytes_out)} out",
        soft_wrap=True,
    )
    failed = {str(node.name): node.failures_total for node in nodes if node.failures_total}
    if failed:
        console.print(f"  connects to nodes that failed: {escape(counts(failed))}", soft_wrap=True)
    weight_reasons(console, balancer, nodes)
    unfit(console, nodes)
    console.print()


def locality(on: bool, error: str) -> str:
    """Whether channels go to the leaders of their queues; in Rich's markup."""
    if not on:
        return "locality off"
    if error:
        return f"[yellow]locality on, but leaders aren't known:[/] {escape(error)}"
    return "locality on"


def counts(numbers: Mapping[str, int]) -> str:
    """``5 (3 failover, 2 locality)``, the most frequent first."""
    total = sum(numbers.values())
    if not total:
        return "0"
    ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    parts = ", ".join(f"{count:,} {name}" for name, count in ordered if count)
    return f"{total:,} ({parts})"


def _trouble(balancer: BalancerStatus) -> str:
    parts = []
    if balancer.moves_failed:
        parts.append(f"{balancer.moves_failed:,} moves failed")
    if balancer.parked:
        parts.append(f"{balancer.parked:,} consumers wait for their queue")
    if balancer.replayed:
        parts.append(f"{balancer.replayed:,} publishes sent again")
    if balancer.journal_bytes:
        parts.append(f"journals {size(balancer.journal_bytes)}")
    return "".join(f"; {part}" for part in parts)


def unfit(console: Console, nodes: Sequence[NodeStatus]) -> None:
    """A line for each node that gets no new sessions, with the reason."""
    for node in nodes:
        if not node.fit:
            detail = f" ({node.unfit_detail})" if node.unfit_detail else ""
            console.print(
                f"  [red]{escape(node.name)} gets no new sessions:[/] "
                f"{node.unfit_reason or 'unknown'}{escape(detail)}",
                soft_wrap=True,
            )


def _queues(console: Console, queues: Sequence[QueueView]) -> None:
    if not queues:
        console.print("[bold]Queues[/] none")
        console.print()
        return
    busiest = sorted(queues, key=lambda queue: (-queue.messages, queue.vhost, queue.name))
    console.print(f"[bold]Queues[/] {len(queues)}")
    table = new_table("vhost", "name", "type", "leader", ">ready", ">unacked", ">consumers")
    for queue in busiest[:QUEUES_SHOWN]:
        table.add_row(
            escape(queue.vhost),
            escape(queue.name),
            queue.type,
            escape(queue.leader or "[none]"),
            f"{queue.messages_ready:,}",
            f"{queue.messages_unacknowledged:,}",
            str(queue.consumers),
        )
    console.print(table)
    if len(queues) > QUEUES_SHOWN:
        console.print(f"  and {len(queues) - QUEUES_SHOWN} more, with fewer messages (--json)")
    console.print()


def _view(console: Console, view: ViewStatus) -> None:
    if view.source is None:
        console.print(
            f"[yellow]The cluster's own view is not known[/] ({escape(view.error or 'not yet')}); "
            f"the balancer goes by its probes.",
            soft_wrap=True,
        )
        return
    age = view.age or 0.0
    old = age > _OLD_VIEW
    line = f"The cluster's own view: from {escape(view.source)}, {span(age)} old"
    if old:
        line += "; too old, the balancer goes by its probes"
    if view.error:
        line += f". Last attempt: {escape(view.error)}"
    console.print(line, style="yellow" if old or view.error else "dim", soft_wrap=True)


def weights(nodes: Sequence[NodeStatus]) -> Table:
    """What the balancer goes by, per node."""
    table = new_table("node", ">weight", ">sessions", ">so far", "fit")
    for node in nodes:
        fit = "[green]yes[/]" if node.fit else f"[red]no: {node.unfit_reason}[/]"
        table.add_row(
            escape(node.name), str(node.weight), str(node.sessions), str(node.sessions_total), fit
        )
    return table


def weight_reasons(console: Console, balancer: BalancerStatus, nodes: Sequence[NodeStatus]) -> None:
    """What automatic weights go by; nothing for those by hand."""
    if not balancer.auto_weights:
        return
    console.print("  weights follow what nodes can carry:", soft_wrap=True)
    for node in nodes:
        why = node.weight_reason or "not measured yet"
        console.print(
            f"    {escape(short_name(node.name))} {node.weight}: {escape(why)}", soft_wrap=True
        )


def endpoints(nodes: Sequence[NodeStatus], tls: Sequence[str] = ()) -> Table:
    """Where each node is: what `up` shows. ``tls``: the parts that speak it."""
    scheme = "https" if "management" in tls else "http"
    table = new_table("node", "state", ">pid", "RabbitMQ", "AMQP", "management")
    for node in nodes:
        table.add_row(
            escape(node.name),
            _state(node),
            str(node.pid or "-"),
            node.version or "-",
            f"{node.host}:{node.amqp_port}" if node.amqp_port else "-",
            f"{scheme}://{node.host}:{node.management_port}" if node.management_port else "-",
        )
    return table


def sessions(console: Console, lines: Sequence[SessionLine], total: int) -> None:
    """The open sessions, oldest first."""
    table = new_table(
        ">id", "client", "name", "user", "vhost", "node", ">channels", ">age", ">in", ">out"
    )
    for line in lines[:SESSIONS_SHOWN]:
        table.add_row(
            str(line.id),
            escape(line.client),
            escape(line.name),
            escape(line.user),
            escape(line.vhost),
            escape(line.node or "-"),
            str(line.channels),
            span(line.age),
            size(line.bytes_in),
            size(line.bytes_out),
        )
    console.print(table)
    if total > min(len(lines), SESSIONS_SHOWN):
        console.print(f"and {total - min(len(lines), SESSIONS_SHOWN)} more (--json)")


def rebalance(console: Console, answer: RebalanceAnswer) -> None:
    """Sessions per node before and after, and what was done."""
    table = new_table("node", ">before", ">wanted", *([] if answer.dry_run else [">after"]))
    for share in answer.shares:
        after = [] if answer.dry_run else [str(share.after)]
        table.add_row(escape(share.node), str(share.before), str(share.wanted), *after)
    console.print(table)
    wanted = [share.wanted for share in answer.shares]
    if wanted and max(wanted) - min(wanted) > 1:
        console.print(
            "Not even: a session stays that has a channel with its queue's leader, or anything "
            "that is bound to its node.",
            soft_wrap=True,
        )
    if answer.dry_run:
        moves = sum(max(0, share.before - share.wanted) for share in answer.shares)
        console.print(
            f"Nothing was moved. {moves} sessions would be; the largest share is "
            f"{answer.skew_before:.2f} times the mean, and would be {answer.skew_after:.2f}.",
            soft_wrap=True,
        )
        return
    failed = f", {answer.failed} couldn't be" if answer.failed else ""
    console.print(
        f"{answer.moved} sessions moved in {answer.seconds:.1f} s{failed}; the largest share was "
        f"{answer.skew_before:.2f} times the mean, now {answer.skew_after:.2f}.",
        soft_wrap=True,
    )


def event(line: EventLine, at: str) -> str:
    """One event on one line, in Rich's markup; ``at`` is its time as shown."""
    detail = " ".join(f"{key}={value}" for key, value in line.detail.items())
    words = [f"[dim]{at}[/]", f"[bold]{escape(line.kind)}[/]"]
    words += [escape(word) for word in (line.subject, line.reason) if word]
    if detail:
        words.append(f"[dim]{escape(detail)}[/]")
    return " ".join(words)


def new_table(*headers: str) -> Table:
    """A table without lines."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for header in headers:
        add_column(table, header)
    return table


def add_column(table: Table, header: str) -> None:
    """``>`` before a header: numbers, to the right."""
    table.add_column(
        header.removeprefix(">"),
        justify="right" if header.startswith(">") else "left",
        no_wrap=header.startswith(">"),
        overflow="fold",
    )
