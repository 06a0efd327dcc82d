"""The site that Sphinx has built (``sphinx-build -b html notebooks site``): complete, and whole without a network.

TINYAE_SITE=site pytest tests/test_site.py
"""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

SITE = os.environ.get("TINYAE_SITE")
pytestmark = pytest.mark.skipif(not SITE, reason="TINYAE_SITE names no site")
ROOT = Path(__file__).parent.parent
ONE_NOTEBOOK, ALL_NOTEBOOKS = 120, 600  # seconds, on two cores


class Page(HTMLParser):
    """What a page loads, and where its links lead."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.links = [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "a":
            self.links.append(given.get("href") or "")
        elif tag == "link":
            if given.get("rel") in ("stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch"):
                self.loads.append(given.get("href") or "")
        else:
            self.loads += [given[name] for name in ("src", "href", "poster", "data") if given.get(name)]
            self.loads += re.findall(r"url\(([^)]*)\)", given.get("style") or "")


def pages():
    return sorted(Path(SITE).rglob("*.html"))


def from_network(address):
    return re.match(r"(https?:)?//", address.strip("'\" "))


def test_it_has_the_readme_the_course_and_the_source_beside_the_maths():
    site = Path(SITE)
    assert "What else it trains" in (site / "index.html").read_text()
    notebooks = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
    for name in notebooks:
        assert (site / f"{name}.html").is_file() and f"{name}.html" in (site / "index.html").read_text()
    assert (site / "read" / "operations" / "affine.html").is_file()
    assert "read/index.html" in (site / "source.html").read_text()


def test_no_page_loads_anything_from_a_network():
    assert len(pages()) > 100
    for path in pages():
        for address in Page(path).loads:
            assert not from_network(address), f"{path}: {address}"
            if not re.match(r"[a-z]+:|#", address):
                file = unquote(re.split(r"[?#]", address)[0])
                assert not file or (path.parent / file).is_file(), f"{path}: {address}"


def test_no_style_sheet_or_script_of_the_site_asks_for_an_address():
    for path in [*Path(SITE).rglob("*.css"), *Path(SITE).rglob("*.js")]:
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not re.search(r"@import\s+[^;]*//|url\(\s*['\"]?(https?:)?//", text), path
        assert not re.search(r"cdn\.|googleapis|unpkg|cdnjs", text), path


def test_links_within_the_site_lead_somewhere():
    for path in pages():
        for link in Page(path).links:
            if re.match(r"[a-z]+:|#|//", link) or not link:
                continue
            file = unquote(re.split(r"[?#]", link)[0])
            assert (path.parent / file).exists(), f"{path}: {link}"


def test_every_notebook_ran_in_time():
    seconds = json.loads((Path(SITE) / "seconds.json").read_text())
    assert sorted(seconds) == sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
    assert max(seconds.values(), default=0) < ONE_NOTEBOOK, seconds
    assert sum(seconds.values()) < ALL_NOTEBOOKS, seconds
