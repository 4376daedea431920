"""The command line as a person meets it: bad input is one plain line and an exit code, and leaves nothing behind."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.record import open_record
from service.server import bind, serving
from service.settings import Settings
from tests.support.desk import Desk, opened
from tests.support.processes import Place, Started, scalar
from tests.support.studies import STUDY_YAML, make_study, study_text


@pytest.fixture
def place(url: str, tmp_path: Path) -> Iterator[Place]:
    """A var folder, and a database without studies."""
    with Place(tmp_path / "var", url) as made:
        yield made


@pytest.fixture
def desk(place: Place, url: str) -> Iterator[Desk]:
    """The database with the finished study `tiny` in it."""
    with opened(url, place.var / "artifacts") as made:
        made.studies.start(make_study())
        made.drain()
        yield made


def assert_complaint(started: Started, code: int, *words: str) -> str:
    """Exactly one line on stderr, ours, with these words; nothing on stdout."""
    lines = started.stderr().splitlines()
    assert len(lines) == 1, started.stderr()
    assert lines[0].startswith("spikefront: ")
    assert started.process.returncode == code
    for word in words:
        assert word in lines[0]
    assert started.stdout() == ""
    return lines[0]


def file_with(place: Place, text: str) -> str:
    place.var.mkdir(parents=True, exist_ok=True)
    path = place.var / "lab.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


SEARCH = {"beta": {"range": [0.05, 0.95]}}
BAD_FILES = {
    "malformed": (STUDY_YAML.replace("search:", "search: ["), ["lab.yaml:", "not valid YAML"]),
    "not a mapping": ("- a\n- b\n", ["lab.yaml:1: a study file is a mapping"]),
    "unknown key": (STUDY_YAML + "epochs: 3\n", ["lab.yaml:18: epochs: unknown key"]),
    "empty search": (study_text(search={}), ["search: the search space is empty"]),
    "baseline outside": (study_text(baseline={"beta": 0.99}), ["baseline.beta: 0.99 lies outside", "0.05 to 0.95"]),
    "baseline unknown": (study_text(baseline={"bta": 0.5}), ["baseline.bta: is no dimension"]),
    "network does not fit": (study_text(network="4C9-MP2-10"), ["lab.yaml:", "network: "]),
    "network of nonsense": (study_text(network="many layers"), ["lab.yaml:", "network: "]),
    "cores do not divide": (
        study_text(search=SEARCH, accelerator={"neural_cores": [3, 5], "device": "xc7z045"}),
        ["lab.yaml:14: accelerator.neural_cores: neural_cores.0 = 3: ", "use a divisor: 1, 2, 4"],
    ),
    "no time": (study_text(time_steps=0), ["time_steps: expected greater than or equal to 1, got 0"]),
    "unknown dataset": (study_text(dataset={"name": "imagenet"}), ["dataset.name: expected 'digits', 'mnist'"]),
    "unknown device": (
        study_text(search=SEARCH, accelerator={"neural_cores": [2, 5], "device": "abacus"}),
        ["accelerator.device: ", "abacus"],
    ),
    "odd name": (study_text("../x"), ["lab.yaml:", "study: expected 1 to 63 of a-z"]),
    "no budget": (study_text(budget={}), ["budget: no limit given; set trials, epochs or hours"]),
    "nan": (study_text(threshold=float("nan")), ["threshold: "]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_study_file_is_one_line_that_says_where(place: Place, url: str, text: str, words: list[str]) -> None:
    started = place.run("run", file_with(place, text), "--port", "0")

    assert_complaint(started, 2, *words)
    assert scalar(url, "SELECT count(*) FROM public.studies") == 0
    assert {path.name for path in place.var.iterdir()} == {"lab.yaml", "0.out", "0.err"}


def test_a_missing_file_is_one_line(place: Place) -> None:
    assert_complaint(place.run("run", str(place.var / "absent.yaml")), 2, "absent.yaml: cannot be read: No such file")


def test_check_is_as_strict_and_says_valid_otherwise(place: Place) -> None:
    assert_complaint(place.run("check", file_with(place, study_text(time_steps=0))), 2, "time_steps")

    fine = place.run("check", file_with(place, STUDY_YAML), "--no-estimate")

    assert (fine.process.returncode, fine.stderr()) == (0, "")
    assert ": valid" in fine.stdout()


def broken_mnist(place: Place) -> Path:
    folder = place.var / "data"
    (folder / "mnist").mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / "mnist" / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x03 torn")[:-9])
    return folder


MNIST = study_text("torn", dataset={"name": "mnist", "limit": 100}, budget={"trials": 20, "max_failures": 2})


def test_a_corrupted_data_set_is_named_by_check(place: Place) -> None:
    folder = broken_mnist(place)

    started = place.run("check", file_with(place, MNIST), DATA=str(folder))

    assert_complaint(started, 2, "train-images-idx3-ubyte.gz: corrupted", "delete it")


def test_a_run_whose_data_set_is_corrupted_pauses_and_says_why(place: Place, url: str) -> None:
    folder = broken_mnist(place)

    started = place.run("run", file_with(place, MNIST), "--workers", "1", "--port", "0", DATA=str(folder))

    last = started.stderr().splitlines()[-1]
    assert started.process.returncode == 1
    assert last.startswith("spikefront: study torn is paused: the last 2 trials failed alike: ")
    assert "train-images-idx3-ubyte.gz: corrupted" in last
    assert "Traceback" not in started.stderr()
    assert scalar(url, "SELECT count(*) FROM public.trials WHERE state = 'FAIL'") == 2
    assert scalar(url, "SELECT count(*) FROM public.trials WHERE state = 'COMPLETE'") == 0


def test_a_database_that_is_down_is_one_line_without_its_password(place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        down = f"postgresql://me:s3cr3t@127.0.0.1:{taken.getsockname()[1]}/d"
        for words in (
            ("run", file_with(place, STUDY_YAML), "--port", "0"),
            ("pareto", "tiny"),
            ("serve", "--port", "0"),
        ):
            line = assert_complaint(place.run(*words, DATABASE_URL=down), 2, "cannot use database 'd' at 127.0.0.1")
            assert "s3cr3t" not in line


def test_a_database_url_of_another_kind_is_one_line(place: Place) -> None:
    started = place.run("studies", DATABASE_URL="mysql://me:s3cr3t@host/d")

    assert "s3cr3t" not in assert_complaint(started, 2, "SPIKEFRONT_DATABASE_URL: 'mysql' is not supported")


def test_a_setting_that_is_no_number_is_one_line(place: Place) -> None:
    assert_complaint(place.run("studies", LEASE_S="soon"), 2, "SPIKEFRONT_LEASE_S: ", "'soon'")


def test_a_worker_that_cannot_work_says_why(place: Place, url: str, tmp_path: Path) -> None:
    settings = Settings(var=tmp_path / "server")
    settings.var.mkdir()
    with open_record(url, settings.var) as record, serving(record, settings, bind("127.0.0.1", 0)) as server:
        worker = ("worker", "--server", server.url)
        assert server.auth is not None
        assert_complaint(place.run(*worker, TOKEN="wrong"), 2, "log in")
        assert_complaint(place.run(*worker), 2, "no token: set SPIKEFRONT_TOKEN")
        assert_complaint(place.run("worker", TOKEN="t"), 2, "no study server: give --server")
        absent = place.run(*worker, "--study", "absent", TOKEN=server.auth.worker_token)
        assert_complaint(absent, 2, "there is no study 'absent'")


def test_a_port_in_use_is_one_line(place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        assert_complaint(place.run("serve", "--port", port), 2, f"cannot listen on 127.0.0.1:{port}", "--port")


def test_another_address_needs_a_token(place: Place) -> None:
    assert_complaint(place.run("serve", "--host", "0.0.0.0"), 2, "0.0.0.0 is not loopback: set SPIKEFRONT_TOKEN")


def test_the_same_name_with_other_settings_is_refused_with_the_differences(place: Place, desk: Desk) -> None:
    before = desk.studies.trials("tiny")

    started = place.run("run", file_with(place, study_text(time_steps=5)), "--port", "0")

    assert_complaint(started, 2, "study 'tiny' exists with other settings (time_steps: 4 -> 5)", "resume tiny")
    assert desk.studies.trials("tiny") == before


@pytest.mark.parametrize("command", ["pareto", "show", "resume", "stop", "export"])
def test_an_unknown_study_offers_the_nearest_name(place: Place, desk: Desk, command: str) -> None:
    extra = ["--port", "0"] if command == "resume" else []

    assert_complaint(place.run(command, "tinny", *extra), 2, "there is no study 'tinny'; did you mean 'tiny'?")


@pytest.mark.parametrize("name", ["../../etc", "UPPER", "a b", "x" * 64, "-"])
def test_an_odd_study_name_is_one_line(place: Place, name: str) -> None:
    assert_complaint(place.run("pareto", name), 2, "study")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("budget.trials", "expected FIELD=VALUE, such as budget.trials=200"),
        ("budget.trials=many", "budget.trials: expected"),
        ("budget.trials=0", "budget.trials: expected"),
        ("budget.trails=9", "budget.trails: no such field"),
        ("train.epochs=9", "train.epochs: decides results and cannot change"),
        ("budget.trials=[1]", "--set budget.trials: expected a number, true, false or text"),
        ("budget.hours=NaN", "--set budget.hours: expected a number, true, false or text"),
    ],
)
def test_a_bad_change_is_one_line_and_changes_nothing(place: Place, desk: Desk, change: str, words: str) -> None:
    before = desk.studies.row("tiny")

    assert_complaint(place.run("resume", "tiny", "--set", change, "--port", "0"), 2, words)

    assert desk.studies.row("tiny") == before


def test_pareto_prints_the_document_that_programs_read(place: Place, desk: Desk) -> None:
    started = place.run("pareto", "tiny", "--json")

    document: dict[str, Any] = json.loads(started.stdout())
    assert (started.process.returncode, started.stderr()) == (0, "")
    assert document["study"] == "tiny"
    assert document["objectives"] == ["accuracy", "latency_ms", "fps_per_watt"]
    assert document["baseline"]["trial"] == 0
    assert document["front"]
    for point in (document["baseline"], *document["front"]):
        assert set(point) >= {"trial", "values", "test", "params", "vs_baseline", "on_baseline_accelerator"}
        assert list(point["values"]) == list(point["vs_baseline"]) == document["objectives"]
        assert set(point["on_baseline_accelerator"]) == {"latency_ms", "fps_per_watt"}
        assert point["test"] == {"accuracy": 0.5}
    assert set(document["baseline"]["vs_baseline"].values()) == {0.0}


def test_what_people_look_at_prints_and_exits_well(place: Place, desk: Desk) -> None:
    for words in (("studies",), ("show", "tiny"), ("pareto", "tiny"), ("export", "tiny")):
        started = place.run(*words)
        assert (started.process.returncode, started.stderr()) == (0, ""), words
        assert "tiny" in started.stdout() or words[0] in ("export", "show")


def test_a_study_that_has_no_point_yet_says_so(place: Place, url: str, tmp_path: Path) -> None:
    with opened(url, tmp_path / "artifacts") as desk:
        desk.studies.start(make_study())

        started = place.run("pareto", "tiny")

    assert started.process.returncode == 0
    assert "no feasible point yet" in started.stdout()
