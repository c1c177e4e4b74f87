"""The HTML page in a real browser: drawn, quiet, and no wider than a telephone."""

import re
import shutil
import subprocess
from html import escape

import numpy as np
import pytest
from PIL import Image

from mfrkit.console import Console
from mfrkit.evaluation.evaluate import evaluate
from mfrkit.evaluation.options import EvalOptions

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
MEASURE = """<script>onload = () => { document.title = Array.from(frames).map(frame => {
const root = frame.document.documentElement, pictures = [...frame.document.images];
return [root.clientWidth, root.scrollWidth, pictures.length,
pictures.filter(i => i.naturalWidth > 0).length,
Math.round([...frame.document.querySelectorAll("th")].find(
  each => each.textContent.startsWith("EER")).getBoundingClientRect().right),
Math.max(...[...frame.document.querySelectorAll(".wide")].map(
  each => each.scrollWidth - each.clientWidth))].join(" "); }).join("; "); }</script>"""
TELEPHONE, LAPTOP = 390, 1280


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report on 60 made-up scores, two systems, with a picture for every key."""
    folder = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(0)
    (folder / "crops").mkdir()
    lines = ["a,b,same,fold,a system with a rather long name,another"]
    for n in range(60):
        scores = random.normal(0.5 if n % 2 else 0.1, 0.15, 2).clip(-1, 1)
        lines.append(f"left{n},right{n},{n % 2},{n % 5},{scores[0]},{scores[1]}")
        for side in ("left", "right"):
            pixels = random.integers(0, 255, (7, 7, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((112, 112)).save(folder / "crops" / f"{side}{n}.jpg")
    (folder / "s.csv").write_text("\n".join(lines))
    options = EvalOptions(
        None,
        embeddings=(),
        scores_in=(folder / "s.csv",),
        report=folder / "r.html",
        crops=(str(folder / "crops"),),
        json=True,
    )
    quiet = Console(-1)
    quiet.data = lambda _: None
    evaluate(options, quiet)
    return folder / "r.html"


def browse(page, *options):
    profile = page.parent / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    return subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr",
            "--hide-scrollbars", f"--user-data-dir={profile}", *options, page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip


def test_the_page_is_drawn_and_the_console_stays_empty(page):
    shot = page.with_name("shot.png")
    run = browse(page, f"--screenshot={shot}", "--window-size=1200,1800")
    assert "CONSOLE" not in run.stderr, run.stderr
    with Image.open(shot) as picture:
        assert picture.size == (1200, 1800)
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    inked = (np.abs(pixels - pixels[0, 0]) > 40).any(axis=2)
    halves = [inked[top : top + 300].mean() for top in range(0, 1500, 300)]
    assert min(halves) > 0.005, halves  # every stretch of the page holds something
    blue = np.abs(pixels - [0x00, 0x72, 0xB2]).sum(axis=2) < 12
    orange = np.abs(pixels - [0xD5, 0x5E, 0x00]).sum(axis=2) < 12
    assert blue.sum() > 200
    assert orange.sum() > 200


@pytest.fixture(scope="module")
def measured(page):
    """What `MEASURE` finds in a window of each width."""
    frame = page.with_name("frame.html")
    content = escape(page.read_text(encoding="utf-8"))
    windows = "".join(
        f'<iframe srcdoc="{content}" width="{width}" height="900" style="border:0"></iframe>'
        for width in (TELEPHONE, LAPTOP)
    )
    frame.write_text(f'<meta charset="utf-8">{MEASURE}{windows}')
    run = browse(frame, "--dump-dom")
    title = re.search(r"<title>(.*?)</title>", run.stdout)
    assert title, run.stdout[:500] + run.stderr
    found = [list(map(int, each.split())) for each in title[1].split("; ")]
    return dict(zip((TELEPHONE, LAPTOP), found, strict=True))


def test_a_telephone_shows_the_eer_without_sideways_scrolling_and_all_pictures_load(measured):
    seen, wide, pictures, loaded, eer, _ = measured[TELEPHONE]
    assert (seen, wide) == (TELEPHONE, TELEPHONE)
    assert pictures == loaded == 48  # 2 systems, 2 kinds, 6 pairs, 2 sides
    assert eer < TELEPHONE


def test_no_table_scrolls_sideways_on_a_laptop(measured):
    seen, wide, *_, hidden = measured[LAPTOP]
    assert (seen, wide, hidden) == (LAPTOP, LAPTOP, 0)
