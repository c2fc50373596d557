"""The report in a real browser: links, pictures, sorting, folded parts, a phone's width, a silent console.

SEARCHTUNE_REPORT=results/demo/report.html checks that file in place of one made of made-up tables;
SEARCHTUNE_SCREENSHOTS=folder keeps pictures of it there.
"""

import os
from pathlib import Path

import pytest
from browser import Browser, browser_path
from report_project import make_results, report_job

from searchtune.reporting import html

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not browser_path(), reason="no Chromium on PATH")]
DESKTOP, PHONE = 1280, 375
COLUMN = """(table, column) => Array.from(table.tBodies[0].rows, row => {
  const cell = row.cells[column];
  return cell ? (cell.dataset.sort || cell.textContent.trim()) : "";
})"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Return the report that is looked at."""
    if given := os.environ.get("SEARCHTUNE_REPORT"):
        return Path(given).resolve()
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_results()
        job = report_job()
        html.run(job)
    return folder / job.outputs["report"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Return a browser; it ends with the last test."""
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def page(browser, report):
    """Return the browser with the report opened as on a desk, and its list of problems empty."""
    browser.problems.clear()
    browser.open(report, DESKTOP)
    return browser


def keep(browser: Browser, name: str) -> None:
    """Write a screenshot if the caller of the tests wants them."""
    if folder := os.environ.get("SEARCHTUNE_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.screenshot(Path(folder) / f"{name}.png")


def test_every_link_leads_to_something_that_can_be_seen(page):
    links = page.run("Array.from(document.links, link => link.getAttribute('href'))")
    assert links and all(link.startswith("#") for link in links)
    for link in sorted(set(links)):
        page.run(f"location.hash = {link!r}; new Promise(done => setTimeout(done, 20))")
        height = page.run("document.getElementById(location.hash.slice(1))?.getBoundingClientRect().height ?? -1")
        assert height > 0, link
    keep(page, "last_link")


def test_a_link_opens_the_folded_part_that_it_leads_to(page):
    folded = page.run("Array.from(document.querySelectorAll('details[id]'), part => part.id)")
    assert folded
    for name in folded:
        page.run(f"location.hash = {name!r}; new Promise(done => setTimeout(done, 20))")
        assert page.run(f"document.getElementById({name!r}).open"), name


def test_every_picture_is_drawn_and_described(page):
    pictures = page.run("Array.from(document.images, i => [i.complete && i.naturalWidth > 0, i.alt])")
    assert pictures and all(drawn and alt for drawn, alt in pictures)


def test_every_table_sorts_both_ways_by_every_heading(page):
    """Numbers by value, other cells as text, empty ones last, and no row is lost."""
    page.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    wrong = page.run(
        f"""(() => {{
          const column = {COLUMN}, wrong = [];
          const number = text => /^[-−+]?[\\d.]/.test(text) ? parseFloat(text.replace("−", "-")) : NaN;
          document.querySelectorAll("table.sortable").forEach((table, t) => {{
            const before = table.tBodies[0].textContent.length;
            Array.from(table.tHead.rows[0].cells).forEach((head, c) => {{
              if (head.classList.contains("fixed")) {{ return; }}
              for (const way of ["ascending", "descending"]) {{
                head.click();
                if (head.getAttribute("aria-sort") !== way) {{ wrong.push([t, c, "aria-sort"]); }}
                const cells = column(table, c), full = cells.filter(text => text);
                if (cells.slice(full.length).some(text => text)) {{ wrong.push([t, c, "empty cells"]); }}
                const values = full.map(number);
                if (values.length && values.every(value => !isNaN(value))) {{
                  const sorted = values.slice().sort((a, b) => way === "ascending" ? a - b : b - a);
                  if (values.some((value, i) => value !== sorted[i])) {{ wrong.push([t, c, way]); }}
                }}
              }}
            }});
            if (table.tBodies[0].textContent.length !== before) {{ wrong.push([t, "rows"]); }}
          }});
          return wrong;
        }})()"""
    )
    assert page.run("document.querySelectorAll('table.sortable').length") > 0 and wrong == []


def test_a_table_sorts_by_the_keyboard(page):
    page.run("document.querySelector('table.sortable th[aria-sort]').focus()")
    for way in ("ascending", "descending"):
        page.press("Enter")
        assert page.run("document.activeElement.getAttribute('aria-sort')") == way


def test_the_page_fits_a_phone(browser, report):
    """Wide tables scroll within their own frame, never the page; text is large enough to be read."""
    browser.problems.clear()
    browser.open(report, PHONE, 700)
    browser.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert browser.run("document.documentElement.scrollWidth") <= PHONE
    wide = browser.run(
        """Array.from(document.querySelectorAll("table, img, pre, figure")).filter(part => {
          let frame = part.parentElement;
          while (frame && !["auto", "scroll"].includes(getComputedStyle(frame).overflowX)) { frame = frame.parentElement; }
          return !frame && part.getBoundingClientRect().right > innerWidth + 1 &&
            !["auto", "scroll"].includes(getComputedStyle(part).overflowX);
        }).map(part => part.outerHTML.slice(0, 80))"""
    )
    assert wide == []
    assert browser.run("parseFloat(getComputedStyle(document.body).fontSize)") >= 14
    keep(browser, "phone")


def test_the_console_stays_silent_and_nothing_is_fetched(page):
    page.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    page.run("document.querySelectorAll('th[aria-sort]').forEach(head => head.click())")
    keep(page, "desktop")
    assert page.problems == []
    assert page.run("performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length") == 0
