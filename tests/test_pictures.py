"""The pictures the README shows are there, and small."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_pictures_of_the_readme():
    names = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert names
    for name in names:
        assert 10_000 < (ROOT / name).stat().st_size < 400_000, name
