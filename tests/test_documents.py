"""The pages that people read first: short, and leading somewhere."""

import re
from pathlib import Path

import pytest
from test_architecture import MAY_IMPORT

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "examples").rglob("README.md"))]


def test_the_front_door_is_of_150_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for target in re.findall(r'(?:\]\(|src=")([^)"#]+)', page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_tree_for_contributors_has_every_folder_and_what_it_may_import():
    table = (ROOT / "CONTRIBUTING.md").read_text()
    rows = [row.split("|") for row in re.findall(r"^\| `.*$", table, flags=re.MULTILINE)]
    named = {folder: row[3] for row in rows for folder in re.findall(r"(\w+)/`", row[1])}
    assert set(named) == set(MAY_IMPORT)
    wings = {"curvature", "paths", "symmetry", "descent", "certificates"}
    for folder in set(named) - {"cli"}:
        expected = set(re.findall(r"`(\w+)`", named[folder])) | (
            wings if "the wings" in named[folder] else set()
        )
        assert expected == MAY_IMPORT[folder], folder
