"""The documentation builds, its checks find faults, and a browser shows it without errors and without a network."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
)


def build(folder, config):
    """Build the site of a configuration file into a folder."""
    for package in ("material", "mkdocs", "mkdocstrings"):
        pytest.importorskip(package, reason=f"the documentation needs the package {package} (make docs)")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--config-file", config, "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )


def test_a_broken_link_anchor_or_reference_and_an_unlisted_page_fail(tmp_path):
    for path in ROOT.iterdir():
        if path.name not in ("docs", "mkdocs.yml", "site") and not path.name.startswith("."):
            (tmp_path / path.name).symlink_to(path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "docs" / "unlisted.md").write_text("# Unlisted\n")
    with (tmp_path / "docs" / "deprecations.md").open("a") as page:
        page.write("\n[a](missing.md) [b](versions.md#missing) [c][keras_cnns.missing] [d](../missing.py)\n")
    done = build(tmp_path / "site", tmp_path / "mkdocs.yml")
    assert done.returncode != 0 and "in strict mode" in done.stdout + done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    for fault in ("'missing.md'", "anchor '#missing'", "'keras_cnns.missing'", "'../missing.py'"):
        assert any(fault in line for line in warnings), (fault, done.stderr)
    assert any('not included in the "nav"' in line for line in warnings) and "- unlisted.md\n" in done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The address of the built site, served on this machine."""
    folder = tmp_path_factory.mktemp("site")
    done = build(folder, ROOT / "mkdocs.yml")
    assert done.returncode == 0, done.stderr
    handler = functools.partial(QuietHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serve files without a line for each."""

    def log_message(self, *_):
        """Print nothing."""


@pytest.fixture(scope="module")
def browser(site, tmp_path_factory):
    """Chromium, with a fresh profile."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="this test needs the package selenium")
    program, driver = next(filter(None, map(shutil.which, CHROMIUM)), None), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("this test needs the programs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1280,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chromium = webdriver.Chrome(options, webdriver.ChromeService(driver))
    chromium.set_page_load_timeout(60)
    yield chromium
    chromium.quit()


def test_every_page_of_the_navigation_opens_without_errors_and_without_a_network(site, browser):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(site)
    pages = browser.execute_script("return [...document.querySelectorAll('.md-nav--primary a')].map(a => a.href)")
    pages = sorted({page.partition("#")[0] for page in pages})
    assert len(pages) > 40 and all(page.startswith(site) for page in pages)
    for page in pages:
        browser.get(page)
        WebDriverWait(browser, 60).until(
            lambda chromium: (
                chromium.execute_script("return document.readyState") == "complete"
                and chromium.find_elements("css selector", "article h1")
            ),
            page,
        )
        loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        assert loaded and all(address.startswith(site) for address in loaded), page
        broken = "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        assert browser.execute_script(broken) == [], page
        wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.execute_script(wider) <= 0, f"{page} scrolls sideways"
        assert browser.get_log("browser") == [], page


@pytest.mark.parametrize("word", ["occlusion", "receptive_field", "integer-only"])
def test_search_finds_words(site, browser, word):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(site)
    browser.find_element("css selector", "input.md-search__input").send_keys(word)
    results = "a.md-search-result__link"
    WebDriverWait(browser, 30).until(lambda chromium: chromium.find_elements("css selector", results))
    texts = [link.text.lower() for link in browser.find_elements("css selector", results)]
    assert any(part in text for text in texts for part in word.split("-")), texts
    assert browser.get_log("browser") == []
