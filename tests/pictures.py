"""The pictures that docs show, made by the tests that look at page and screen on a real cluster.

    python -m tests.pictures              runs these tests, then refreshes docs/pictures
    python -m tests.pictures --from DIR   takes pictures that a run has left there

`make test` keeps all pictures of its run in build/screenshots; the few that docs show are made
smaller (256 colours, some 50 KiB) and go to docs/pictures, so that a repository can bear them. A
picture with a token or a path of this machine in it is refused, where it is text and that can be
told.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image, ImageChops

ROOT: Final = Path(__file__).parent.parent
ENVIRONMENT: Final = "WARRENER_SCREENSHOTS"
"""Names the folder that tests keep pictures in."""

MADE: Final = ROOT / "build" / "screenshots"
"""Where a run keeps them unless it is told otherwise; git ignores it."""

SHOWN: Final = ROOT / "docs" / "pictures"

LARGEST: Final = 150 * 1024
"""Bytes of a picture in the repository."""

COLOURS: Final = 256

FOOT: Final = 24
"""Pixels that are left below the last thing that is drawn."""

CHOSEN: Final[Mapping[str, str]] = {
    "page-map.png": "map-wide-light.png",
    "page-planner.png": "planner-what-if.png",
    "page-nodes-dark.png": "nodes-wide-dark.png",
    "page-queues.png": "queues-wide-light.png",
    "page-node-killed.png": "node-killed-map.png",
    "top-nodes.svg": "top-nodes-80x24.svg",
    "top-plan.svg": "top-plan-80x24.svg",
    "top-queues-wide.svg": "top-queues-120x40.svg",
}
"""What docs show, and which of the tests' pictures it is."""

TESTS: Final = (
    "tests/integration/test_page.py",
    "tests/integration/test_plan.py::test_what_a_run_measures",
    "tests/integration/test_plan.py::test_top_shows_a_real_cluster",
)
"""They make all of them. The second one measures the costs that the last one shows the plan by."""

_FROM_ELSEWHERE: Final = re.compile(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", re.DOTALL)
_TOKEN: Final = re.compile(r"token=|Bearer |[A-Za-z0-9_-]{40,}")
_PATH: Final = re.compile(r"(?<![\w/])/(?:tmp|home|root|work|var|Users)/")


class CannotTake(Exception):
    """Why a picture isn't fit for the docs."""


def kept_in() -> Path:
    """The folder of this run's pictures."""
    return Path(os.environ.get(ENVIRONMENT) or MADE)


def begin(folder: Path) -> None:
    """A new run begins: those of the last one would be taken for its own."""
    for picture in pictures_in(folder):
        picture.unlink()


def pictures_in(folder: Path) -> list[Path]:
    """In the order of their names."""
    return sorted(one for one in folder.glob("*") if one.suffix in (".png", ".svg"))


def said(folder: Path) -> str:
    """A line on what a run has kept; empty if that is nothing."""
    number = len(pictures_in(folder))
    return f"screenshots of page and top: {folder} ({number})" if number else ""


# -- what docs show


def take(made: Path, shown: Path, chosen: Mapping[str, str] = CHOSEN) -> list[Path]:
    """Makes the docs' pictures of a run's; all or nothing. CannotTake."""
    missing = [source for source in chosen.values() if not (made / source).is_file()]
    if missing:
        raise CannotTake(f"{made} has no {', '.join(missing)}: did the tests that make them run?")
    found = {name: fit(made / source) for name, source in chosen.items()}
    shown.mkdir(parents=True, exist_ok=True)
    for name, content in found.items():
        (shown / name).write_bytes(content)
    return [shown / name for name in found]


def fit(picture: Path) -> bytes:
    """A picture as it goes to the docs. CannotTake."""
    if picture.suffix == ".svg":
        content = drawing(picture.read_text(), picture.name).encode()
    else:
        content = smaller(picture)
    if len(content) > LARGEST:
        raise CannotTake(f"{picture.name} has {len(content):,} bytes; {LARGEST:,} are the most")
    return content


def smaller(picture: Path) -> bytes:
    """The same in 256 colours, without the empty part at its foot."""
    with Image.open(picture) as image:
        whole = image.convert("RGB")
    blank = Image.new("RGB", whole.size, whole.getpixel((0, whole.height - 1)))
    drawn = ImageChops.difference(whole, blank).getbbox()
    if drawn is not None:
        whole = whole.crop((0, 0, whole.width, min(whole.height, drawn[3] + FOOT)))
    flat = whole.quantize(COLOURS, dither=Image.Dither.NONE)
    out = BytesIO()
    flat.save(out, "PNG", optimize=True)
    return out.getvalue()


def drawing(text: str, name: str) -> str:
    """An SVG that asks nobody for a font. CannotTake if it tells what is nobody's business."""
    text = _FROM_ELSEWHERE.sub("", text)
    words = re.sub(r"<[^>]*>|<style>.*?</style>", " ", text, flags=re.DOTALL)
    for pattern, what in ((_TOKEN, "a token"), (_PATH, "a path of this machine")):
        if found := pattern.search(words):
            raise CannotTake(f"{name} shows {what}: {found.group()[:12]}...")
    if "http://" in text.replace("http://www.w3.org/", "") or "https://" in text:
        raise CannotTake(f"{name} asks for something on the internet")
    return text


def main(arguments: Iterable[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures")
    parser.add_argument("--from", dest="source", type=Path, metavar="DIR", help="made already")
    source = parser.parse_args(arguments).source
    made = source if source is not None else kept_in()
    if source is None:
        begin(made)
        environment = {**os.environ, ENVIRONMENT: str(made)}
        command = [sys.executable, "-m", "pytest", *TESTS]
        if code := subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            return code
    try:
        taken = take(made, SHOWN)
    except CannotTake as error:
        print(f"pictures: {error}", file=sys.stderr)
        return 1
    for picture in taken:
        print(f"{picture.relative_to(ROOT)}  {picture.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
