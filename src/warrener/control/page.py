"""The page's files in a state folder, and the link that opens it.

    STATE/page/token   what a viewer has to have (0600)
    STATE/page/port    the port of the last time, so that a link stays right

Who may read the token may open the page; it goes over no socket.
"""

from pathlib import Path
from typing import Final

TOKEN_FILE: Final = "token"  # noqa: S105  # a file's name
PORT_FILE: Final = "port"


def page_folder(state: Path) -> Path:
    """Where they are."""
    return state / "page"


def page_link(state: Path, url: str) -> str:
    """``url`` with the token in its fragment, which a browser keeps to itself. ``OSError``."""
    token = (page_folder(state) / TOKEN_FILE).read_text().strip()
    return f"{url}#token={token}"
