"""Links between the pages lead somewhere, down to the heading, and pictures are there and small."""

import re

import pytest
import yaml
from documentation import DOCS, PAGES, ROOT, name_of

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")


def prose(page):
    """The page without what stands in blocks and in code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M)
    return re.sub(r"``.*?``|`[^`\n]*`(?!\])", "", text)


def anchors(page):
    """What a heading is called in a link, as GitHub and MkDocs name it."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M)
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        yield re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


def problem(page, link):
    """What is wrong with a link of a page, or None; those to other sites are not looked at."""
    if re.match(r"[a-z]+:", link):
        return None
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_file():
        return f"{link}: no such file"
    if anchor and anchor not in anchors(target):
        return f"{link}: no such heading"
    if DOCS in page.parents and DOCS not in target.parents:
        return f"{link}: leaves docs/, and so the built site"
    return None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    assert not [text for link in LINK.findall(prose(page)) if (text := problem(page, link))]


def test_a_link_that_leads_nowhere_is_seen():
    page = DOCS / "index.md"
    assert problem(page, "models.md#thresholds") is None
    assert problem(page, "https://arxiv.org/abs/2112.05646") is None
    for link in ("nothing.md", "models.md#nothing", "#nothing", "../README.md"):
        assert link in problem(page, link)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pictures_are_there_and_small(page):
    for link in PICTURE.findall(prose(page)):
        assert 1_000 < (page.parent / link).stat().st_size < 400_000, link


def test_every_page_is_in_the_site_and_once():
    def leaves(tree):
        for entry in tree:
            if isinstance(entry, str):
                yield entry
            else:
                for below in entry.values():
                    yield from [below] if isinstance(below, str) else leaves(below)

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(leaves(nav)) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
