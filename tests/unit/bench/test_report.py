"""The document others script against (DESIGN.md section 8), and the tables."""

import io
import json

from rich.console import Console

from warrener.bench.report import Report, encode, tables, this_machine


def test_the_schema(report: Report) -> None:
    document = json.loads(encode(report))
    assert {"machine", "versions", "results", "ratios"} <= document.keys()
    assert document["results"][0] == {
        "workload": "classic-1",
        "path": "warrener",
        "unit": "msg/s",
        "samples": [61_234.0, 60_000.0, 62_000.0],
        "median": 61_234.0,
        "generator_cores": [],
    }
    (ratio,) = document["ratios"]
    assert ratio["against"] == "direct"
    assert ratio["median"] == 0.9
    assert document["failures"][0]["text"] == "it broke"
    names = ("warrener", "python", "uvloop", "rabbitmq", "erlang", "haproxy")
    assert tuple(document["versions"]) == names
    assert all(document["versions"].values())


def test_the_tables_show_every_figure(report: Report) -> None:
    out = io.StringIO()
    Console(file=out, width=200).print(tables(report))
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert ["classic-1", "warrener", "61,234", "60,000", "62,000", "msg/s"] in lines
    assert ["latency", "direct", "0.51", "0.40", "0.60", "ms"] in lines
    assert ["classic-1", "warrener", "0.90", "0.80", "1.00", "direct"] in lines


def test_this_machine_is_described() -> None:
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.memory_mib > 100
    assert machine.model
    assert machine.kernel
