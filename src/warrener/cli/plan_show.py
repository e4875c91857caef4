"""`warrener plan show`, `what-if` and `size`: what the cluster carries, now and if things change,
and what another load would take."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from warrener.cli import plan_plot
from warrener.cli.common import (
    BAD_INPUT,
    CliError,
    JsonOption,
    StateOption,
    folder_of,
    out,
    print_json,
)
from warrener.cli.history import window_of
from warrener.cli.long import ask
from warrener.cli.plan_costs import CalibrationOption, CostsChoice, costs_of
from warrener.cli.plan_plot import PlotKindOption, PlotOption, plotting
from warrener.control.state_folder import StateFolder

if TYPE_CHECKING:
    from warrener.planner.balancing import Balancing
    from warrener.planner.costs import Calibration
    from warrener.planner.load import Load
    from warrener.planner.outlook import Outlook
    from warrener.planner.sizing import Profile

PATIENCE: Final = 1.0
"""s of work that nothing is said of."""

WindowOption = Annotated[
    str,
    typer.Option("--window", metavar="TIME", help="How far back: 90s, 10m, 2h."),
]


def add_to(app: typer.Typer) -> None:
    """Makes them commands of the group."""
    app.command("show")(show)
    app.command("what-if")(what_if)
    app.command("size")(size)
    app.command("advise")(advise)


def show(
    context: typer.Context,
    window: WindowOption = "5m",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="How many queues at most.")
    ] = 20,
    calibration: CalibrationOption = CostsChoice.AUTO,
    plot: PlotOption = None,
    plot_kind: PlotKindOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how much this cluster can carry, and what breaks first.

    Per node: messages a second through the queues it leads, cores that these
    should cost by the calibration beside those it uses. Per queue: arrivals
    (lambda), what it and its consumers get through (mu), how busy the busier of
    the two is (rho), response time R and length L, predicted beside measured.
    Then the part that breaks first, at how many times today's load, what helps,
    and what is left without each node.

    It goes by the history of the last minutes and by `warrener plan calibrate`.
    If that was never run, what messages cost is told by the history of the last
    day, as far as that goes.

    Examples:

      warrener plan show
      warrener plan show --window 2h
      warrener plan show --plot plan.svg
      warrener plan show --json | jq '{capacity, first, remedy}'
    """
    from warrener.cli.plan_document import document

    folder = folder_of(context, state)
    with plotting(plot, plot_kind) as picture:
        load, costs, warnings = _known(folder, window, calibration)
        outlook = _outlook(load, costs)
        if picture is not None:
            plan_plot.outlooks(
                picture,
                folder,
                costs,
                outlook,
                kind=plot_kind,
                window=window_of(window),
                title=f"{costs.cluster}: load of the last {window}",
            )
    told = document(outlook, warnings, costs.source)
    if as_json:
        print_json(told)
        return
    from warrener.cli import render_plan

    render_plan.show(out(), outlook, told, source=_source(costs, window), limit=limit)


def what_if(
    context: typer.Context,
    load: Annotated[
        str, typer.Option("--load", metavar="xN", help="Times today's load: x2, 1.5, 150%.")
    ] = "x1",
    nodes: Annotated[
        str,
        typer.Option(
            "--nodes", metavar="+N", help="Nodes that are added; -N: that leave, the last first."
        ),
    ] = "0",
    kill: Annotated[
        list[str] | None, typer.Option("--kill", metavar="NODE", help="A node that is gone.")
    ] = None,
    consumers: Annotated[
        list[str] | None,
        typer.Option("--consumers", metavar="QUEUE=N", help="billing=+3, billing=-1, billing=5."),
    ] = None,
    queue_type: Annotated[
        list[str] | None,
        typer.Option("--queue-type", metavar="QUEUE=TYPE", help="orders=quorum; *=classic."),
    ] = None,
    body: Annotated[
        list[str] | None,
        typer.Option("--body", metavar="[QUEUE=]SIZE", help="4KiB, or orders=4KiB."),
    ] = None,
    window: WindowOption = "5m",
    calibration: CalibrationOption = CostsChoice.AUTO,
    plot: PlotOption = None,
    plot_kind: PlotKindOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a change would do, before and after side by side. Nothing is changed.

    Options that name a queue or a node can be given several times. A queue
    outside of the default virtual host is named with it: shop/orders. Leaders
    and replicas are spread anew where nodes are added or leave in order; where
    one is killed its quorum queues are led by others, and what nobody serves
    any more is named.

    Examples:

      warrener plan what-if --load x2
      warrener plan what-if --load x2 --nodes +2
      warrener plan what-if --kill n2 --plot without-n2.png --plot-kind flow
      warrener plan what-if --consumers billing=+3 --queue-type orders=quorum --body 4KiB
    """
    from warrener.cli.plan_document import WhatIfDocument, document
    from warrener.models.terms import WrongInput
    from warrener.planner import question

    folder = folder_of(context, state)
    try:
        asked = question.read(
            load=load,
            nodes=nodes,
            kill=kill or (),
            consumers=consumers or (),
            queue_type=queue_type or (),
            body=body or (),
        )
    except WrongInput as error:
        raise CliError(str(error), BAD_INPUT) from None
    if asked == question.WhatIf():
        raise CliError("say what is to be different: --load, --nodes, --kill, ...", BAD_INPUT)
    with plotting(plot, plot_kind) as picture:
        now, costs, warnings = _known(folder, window, calibration)
        same_host = len(now.hosts) == 1 and len(now.nodes) > 1
        try:
            then = question.asked(now, asked, same_host=same_host)
            stopped = question.stopped(now, asked, same_host=same_host)
        except WrongInput as error:
            raise CliError(str(error), BAD_INPUT) from None
        before, after = _outlook(now, costs), _outlook(then, costs)
        if picture is not None:
            plan_plot.outlooks(
                picture,
                folder,
                costs,
                before,
                after,
                kind=plot_kind,
                window=window_of(window),
                title=f"{costs.cluster}: what if {question.words(asked)}",
                asked=asked.load,
            )
    told = WhatIfDocument(
        before=document(before, warnings, costs.source),
        after=document(after, warnings, costs.source),
        stopped=stopped,
    )
    if as_json:
        print_json(told)
        return
    from warrener.cli import render_plan

    render_plan.what_if(out(), told, after)


def size(
    context: typer.Context,
    rate: Annotated[
        float, typer.Option("--rate", metavar="N", help="Messages a second that come in.")
    ],
    body: Annotated[str, typer.Option("--body", metavar="SIZE", help="Of a message.")] = "1KiB",
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            metavar="P",
            help="orders: nothing lost. logs: throughput. realtime: latency.",
        ),
    ] = "orders",
    p99: Annotated[
        str | None,
        typer.Option("--p99", metavar="TIME", help="99 of 100 are acked within it: 20ms."),
    ] = None,
    survive: Annotated[
        int, typer.Option("--survive", metavar="N", help="Nodes that may be lost at once.")
    ] = 1,
    service_time: Annotated[
        str | None,
        typer.Option("--service-time", metavar="TIME", help="A consumer takes it for a message."),
    ] = None,
    round_trip: Annotated[
        str, typer.Option("--round-trip", metavar="TIME", help="From a client and back.")
    ] = "1ms",
    cores: Annotated[
        int | None,
        typer.Option("--cores", metavar="N", help="Of a node's host.", show_default="as measured"),
    ] = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a load takes: nodes, queues, consumers, prefetch, window of confirms.

    It goes by what messages cost on the cluster that `warrener plan calibrate`
    measured, on hosts like its own (or with --cores), one node each, and
    leaves room: queues at 70 % of their limit, nodes at 70 %, at 85 % with as
    many lost as may be.

    Examples:

      warrener plan size --rate 40000 --body 1KiB --profile orders --p99 20ms --survive 1
      warrener plan size --rate 500 --service-time 30ms --p99 500ms
      warrener plan size --rate 200000 --profile logs --cores 16 --json
    """
    from warrener.models.terms import WrongInput
    from warrener.planner import question, sizing

    folder = folder_of(context, state)
    calibration = costs_of(folder, CostsChoice.MEASURED)
    try:
        wanted = sizing.Wanted(
            rate=rate,
            body=question.size(body),
            profile=_profile(profile),
            p99=question.duration(p99) if p99 is not None else None,
            survive=survive,
            service_time=question.duration(service_time) if service_time is not None else None,
            round_trip=question.duration(round_trip),
            cores=cores,
        )
        answer = sizing.size(wanted, calibration)
    except WrongInput as error:
        raise CliError(str(error), BAD_INPUT) from None
    if as_json:
        print_json(answer)
        return
    from warrener.cli import render_plan

    render_plan.size(out(), wanted, answer, calibration.warnings)


def advise(
    context: typer.Context,
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            metavar="P",
            help="What the messages are for: orders (nothing lost), logs, realtime.",
        ),
    ] = "",
    round_trip: Annotated[
        str, typer.Option("--round-trip", metavar="TIME", help="From a client and back.")
    ] = "1ms",
    load: Annotated[
        str, typer.Option("--load", metavar="xN", help="Times today's load: x2, 1.5, 150%.")
    ] = "x1",
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Of the trials of policies.")
    ] = 1,
    window: WindowOption = "5m",
    calibration: CalibrationOption = CostsChoice.AUTO,
    plot: PlotOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what to change, with the evidence, and the command that does it.

    What breaks first, consumers that are missing, prefetches that starve
    consumers or pile messages up behind one, leaders that are piled up, traffic
    that takes a detour, a node that couldn't be spared, and (with --profile
    orders) queues with one copy. Nothing is said that would bring less than a
    tenth. Below, the types of queues side by side, by what messages cost here;
    the balancer's policies, each tried in simulation on the sessions that are
    open, with how much they differ and whether chance explains it (--plot draws
    them); and the weights that fit what each node has left. The same --seed
    gives the same figures.

    Examples:

      warrener plan advise
      warrener plan advise --load x2
      warrener plan advise --plot policies.svg
      warrener plan advise --profile orders --window 1h
      warrener plan advise --json | jq '.pieces[] | {about, do, command}'
    """
    from warrener.models.terms import WrongInput
    from warrener.planner import changes, question
    from warrener.planner.advice import advise as advice_of

    wanted = _profile(profile) if profile else None
    folder = folder_of(context, state)
    try:
        trip = question.duration(round_trip)
        times = question.factor(load)
    except WrongInput as error:
        raise CliError(str(error), BAD_INPUT) from None
    with plotting(plot) as picture:
        now, costs, warnings = _known(folder, window, calibration)
        scaled = changes.scaled(now, times)
        advised = advice_of(scaled, costs, wanted, trip)
        balanced = _balancing(folder, now, costs, window, times, seed)
        told = picture is None
        if picture is not None:
            at = f" x {times:g}" if times != 1.0 else ""
            title = f"{costs.cluster}: balancing policies, load of the last {window}{at}"
            told = plan_plot.policies(picture, balanced, title=title)
    pieces = sorted((*advised.pieces, *balanced.pieces), key=lambda piece: not piece.urgent)
    warnings += [text for text in balanced.warnings if text not in warnings]
    if as_json:
        from warrener.cli.plan_document import AdviceDocument

        print_json(AdviceDocument(pieces, advised.types, warnings, balanced))
    else:
        from warrener.cli import render_plan, render_policies

        advised = replace(advised, pieces=tuple(pieces))
        render_plan.advice(out(), advised, ())
        render_policies.balancing(out(), balanced)
        render_plan.notes(out(), warnings)
    if not told:
        raise CliError(f"nothing was drawn, as there are no policies to draw: {balanced.untried}")


def _balancing(
    folder: StateFolder,
    load: "Load",
    calibration: "Calibration",
    window: str,
    times: float,
    seed: int,
) -> "Balancing":
    """The policies tried on the sessions that are open, with progress if that takes its time."""
    from time import monotonic

    from warrener.cli.history import window_of
    from warrener.cli.progress import ProgressView
    from warrener.control.balance_operations import PLAN_SESSIONS, PlanSessionsRequest
    from warrener.control.operations import ProgressLine
    from warrener.planner import balancing, changes
    from warrener.planner.load_wire import sessions_from_wire

    answer = ask(folder, PLAN_SESSIONS, PlanSessionsRequest(window_of(window)))
    sessions = changes.more_from_each(sessions_from_wire(answer, load), times)
    began = monotonic()
    with ProgressView(begin_with_first=True) as view:

        def progress(done: int, total: int) -> None:
            if monotonic() - began > PATIENCE:
                text = "are tried in simulation"
                view(ProgressLine("policies", text, done >= total, count=done, total=total))

        return balancing.balancing(
            changes.scaled(load, times), calibration, sessions, seed=seed, progress=progress
        )


def _profile(name: str) -> "Profile":
    from warrener.planner.sizing import Profile

    try:
        return Profile(name)
    except ValueError:
        raise CliError(
            f"there is no profile {name!r}; there are {', '.join(Profile)}", BAD_INPUT
        ) from None


def _known(
    folder: StateFolder, window: str, choice: CostsChoice = CostsChoice.AUTO
) -> "tuple[Load, Calibration, list[str]]":
    """The load, what messages cost, and what is to be said of both."""
    from warrener.control.history_operations import PLAN_LOAD, PlanLoadRequest
    from warrener.planner.load_wire import from_wire

    answer = ask(folder, PLAN_LOAD, PlanLoadRequest(window_of(window)))
    calibration = costs_of(folder, choice)
    return from_wire(answer), calibration, [*answer.warnings, *calibration.warnings]


def _outlook(load: "Load", calibration: "Calibration") -> "Outlook":
    from warrener.planner.outlook import outlook

    return outlook(load, calibration)


def _source(calibration: "Calibration", window: str) -> str:
    from datetime import datetime

    from warrener.planner.costs import CostsFrom

    if calibration.source is CostsFrom.HISTORY:
        return f"Load of the last {window}; what messages cost by the history, not measured"
    taken = datetime.fromtimestamp(calibration.taken_at).astimezone()
    return f"Load of the last {window}; what messages cost was measured on {taken:%Y-%m-%d %H:%M}"
