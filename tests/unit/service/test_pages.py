from __future__ import annotations

import asyncio
import gzip
import re
from html.parser import HTMLParser
from importlib.resources import files

import httpx
import pytest
from fastapi import FastAPI

from objectives.spec import OBJECTIVES as SPEC_OBJECTIVES
from service.choosing import knee
from service.errors import NotFound
from service.gate import problem
from service.routes import pages, view, words
from tests.support.synthetic import BASELINE, FakeStudies, SyntheticStudy

HOSTILE = "<script>alert(1)</script>\"'&"


class Web:
    """A browser's GET requests against an application in this process."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://127.0.0.1") as web:
                return await web.get(path, headers=headers)

        return asyncio.run(ask())


def client(*studies: SyntheticStudy) -> Web:
    app = FastAPI()
    app.include_router(pages.router(FakeStudies(*studies)))  # type: ignore[arg-type]
    app.exception_handler(NotFound)(lambda request, error: problem(404, str(error)))
    return Web(app)


class Page(HTMLParser):
    """Every element with its attributes, and the text by element id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.open: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input"):
            self.open.append((tag, dict(attrs).get("id") or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for _, name in self.open:
            self.text[name] = self.text.get(name, "") + data

    def attributes(self, name: str) -> dict[str, str | None]:
        return next(attributes for _, attributes in self.elements if attributes.get("id") == name)


@pytest.mark.parametrize("path", ["/ui", "/ui/s/one", "/ui/s/none"])
def test_every_page_is_under_a_strict_policy_and_obeys_it(path: str) -> None:
    answer = client(SyntheticStudy("one", 30)).get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src 'self';" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    for tag, attributes in Page(answer.text).elements:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "script" or attributes["src"]
        assert not (attributes.get("src") or attributes.get("href") or "/").startswith(("http", "//"))


def test_hostile_names_words_and_parameters_are_text() -> None:
    study = SyntheticStudy(HOSTILE, 1, state="paused")
    study.reason = HOSTILE
    study.add({"accuracy": 0.99, "latency_ms": 0.1, "fps_per_watt": 900.0}, {**BASELINE, HOSTILE: HOSTILE})
    study.log("failed", HOSTILE)
    study.lease(HOSTILE, 1, accuracy=0.5)
    for path in ("/ui", "/ui/s/%3Cscript%3Ealert(1)%3C%2Fscript%3E%22'&", "/ui/s/" + HOSTILE.replace("/", "%2F")):
        text = client(study).get(path).text
        assert "<script>alert" not in text
        assert all("alert" not in (attributes.get("src") or "") for _, attributes in Page(text).elements)


def test_a_hostile_study_page_shows_its_words() -> None:
    study = SyntheticStudy("one", 1)
    number = study.add({"accuracy": 0.99, "latency_ms": 0.1, "fps_per_watt": 900.0}, {**BASELINE, "x<b>": HOSTILE})
    study.log("failed", HOSTILE)
    page = Page(client(study).get(f"/ui/s/one?sel={number}").text)
    assert HOSTILE in page.text["c-params"]
    assert HOSTILE in page.text["table"]
    assert HOSTILE in page.text["events"]
    assert "b" not in {tag for tag, attributes in page.elements if attributes.get("title") == "x<b>"}


def test_an_unknown_study_is_404_and_offers_the_list() -> None:
    answer = client(SyntheticStudy("one", 5), SyntheticStudy("two", 5)).get("/ui/s/" + HOSTILE.replace("/", ""))
    assert answer.status_code == 404
    assert "<script>alert" not in answer.text
    links = [attributes.get("href") for tag, attributes in Page(answer.text).elements if tag == "a"]
    assert "/ui/s/one" in links
    assert "/ui/s/two" in links


def test_the_server_fills_in_tiles_table_and_card() -> None:
    study = SyntheticStudy("one", 120)
    study.lease("gpu-a/0", 7, accuracy=0.5)
    front = FakeStudies(study).front("one").document()
    page = Page(client(study).get("/ui/s/one").text)
    rows = [attributes["data-trial"] for tag, attributes in page.elements if tag == "tr" and "data-trial" in attributes]
    assert rows == [str(point["trial"]) for point in front["front"]]  # best accuracy first, as the front comes
    assert page.text["k-front"] == str(len(front["front"]))
    assert page.text["k-hv"] == words.number(front["hypervolume"])
    assert page.text["k-done"] == "120"
    best = knee(front["front"], front["objectives"])
    assert best is not None
    assert page.text["c-number"] == f"#{best['trial']}"
    assert "same network on the baseline's accelerator" in page.text["c-extra"]
    assert "epoch 7/25" in page.text["running"]
    assert "50.0 %" in page.text["running"]


def test_the_address_holds_selection_sort_and_pair() -> None:
    study = SyntheticStudy("one", 120)
    answer = client(study).get("/ui/s/one?sel=0&sort=latency_ms&dir=desc&pair=2")
    page = Page(answer.text)
    front = FakeStudies(study).front("one").document()["front"]
    slowest = max(front, key=lambda point: point["values"]["latency_ms"])
    rows = [attributes["data-trial"] for tag, attributes in page.elements if tag == "tr" and "data-trial" in attributes]
    assert rows[0] == str(slowest["trial"])
    assert page.text["c-number"] == "#0"
    assert page.attributes("study")["data-pair"] == "2"
    heads = [
        attributes.get("aria-sort") for tag, attributes in page.elements if tag == "th" and "aria-sort" in attributes
    ]
    assert heads == ["descending"]


@pytest.mark.parametrize("query", ["sel=99999", "sel=-1", "sel=x", "sel=1e9", "pair=77", "sort=<b>&dir=up", "pair=²"])
def test_an_address_with_nonsense_shows_the_page(query: str) -> None:
    answer = client(SyntheticStudy("one", 20)).get(f"/ui/s/one?{query}")
    assert answer.status_code == 200
    assert "<b>&" not in answer.text


def test_no_study_says_how_to_start_one() -> None:
    text = client().get("/ui").text
    assert "spikefront run studies/digits.yaml" in text
    assert "<table" not in text


def test_no_trial_yet_shows_dashes_with_the_reason() -> None:
    study = SyntheticStudy("one", 0)
    study.lease("gpu-a/0", 2)
    page = Page(client(study).get("/ui/s/one").text)
    assert page.text["k-hv"] == "–"
    assert "baseline" in (page.attributes("k-hv")["title"] or "")
    assert page.text["nothing-words"] == "No trial is complete yet; 1 running."
    assert page.text["c-tag"] == "nothing selected"
    assert "hidden" in page.attributes("hv")


def test_no_feasible_point_names_the_nearest_and_the_costliest_constraint() -> None:
    study = SyntheticStudy("one", 1, spoil="hazards")
    page = Page(client(study).get("/ui/s/one").text)
    assert "None of the 1 complete trials keeps every constraint" in page.text["nothing-words"]
    assert "“hazards” is broken by 1" in page.text["nothing-words"]
    assert "trial 0 misses by the least" in page.text["nothing-words"]


@pytest.mark.parametrize(
    ("state", "shown"), [("running", {"stop"}), ("paused", {"resume"}), ("stopped", {"resume"}), ("complete", set())]
)
def test_buttons_follow_the_state(state: str, shown: set[str]) -> None:
    page = Page(client(SyntheticStudy("one", 3, state=state)).get("/ui/s/one").text)
    assert {name for name in ("stop", "resume") if "hidden" not in page.attributes(name)} == shown


def test_two_objectives_have_one_pair() -> None:
    study = SyntheticStudy("one", 30, objectives=("accuracy", "energy_uj"))
    page = Page(client(study).get("/ui/s/one").text)
    pairs = [attributes for _, attributes in page.elements if attributes.get("role") == "radio"]
    assert len(pairs) == 1
    assert "Accuracy × energy" in page.text["pairs"]


def test_the_list_puts_the_newest_activity_first() -> None:
    old, new = SyntheticStudy("old", 5), SyntheticStudy("new", 50)
    page = Page(client(old, new).get("/ui").text)
    rows = [attributes["data-name"] for tag, attributes in page.elements if tag == "tr" and "data-name" in attributes]
    assert rows == ["new", "old"]


def test_own_files_are_revalidated_by_etag() -> None:
    web = client()
    first = web.get("/ui/static/study.js")
    assert first.headers["content-type"].startswith("text/javascript")
    again = web.get("/ui/static/study.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert web.get("/ui/static/study.js", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["..%2Fpages.py", "%2e%2e/pages.py", "none.js", "%2Fetc%2Fpasswd", "base.html"])
def test_no_other_file_can_be_asked_for(path: str) -> None:
    assert client().get(f"/ui/static/{path}").status_code == 404


def test_plotly_comes_packed_and_for_good() -> None:
    web, original = client(), (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    packed = web.get(pages.PLOTLY_PATH, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(original) / 3
    assert packed.content == original  # the client unpacks it
    assert "immutable" in packed.headers["cache-control"]
    assert pages.PLOTLY in pages.PLOTLY_PATH
    plain = web.get(pages.PLOTLY_PATH, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == original
    assert gzip.decompress(pages._packed_plotly()) == original


def test_every_objective_has_words_and_the_right_direction() -> None:
    assert {key: "maximize" if words.OBJECTIVES[key].sign > 0 else "minimize" for key in words.OBJECTIVES} == dict(
        SPEC_OBJECTIVES
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (8, "8"), (1.0, "1"), (0.123456, "0.123"), (9.999, "10.0"), (-2.5, "−2.50"),
     (1234.5, "1\u202f234"), (10000, "10\u202f000"), (0.00042, "0.000420"), (0.0000421, "4.21e−5"), ("atan", "atan"),
     (True, "true")],
)  # fmt: skip
def test_numbers(value: object, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("key", "delta", "text", "kind", "times"),
    [("accuracy", -1.24, "▼ −1.2\u00a0pt", "bad", ""), ("latency_ms", -66.2, "▼ −66\u00a0%", "good", ""),
     ("latency_ms", 240.0, "▲ +240\u00a0%", "bad", "3.4×"), ("fps_per_watt", 5.55, "▲ +5.5\u00a0%", "good", ""),
     ("fps_per_watt", 0.01, "■ ±0\u00a0%", "same", ""), ("accuracy", 12.0, "▲ +12.0\u00a0pt", "good", "")],
)  # fmt: skip
def test_changes(key: str, delta: float, text: str, kind: str, times: str) -> None:
    found = words.change(words.OBJECTIVES[key], delta)
    assert found is not None
    assert (found.text, found.kind, found.times) == (text, kind, times)
    assert {"good": "better", "bad": "worse", "same": "as the"}[kind] in found.spoken


def test_durations() -> None:
    assert [words.duration(s) for s in (None, 5.2, 89, 600, 6720, 200000)] == [
        "–",
        "5 s",
        "89 s",
        "10 min",
        "1 h 52",
        "2 d 8 h",
    ]


def test_the_spark_line_ends_at_the_right_edge_and_rises() -> None:
    assert view.spark([(1, 0.5)]) is None
    paths = view.spark([(1, 0.2), (5, 0.4), (10, 0.5)])
    assert paths is not None
    heights = [float(found) for found in re.findall(r"V([\d.]+)", paths["line"])]
    assert paths["line"].startswith("M12.0 24.0")
    assert "H120.0" in paths["line"]
    assert heights == sorted(heights, reverse=True)
