"""`spikefront replay` and `export STUDY/NUMBER` on trials that were really run, one of them in two halves."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from service.cli import app
from service.errors import NotFound, ServiceError
from service.export import CONTENT
from service.replay import ReplayedEpoch, replay
from service.versions import installed
from storage.embedded import EmbeddedPostgres
from storage.engine import create_engine
from tests.support.desk import Desk
from tests.support.postgres import eventually, fresh_database
from tests.support.processes import Place, scalar
from tests.support.studies import NO_CORES, searching, study_text

EPOCHS = 60  # seconds of training, so that it can be interrupted in the middle
FIELDS: dict[str, Any] = {
    "constraints": {"floor": {"accuracy": 0.0}},
    "train": {"epochs": EPOCHS, "batch": 8, "lr": 5.0e-3},
    "accelerator": searching(search={"encoder_divisors": [2, 4]}),
    "search": NO_CORES,
    "budget": {"trials": 2},
}
EPOCH = "SELECT max(epoch) FROM spikefront.epoch"


@pytest.fixture(scope="module")
def place(postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The study `tiny`, whose trials search accelerators; trial 0 was handed over in the middle of its training."""
    folder = tmp_path_factory.mktemp("replay")
    with fresh_database(postgres, template) as url, Place(folder / "var", url) as made:
        file = folder / "tiny.yaml"
        file.write_text(study_text(**FIELDS))
        run = made.start("run", str(file), "--workers", "1", "--port", "0", CHECKPOINT_S="0")
        eventually(lambda: (scalar(url, EPOCH) or 0) >= 2, "two epochs are trained", limit_s=60)
        run.process.send_signal(signal.SIGTERM)
        assert run.wait() == 130
        resumed = made.run("resume", "tiny", "--workers", "1", "--port", "0")
        assert resumed.process.returncode == 0, resumed.stderr()
        yield made


def changed(place: Place, statement: str) -> None:
    """Alter the record."""
    assert place.database is not None
    engine = create_engine(place.database)
    with engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount == 1
    engine.dispose()


def told(place: Place, *words: str) -> Result:
    """Run `spikefront WORDS` in this process, which is quicker."""
    return CliRunner().invoke(app, words, env=place.environment())


def test_a_trial_that_was_taken_over_is_replayed_bit_for_bit(place: Place) -> None:
    assert place.database is not None
    moved = scalar(place.database, "SELECT message FROM spikefront.event WHERE kind = 'taken over'")
    went_on = re.fullmatch(r"local-0 takes trial 0 over from local-0, from epoch (\d+)", moved)
    assert went_on is not None
    assert 0 < int(went_on[1]) < EPOCHS

    replayed = place.run("replay", "tiny/0")

    assert (replayed.process.returncode, replayed.stderr()) == (0, "")
    lines = replayed.stdout().splitlines()
    assert len(lines) == EPOCHS + 2
    assert all(
        re.fullmatch(rf"epoch {n}: loss .*, accuracy .*%, equal", line) for n, line in enumerate(lines[:EPOCHS], 1)
    )
    assert lines[EPOCHS] == f"trial 0 of tiny is bit-equal: {EPOCHS} epochs, weights and values"


def test_programs_read_the_same_as_people(place: Place) -> None:
    done = told(place, "replay", "tiny/1", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["bit_equal"] is True
    assert document["differences"] == document["versions"] == []
    assert document["weights"]["stored"] == document["weights"]["here"]
    assert [epoch["epoch"] for epoch in document["epochs"]] == list(range(1, EPOCHS + 1))
    assert document["place"]["threads"] == 1


def test_an_epoch_that_was_never_stored_differs_in_nothing() -> None:
    lost = ReplayedEpoch(3, (None, 0.5), (None, 0.25))
    assert list(lost.differences()) == []
    assert lost.line() == "epoch 3: loss 0.5, accuracy 25.00%, not in the record"


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("tiny", "tiny: expected a trial as STUDY/NUMBER, such as digits/17"),
        ("tiny/x", "tiny/x: expected a trial"),
        ("tiny/99", "study 'tiny' has no trial 99"),
        ("tinny/1", "did you mean 'tiny'?"),
    ],
)
def test_what_cannot_be_replayed_is_told(place: Place, word: str, words: str) -> None:
    done = told(place, "replay", word)
    assert isinstance(done.exception, ServiceError)
    assert words in str(done.exception)
    assert done.stdout == ""


def test_a_trial_that_is_not_complete_cannot_be_replayed(desk: Desk) -> None:
    desk.start()
    desk.lease()
    with pytest.raises(NotFound, match="trial 0 of 'tiny' is running; only a complete trial can be replayed"):
        replay(desk.record, desk.folder, desk.folder, ("tiny", 0), shown=lambda epoch: None)


# --- export by the trial's name ----------------------------------------------------------------------------------


def test_a_trial_is_exported_by_its_name_and_loads_in_a_process_of_its_own(place: Place) -> None:
    out = place.var.parent / "out"

    done = told(place, "export", "tiny/1", "--output", str(out))

    assert (done.exit_code, done.stderr) == (0, "")
    written = {graph["file"] for graph in json.loads((out / "nir.json").read_text()) if graph["label"] != "refused"}
    assert "network-subtract.nir" in written
    names = {path.name for path in out.iterdir()}
    assert names == {name for name in CONTENT if not name.endswith(".nir")} | written
    lines = done.stdout.splitlines()
    assert lines[0] == str(out / "README.md")
    assert any(line.startswith("network-subtract.nir: approximate") for line in lines)  # the study pools currents
    (code,) = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)
    loaded = subprocess.run([sys.executable, "-c", code], cwd=out, capture_output=True, text=True, check=True)
    values = json.loads((out / "scores.json").read_text())["values"]
    assert float(loaded.stdout) == values["accuracy"]


def test_without_a_folder_a_trial_goes_into_one_of_its_name(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.var.parent)
    done = told(place, "export", "tiny", "--trial", "0")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "tiny-0/README.md"
    assert (place.var.parent / "tiny-0" / "weights.safetensors").exists()


# --- a record that is not the trial's; last, as the record stays so --------------------------------------------------


def test_what_differs_first_is_named(place: Place) -> None:
    """A record in which an epoch's loss is another one in its last bits."""
    where = "WHERE epoch = 5 AND trial_id = (SELECT min(trial_id) FROM spikefront.epoch)"
    changed(place, f"UPDATE spikefront.epoch SET loss = loss + 1e-12 {where}")

    done = told(place, "replay", "tiny/0")

    assert (done.exit_code, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert [n for n, line in enumerate(lines[:EPOCHS], 1) if not line.endswith("equal")] == [5]
    assert re.search(r"differs by -1e-12 and \+0 pt$", lines[4])
    assert lines[EPOCHS] == "trial 0 of tiny is not bit-equal"
    assert lines[EPOCHS + 1].startswith("first: epoch 5: loss: ")
    assert "the decisive packages have the versions of the record" in lines


def test_other_settings_of_the_record_show_in_weights_and_values(place: Place) -> None:
    """A record that says another seed than the one trained with, and an older torch."""
    changed(place, 'UPDATE spikefront.study SET versions = versions || \'{"torch": "2.1.0"}\'')
    seed = (
        "UPDATE trial_user_attributes SET value_json = '5' WHERE key = 'seed' "
        "AND trial_id = (SELECT max(trial_id) FROM spikefront.epoch)"
    )
    changed(place, seed)

    done = told(place, "replay", "tiny/1", "--json")

    assert done.exit_code == 1
    document = json.loads(done.stdout)
    names = [difference["what"] for difference in document["differences"]]
    assert re.fullmatch(r"epoch \d+: loss", names[0])  # not the first: a network that is silent has one loss
    assert "weights: conv1.bias" in names
    assert "weights: fc1.weight" in names
    assert any(name.startswith("value ") for name in names)
    assert "SHA-256 of the hardware front" in names
    assert document["versions"] == [
        f"here is torch {installed()['torch']} instead of 2.1.0, which the study began with"
    ]
