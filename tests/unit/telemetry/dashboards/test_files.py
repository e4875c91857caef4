"""What is written."""

import json

import yaml

from warrener.telemetry.dashboards.boards import BOARDS
from warrener.telemetry.dashboards.files import HEAD, PROVIDER, SOURCE, files


def test_dashboards_and_what_provisions_them() -> None:
    found = files(path="/etc/grafana/warrener/dashboards", prometheus="http://p:9090", interval=30)
    names = [f"dashboards/{board.uid}.json" for board in BOARDS]
    assert list(found) == [*names, PROVIDER, SOURCE]
    for name, board in zip(names, BOARDS, strict=True):
        assert json.loads(found[name])["uid"] == board.uid
        assert found[name].endswith(b"}\n")
    (provider,) = yaml.safe_load(found[PROVIDER])["providers"]
    assert provider["options"]["path"] == "/etc/grafana/warrener/dashboards"
    assert provider["type"] == "file"
    (source,) = yaml.safe_load(found[SOURCE])["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://p:9090")
    assert source["jsonData"]["timeInterval"] == "30s"
    assert found[PROVIDER].startswith(HEAD.encode())
    assert found[SOURCE].startswith(HEAD.encode())


def test_the_same_each_time() -> None:
    def made() -> dict[str, bytes]:
        return dict(files(path="/d", prometheus="http://p", interval=15))

    assert made() == made()
