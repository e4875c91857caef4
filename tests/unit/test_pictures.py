"""The pictures in the docs: how they are chosen, made smaller, and refused."""

import re
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from tests.pictures import (
    CHOSEN,
    ENVIRONMENT,
    LARGEST,
    MADE,
    ROOT,
    SHOWN,
    CannotTake,
    begin,
    drawing,
    fit,
    kept_in,
    pictures_in,
    said,
    take,
)

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg"><!-- https://maker.example --><style>@font-face {\n'
    ' font-family: "F";\n src: '
    'url("https://fonts.example/F.woff2");\n}\n.a { fill: red }</style><text>n1 {}</text></svg>'
)


def picture(path: Path, noise: bool = False) -> Path:
    size = (640, 480)
    image = Image.new("RGB", size, "teal")
    if noise:  # three independent channels, so that no palette holds them
        image = Image.merge("RGB", [Image.effect_noise(size, 90) for _ in range(3)])
    image.save(path)
    return path


def test_a_run_keeps_them_in_a_fixed_folder_that_git_ignores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert kept_in() == MADE
    assert "/build/" in (ROOT / ".gitignore").read_text().splitlines()
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    assert kept_in() == tmp_path


def test_a_new_run_begins_without_those_of_the_last_one(tmp_path: Path) -> None:
    picture(tmp_path / "map-wide-light.png")
    (tmp_path / "top.svg").write_text(SVG)
    (tmp_path / "notes.txt").write_text("somebody's own")
    assert [one.name for one in pictures_in(tmp_path)] == ["map-wide-light.png", "top.svg"]
    assert said(tmp_path) == f"screenshots of page and top: {tmp_path} (2)"
    begin(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["notes.txt"]
    assert said(tmp_path) == ""
    begin(tmp_path / "nowhere")


def test_they_are_taken_all_or_none(tmp_path: Path) -> None:
    made, shown = tmp_path / "made", tmp_path / "shown"
    made.mkdir()
    picture(made / "one.png")
    chosen = {"a.png": "one.png", "b.svg": "two.svg"}
    with pytest.raises(CannotTake, match=r"has no two\.svg: did the tests that make them run"):
        take(made, shown, chosen)
    assert not shown.exists()
    (made / "two.svg").write_text(SVG)
    assert [one.name for one in take(made, shown, chosen)] == ["a.png", "b.svg"]
    with Image.open(shown / "a.png") as image:
        assert (image.size, image.mode) == ((640, 480), "P")
        assert image.convert("RGB").getpixel((5, 5)) == (0, 128, 128)


def test_the_empty_foot_of_a_page_is_cut_off(tmp_path: Path) -> None:
    image = Image.new("RGB", (640, 480), "white")
    image.paste("black", (10, 10, 50, 100))
    image.save(tmp_path / "page.png")
    with Image.open(BytesIO(fit(tmp_path / "page.png"))) as found:
        assert found.size == (640, 124)


def test_a_picture_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotTake, match=rf"noise\.png has [\d,]+ bytes; {LARGEST:,}"):
        fit(picture(tmp_path / "noise.png", noise=True))


def test_a_drawing_asks_nobody_for_a_font() -> None:
    text = drawing(SVG, "top.svg")
    assert "fonts.example" not in text
    assert ".a { fill: red }" in text
    with pytest.raises(CannotTake, match="asks for something on the internet"):
        drawing(SVG.replace("<text>", '<image href="https://x.example/y.png"/><text>'), "top.svg")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://127.0.0.1:1/#token=abc", "a token"),
        ("q" * 43, "a token"),
        ("--state /tmp/x/state", "a path of this machine"),
        ("/home/somebody/.warrener", "a path of this machine"),
    ],
)
def test_a_drawing_with_what_is_nobodys_business_is_refused(text: str, said: str) -> None:
    with pytest.raises(CannotTake, match=said):
        drawing(SVG.replace("{}", text), "top.svg")


def test_what_a_cluster_shows_is_no_secret() -> None:
    assert drawing(SVG.replace("{}", "queue orders in / of shop/billing, 12/s"), "top.svg")


def test_the_docs_show_pictures_that_are_there_and_the_repository_can_bear() -> None:
    there = {one.name for one in SHOWN.iterdir()}
    for page in sorted((ROOT / "docs").glob("*.md")):
        for name in re.findall(r"\]\(pictures/([^)]+)\)", page.read_text()):
            assert name in there, f"{page.name} shows {name}"
    assert there <= set(CHOSEN)
    assert all(one.stat().st_size <= LARGEST for one in SHOWN.iterdir())
