"""The study page in a real Chromium, over the real routes and synthetic trials."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from service.routes import pages
from tests.browser.conftest import OpenPage, Watch, pages_app, serving
from tests.support.synthetic import BASELINE, FakeStudies, SyntheticStudy

STAR = {"accuracy": 0.97, "latency_ms": 0.9, "fps_per_watt": 900.0}


@pytest.fixture
def study() -> SyntheticStudy:
    study = SyntheticStudy("svhn", 200, seed=3)
    study.lease("gpu-a/0", 17, accuracy=0.841)
    study.lease("gpu-a/1", 3, attempt=2)
    return study


@pytest.fixture
def fake(study: SyntheticStudy) -> FakeStudies:
    return FakeStudies(study)


@pytest.fixture
def site(fake: FakeStudies) -> Iterator[str]:
    with serving(pages_app(fake)) as url:
        yield url


def drawn(page: Page) -> Page:
    """The page once its Pareto plot shows a ring around the selected point."""
    expect(page.locator("#plot .scatterlayer .trace").last).to_be_visible()
    expect(page.locator("#l-updated")).to_contain_text("live")
    return page


def ticks(page: Page, axis: str) -> list[str]:
    return page.locator(f"#plot .{axis}tick text").all_text_contents()


def rows(page: Page) -> list[int]:
    return [int(text.strip()[1:]) for text in page.locator("#table tbody th").all_text_contents()]


def words_of(page: Page) -> str:
    """Everything the table and the card say, without white space."""
    texts = [
        page.locator(part).text_content() or "" for part in ("#table", "#c-values", "#c-params", "#c-extra", ".kpis")
    ]
    return re.sub(r"\s|started.*", "", "".join(texts))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_everything_is_drawn_without_a_complaint(browser_page: OpenPage, site: str, width: int, theme: str) -> None:
    page = drawn(browser_page(f"{site}/ui/s/svhn", width=width, theme=theme))
    expect(page.locator("html")).to_have_attribute("data-theme", theme)
    page.locator("#hv-card").scroll_into_view_if_needed()
    expect(page.locator("#hv .scatterlayer .trace")).to_be_visible()
    expect(page.locator("#layers .bar").first).to_be_visible()
    for pair in range(3):
        page.locator(f"[data-pair='{pair}']").nth(-1).click()
        expect(page.locator("#plot .xtitle")).to_contain_text(["latency", "frames", "latency"][pair])
    scroll, inner = page.locator("html").evaluate("node => [node.scrollWidth, innerWidth]")
    assert scroll <= inner  # the page itself never scrolls sideways


def test_hover_and_save_work_under_the_policy(browser_page: OpenPage, site: str) -> None:
    page = drawn(browser_page(f"{site}/ui/s/svhn"))
    ring = page.locator("#plot .scatterlayer .trace").last.locator(".point").bounding_box()
    assert ring
    page.mouse.move(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
    expect(page.locator("#plot .hoverlayer .hovertext")).to_contain_text("FPS/W")
    with page.expect_download() as download:
        page.locator("#plot .modebar-btn[data-title*='Download']").click()
    assert download.value.suggested_filename == "svhn-front.png"


def test_the_policy_breaks_when_plotly_changes_its_styles(
    browser_page: OpenPage, watch: Watch, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "CSP", re.sub(r" 'sha256-ji27[^']*'", "", pages.CSP))
    watch.allowed.append("inline style")
    complaints: list[str] = []
    page = browser_page("about:blank")
    watch.origin = site
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"{site}/ui/s/svhn")
    drawn(page)
    assert any("sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o=" in text for text in complaints)


def test_words_are_the_same_before_and_after_the_scripts(browser: Browser, browser_page: OpenPage, site: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(f"{site}/ui/s/svhn")
    before = words_of(plain)
    context.close()
    page = drawn(browser_page(f"{site}/ui/s/svhn"))
    assert "#86" in before
    assert words_of(page) == before


def test_a_click_in_the_table_selects_everywhere(browser_page: OpenPage, site: str) -> None:
    page = drawn(browser_page(f"{site}/ui/s/svhn"))
    chosen = rows(page)[2]
    page.locator("#table tbody tr").nth(2).locator("td").first.click()
    expect(page.locator("#c-number")).to_have_text(f"#{chosen}")
    expect(page.locator("#table tr[aria-current='true']")).to_have_attribute("data-trial", str(chosen))
    expect(page.locator("#plot .annotation-text").last).to_contain_text(f"#{chosen}")
    expect(page.locator("#say")).to_contain_text(f"Trial {chosen}, on the front")
    expect(page).to_have_url(re.compile(f"sel={chosen}"))
    page.reload()
    expect(page.locator("#c-number")).to_have_text(f"#{chosen}")


def test_a_click_in_the_plot_selects(browser_page: OpenPage, site: str, study: SyntheticStudy) -> None:
    page = drawn(browser_page(f"{site}/ui/s/svhn?sel=0"))
    before = page.locator("#c-number").text_content()
    # shading, step line, cloud, front of this pair
    point = page.locator("#plot .scatterlayer .trace").nth(3).locator(".point").nth(2).bounding_box()
    assert point
    page.mouse.click(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    expect(page.locator("#c-number")).not_to_have_text(before or "")
    expect(page.locator("#c-tag")).to_have_text("on the front")


def test_a_dominated_trial_can_be_looked_at(browser_page: OpenPage, site: str) -> None:
    page = drawn(browser_page(f"{site}/ui/s/svhn?sel=0"))
    expect(page.locator("#c-tag")).to_have_text("dominated")
    expect(page.locator("#c-values")).to_contain_text("±0")


def test_the_keyboard_walks_the_front_and_changes_views(browser_page: OpenPage, site: str, fake: FakeStudies) -> None:
    page = drawn(browser_page(f"{site}/ui/s/svhn"))
    front = sorted(fake.front("svhn").points, key=lambda point: point["values"]["latency_ms"])
    page.locator("#plotbox").focus()
    page.keyboard.press("Home")
    expect(page.locator("#c-number")).to_have_text(f"#{front[0]['trial']}")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#c-number")).to_have_text(f"#{front[1]['trial']}")
    page.keyboard.press("End")
    expect(page.locator("#c-number")).to_have_text(f"#{front[-1]['trial']}")
    page.keyboard.press("2")
    expect(page.locator("#pairs [aria-checked='true']")).to_have_text("Accuracy × FPS/W")
    expect(page).to_have_url(re.compile("pair=1"))
    page.locator("#pairs [aria-checked='true']").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#pairs [data-pair='2']")).to_be_focused()
    page.locator("#table .pick[tabindex='0']").focus()
    page.keyboard.press("Home")
    expect(page.locator("#table .pick").first).to_be_focused()
    expect(page.locator("#table tr").nth(1)).to_have_attribute("aria-current", "true")


def test_sorting_keeps_the_selection_and_is_in_the_address(
    browser_page: OpenPage, site: str, fake: FakeStudies
) -> None:
    page = drawn(browser_page(f"{site}/ui/s/svhn"))
    chosen = page.locator("#c-number").text_content() or ""
    page.locator("[data-sort='latency_ms']").nth(-1).click()
    latencies = {point["trial"]: point["values"]["latency_ms"] for point in fake.front("svhn").points}
    assert rows(page) == sorted(latencies, key=latencies.__getitem__)
    expect(page.locator("#table th[aria-sort='ascending']")).to_contain_text("Latency")
    page.locator("#table [data-sort='latency_ms']").click()
    assert rows(page) == sorted(latencies, key=latencies.__getitem__, reverse=True)
    expect(page.locator("#table [data-sort='latency_ms']")).to_be_focused()
    expect(page.locator("#c-number")).to_have_text(chosen)
    expect(page).to_have_url(re.compile("sort=latency_ms&dir=desc"))


def test_layers_and_outliers_are_toggled(browser_page: OpenPage, site: str) -> None:
    page = drawn(browser_page(f"{site}/ui/s/svhn"))
    traces = page.locator("#plot .scatterlayer .trace")
    expect(page.locator("[data-layer='infeasible']")).to_have_attribute("aria-pressed", "false")
    count = traces.count()
    page.locator("[data-layer='infeasible']").click()
    expect(traces).to_have_count(count + 1)
    before = ticks(page, "x")
    expect(page.locator("#outside")).to_contain_text("outside")
    page.locator("#outside").click()
    expect(page.locator("#outside")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#outside")).to_contain_text("front's range only")
    assert ticks(page, "x") != before


@pytest.mark.parametrize("width", [1280, 390])
def test_the_accelerators_that_no_trial_reported_are_drawn_and_counted(
    browser_page: OpenPage, site: str, fake: FakeStudies, width: int
) -> None:
    fake.studies["both"] = SyntheticStudy("both", 60, seed=3, has_hardware_search=True)
    tried = [point for point in fake.hardware_front("both") or [] if not point["chosen"]]
    page = drawn(browser_page(f"{site}/ui/s/both", width=width))
    expect(page.locator("#others")).to_have_text(f"{len(tried)} other accelerators")
    expect(page.locator("#built")).to_contain_text("on cores 8 8 8 8")
    traces = page.locator("#plot .scatterlayer .trace")
    # shading, step line, cloud, dashed line, triangles
    expect(traces.nth(4).locator(".point")).to_have_count(len(tried))
    count = traces.count()
    page.locator("[data-layer='hardware']").click()
    expect(traces).to_have_count(count - 2)  # the triangles, and the dashed front with them
    page.locator("[data-layer='hardware']").click()
    expect(traces).to_have_count(count)


def test_an_accelerator_tells_its_cores_and_selects_its_trial(
    browser_page: OpenPage, site: str, fake: FakeStudies
) -> None:
    fake.studies["both"] = SyntheticStudy("both", 60, seed=3, has_hardware_search=True)
    page = drawn(browser_page(f"{site}/ui/s/both"))
    page.locator("[data-layer='cloud']").click()
    # shading, step line, dashed line, triangles
    triangle = page.locator("#plot .scatterlayer .trace").nth(3).locator(".point").first.bounding_box()
    assert triangle
    page.mouse.move(triangle["x"] + triangle["width"] / 2, triangle["y"] + triangle["height"] / 2)
    told = page.locator("#plot .hoverlayer .hovertext")
    expect(told).to_contain_text("on another accelerator")
    expect(told).to_contain_text(re.compile(r"cores 4 (8|32) 8 5"))
    number = re.search(r"#(\d+) on", told.text_content() or "")
    assert number
    page.mouse.click(triangle["x"] + triangle["width"] / 2, triangle["y"] + triangle["height"] / 2)
    expect(page.locator("#c-number")).to_have_text(f"#{number[1]}")


def test_a_study_with_one_accelerator_a_trial_has_no_others(browser_page: OpenPage, site: str) -> None:
    page = drawn(browser_page(f"{site}/ui/s/svhn"))
    expect(page.locator("#others")).to_have_count(0)
    expect(page.locator("[data-layer='hardware']")).to_have_count(0)


def test_a_live_update_comes_in_and_moves_nothing(browser_page: OpenPage, site: str, study: SyntheticStudy) -> None:
    page = drawn(browser_page(f"{site}/ui/s/svhn"))
    chosen = page.locator("#c-number").text_content() or ""
    zoom(page)
    seen, top = ticks(page, "x"), page.locator("html").evaluate("node => (scrollTo(0, 300), scrollY)")
    star = study.add({**STAR, "latency_ms": 5.0}, {**BASELINE, "beta": 0.5})
    study.log("resumed", "a word of hope")
    expect(page.locator(f"#table tr[data-trial='{star}']")).to_be_attached()
    expect(page.locator("#k-done")).to_have_text("201")
    expect(page.locator("#events li").first).to_contain_text("a word of hope")
    expect(page.locator("#c-number")).to_have_text(chosen)
    expect(page.locator("#unzoom")).to_be_visible()
    assert ticks(page, "x") == seen
    assert page.locator("html").evaluate("node => scrollY") == top
    page.locator("#unzoom").click()
    expect(page.locator("#unzoom")).to_be_hidden()
    assert ticks(page, "x") != seen


def zoom(page: Page) -> None:
    """Drag a box in the plot."""
    box = page.locator("#plot .nsewdrag").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + 200, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 420, box["y"] + 220, steps=4)
    page.mouse.up()
    expect(page.locator("#unzoom")).to_be_visible()


def test_the_first_point_appears_on_an_empty_page(browser_page: OpenPage, site: str, fake: FakeStudies) -> None:
    study = SyntheticStudy("young", 0)
    fake.studies["young"] = study
    page = browser_page(f"{site}/ui/s/young")
    expect(page.locator("#nothing-words")).to_contain_text("No trial is complete yet")
    expect(page.locator("#l-updated")).to_contain_text("live")
    study.add()
    expect(page.locator("#nothing")).to_be_hidden()
    expect(page.locator("#c-number")).to_have_text("#0")
    expect(page.locator("#plot .scatterlayer .trace").last).to_be_visible()
    expect(page.locator("#k-hv")).not_to_have_text("–")


def test_where_nothing_is_feasible_the_crosses_are_shown(browser_page: OpenPage, site: str, fake: FakeStudies) -> None:
    fake.studies["hard"] = SyntheticStudy("hard", 15, spoil="hazards")
    page = browser_page(f"{site}/ui/s/hard")
    expect(page.locator("[data-layer='infeasible']")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#nothing-words")).to_contain_text("“hazards”")
    expect(page.locator("#plot .scatterlayer .trace").first).to_be_visible()


def test_stop_and_resume(browser_page: OpenPage, site: str, study: SyntheticStudy) -> None:
    page = drawn(browser_page(f"{site}/ui/s/svhn"))
    page.locator("#stop").click()
    expect(page.locator("#state")).to_have_text("stopped")
    expect(page.locator("#reason")).to_contain_text("stopped on request")
    assert study.state == "stopped"
    page.locator("#resume").click()
    expect(page.locator("#state")).to_have_text("running")
    expect(page.locator("#stop")).to_be_visible()


def test_a_refusal_is_told_beside_the_button(
    browser_page: OpenPage, watch: Watch, site: str, fake: FakeStudies
) -> None:
    watch.allowed.append("409")
    fake.refusal = "study 'svhn' is complete; there is nothing to stop"
    page = drawn(browser_page(f"{site}/ui/s/svhn"))
    page.locator("#stop").click()
    expect(page.locator("#refused")).to_have_text(fake.refusal)
    expect(page.locator("#stop")).to_be_enabled()
    expect(page.locator("#state")).to_have_text("running")


def test_hostile_words_stay_words(browser_page: OpenPage, site: str, study: SyntheticStudy) -> None:
    bad = "<img src=x onerror=alert(1)>"
    page = drawn(browser_page(f"{site}/ui/s/svhn"))
    number = study.add(STAR, {**BASELINE, "surrogate": bad})
    study.log("failed", bad)
    study.lease(bad, 1)
    expect(page.locator(f"#table tr[data-trial='{number}']")).to_contain_text(bad)
    expect(page.locator("#events li").first).to_contain_text(bad)
    expect(page.locator("#running")).to_contain_text(bad)
    page.locator(f"#table tr[data-trial='{number}'] .pick").click()
    expect(page.locator("#c-params")).to_contain_text(bad)
    ring = page.locator("#plot .scatterlayer .trace").last.locator(".point").bounding_box()
    assert ring
    page.mouse.move(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
    expect(page.locator("#plot .hoverlayer .hovertext")).to_contain_text(bad)
    expect(page.locator("img")).to_have_count(0)


def test_a_lost_server_is_said_and_switches_the_buttons_off(
    browser_page: OpenPage, watch: Watch, fake: FakeStudies
) -> None:
    watch.allowed.append("Failed to load resource")
    with serving(pages_app(fake)) as site:
        page = drawn(browser_page(f"{site}/ui/s/svhn"))
    expect(page.locator("#lost")).to_contain_text("does not answer")
    expect(page.locator("#stop")).to_be_disabled()
    expect(page.locator("#table tbody tr").first).to_be_visible()


def test_the_theme_is_kept(browser_page: OpenPage, site: str) -> None:
    page = drawn(browser_page(f"{site}/ui/s/svhn"))
    page.locator("#theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_thousands_of_points_are_one_image(
    browser_page: OpenPage, site: str, fake: FakeStudies, monkeypatch: Any
) -> None:
    big = SyntheticStudy("big", 2400, seed=1)
    fake.studies["big"] = big
    page = drawn(browser_page(f"{site}/ui/s/big"))
    expect(page.locator("#plot .imagelayer image, #plot .layer-below image")).to_have_count(1)
    assert page.locator("#plot .scatterlayer .point").count() < 200
    zoom(page)
    expect(page.locator("#plot .layer-below image")).to_have_count(0)  # few enough in view: points with hover again


def test_the_list_finds_by_name_and_leads_to_the_study(browser_page: OpenPage, site: str, fake: FakeStudies) -> None:
    fake.studies["other"] = SyntheticStudy("other", 5)
    page = browser_page(f"{site}/ui")
    expect(page.locator("#studies tbody tr")).to_have_count(2)
    page.locator("#find").fill("SV")
    expect(page.locator("#studies tbody tr:visible")).to_have_count(1)
    page.locator("#find").fill("zzz")
    expect(page.locator("#none-found")).to_be_visible()
    page.locator("#find").fill("")
    page.get_by_role("link", name="svhn").click()
    expect(page.locator("h1")).to_have_text("svhn")
    drawn(page)


def test_a_missing_study_offers_the_list(browser_page: OpenPage, watch: Watch, site: str) -> None:
    watch.allowed.append("404")
    page = browser_page(f"{site}/ui/s/nope")
    expect(page.locator("h1")).to_contain_text("There is no study nope")
    page.get_by_role("link", name="svhn").click()
    expect(page.locator("h1")).to_have_text("svhn")
