"""What ``warrener telemetry grafana --out DIR`` writes. Pure.

    DIR/dashboards/warrener-*.json                  the dashboards
    DIR/provisioning/dashboards/warrener.yml        a folder that Grafana reads them into
    DIR/provisioning/datasources/warrener.yml       the Prometheus that they ask

Grafana reads ``provisioning`` if it is its provisioning path (``GF_PATHS_PROVISIONING``), or if its
two files are put into what is.
"""

from collections.abc import Mapping
from typing import Final

from warrener.telemetry.dashboards.boards import BOARDS, MARKS
from warrener.telemetry.dashboards.grafana import text
from warrener.telemetry.rules import duration, to_yaml

HEAD: Final = (
    "# Made by Warrener. `warrener telemetry grafana` writes it anew; what is changed here is lost "
    "then.\n"
)

FOLDER: Final = "Warrener"
FOLDER_UID: Final = "warrener"
SOURCE_UID: Final = "warrener-prometheus"
DASHBOARDS: Final = "dashboards"
PROVIDER: Final = "provisioning/dashboards/warrener.yml"
SOURCE: Final = "provisioning/datasources/warrener.yml"


def dashboards() -> dict[str, bytes]:
    """The dashboards' JSON by their uid, in the order in which they are shown."""
    return {board.uid: text(board, MARKS) for board in BOARDS}


def files(*, path: str, prometheus: str, interval: float) -> Mapping[str, bytes]:
    """By name. ``path``: where Grafana finds the dashboards, on its host. ``prometheus``: where it
    asks for data. ``interval``: seconds between scrapes, which Grafana's windows are made from."""
    return {
        **{f"{DASHBOARDS}/{uid}.json": content for uid, content in dashboards().items()},
        PROVIDER: provider(path).encode(),
        SOURCE: source(prometheus, interval).encode(),
    }


def provider(path: str) -> str:
    """Grafana looks into ``path`` twice a minute, and takes what has changed."""
    return HEAD + to_yaml(
        {
            "apiVersion": 1,
            "providers": [
                {
                    "name": "warrener",
                    "orgId": 1,
                    "folder": FOLDER,
                    "folderUid": FOLDER_UID,
                    "type": "file",
                    "disableDeletion": False,
                    "updateIntervalSeconds": 30,
                    "allowUiUpdates": False,
                    "options": {"path": path, "foldersFromFilesStructure": False},
                }
            ],
        }
    )


def source(prometheus: str, interval: float) -> str:
    """A data source. It isn't made the default one: there may be another."""
    return HEAD + to_yaml(
        {
            "apiVersion": 1,
            "datasources": [
                {
                    "name": "Prometheus of Warrener",
                    "uid": SOURCE_UID,
                    "type": "prometheus",
                    "access": "proxy",
                    "orgId": 1,
                    "url": prometheus,
                    "isDefault": False,
                    "editable": True,
                    "jsonData": {"httpMethod": "POST", "timeInterval": duration(interval)},
                }
            ],
        }
    )
