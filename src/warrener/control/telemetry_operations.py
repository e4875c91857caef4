"""`warrener telemetry`: where metrics are, and files that make a Prometheus scrape them."""

from typing import Final

import msgspec

from warrener.control.operation import Operation


class TelemetryRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How is it?"""


class PrometheusLine(msgspec.Struct, frozen=True, kw_only=True):
    """The Prometheus that Warrener runs. ``state``: running, starting or down; ``pid`` None while
    it doesn't run; ``problem``: why it is down, or can't be asked."""

    url: str
    state: str
    pid: int | None
    version: str
    starts: int
    problem: str = ""


class TargetLine(msgspec.Struct, frozen=True, kw_only=True):
    """What it scrapes. ``health``: up, down or unknown; ``took`` in seconds."""

    job: str
    node: str
    url: str
    health: str
    error: str
    took: float


class AlertLine(msgspec.Struct, frozen=True, kw_only=True):
    """``state``: pending or firing; ``labels`` without name and severity."""

    name: str
    severity: str
    state: str
    summary: str
    labels: dict[str, str]
    since: str


class TelemetryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``metrics_url`` is empty if no metrics are served; ``token_file`` has what is to be sent as
    ``Authorization: Bearer``. ``exports``: folders whose target files are kept current."""

    metrics_url: str
    token_file: str
    scrapes: int
    queue_metrics: int
    prometheus: PrometheusLine | None
    targets: list[TargetLine]
    alerts: list[AlertLine]
    exports: list[str]


class TelemetryExportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Writes Prometheus' files into ``folder`` (absolute; made if need be), and keeps the targets
    in it current from then on. 0 stands for what ``[telemetry]`` says."""

    folder: str
    scrape_interval: float = 0.0
    alert_after: float = 0.0


class TelemetryExportAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    folder: str
    files: list[str]
    targets: dict[str, int]  # by job


TELEMETRY: Final = Operation("telemetry", TelemetryRequest, TelemetryAnswer)

TELEMETRY_EXPORT: Final = Operation(
    "telemetry-export", TelemetryExportRequest, TelemetryExportAnswer
)
