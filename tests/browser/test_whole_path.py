"""The whole path in a browser: a real run on a real database, the printed link, our page, Optuna's dashboard."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage, Watch
from tests.support.postgres import eventually
from tests.support.processes import Place
from tests.support.studies import study_text

TRIALS = 6


@pytest.fixture
def place(tmp_path: Path):
    with Place(tmp_path / "var") as place:
        yield place


def test_a_person_logs_in_by_the_printed_link_and_sees_the_front(
    place: Place, tmp_path: Path, browser_page: OpenPage, watch: Watch
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(study_text(name="path", budget={"trials": TRIALS}, constraints={"floor": {"accuracy": 0.0}}))
    assert place.run("run", str(file), "--workers", "2", "--port", "0").process.returncode == 0
    front = json.loads(place.run("pareto", "path", "--json").stdout())
    served = place.start("serve", "--port", "0")
    eventually(lambda: "log in with" in served.stdout(), "the server prints its link", 60.0)
    link = re.search(r"http://\S+/login\?key=\S+", served.stdout())
    assert link is not None

    page = browser_page(link.group())
    expect(page).to_have_url(re.compile(r"/ui$"))
    page.get_by_role("link", name="path").first.click()
    expect(page).to_have_url(re.compile(r"/ui/s/path"))
    expect(page.locator("#h-front")).to_be_visible()
    for point in front["front"]:
        expect(page.get_by_text(f"#{point['trial']}", exact=True).first).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()

    watch.allowed.append("Content Security Policy")  # the dashboard is Optuna's, with its own policy
    page.goto(place.url() + "/dashboard", wait_until="domcontentloaded")
    expect(page.get_by_text("path").first).to_be_visible(timeout=30_000)


def test_a_stranger_sees_the_login_page_only(place: Place, browser_page: OpenPage, watch: Watch) -> None:
    place.start("serve", "--port", "0")
    watch.allowed.append("401")

    page = browser_page(place.url() + "/ui")
    expect(page).to_have_url(re.compile(r"/login\?next=%2Fui$"))
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("not a token of this server")

    page.get_by_label("Token").fill(place.token())
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile(r"/ui$"))
