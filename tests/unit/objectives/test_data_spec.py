"""What a study says about its data set: what is refused, where, and what decides results."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from objectives.data import describe
from objectives.errors import SpecError
from objectives.spec import DatasetName, DatasetSpec, Study
from objectives.studyfile import parse_study
from tests.unit.objectives.factory import make_study

TEXT = """\
study: data
dataset: {{{dataset}}}
network: {network}
encoding: {encoding}
time_steps: {steps}
train: {{epochs: 1}}
accelerator: {{neural_cores: {cores}, input: {input}}}
search:
  {search}
budget: {{trials: 3}}
"""


DEFAULTS = {
    "network": "4C3-MP2-20", "encoding": "direct", "steps": 4, "cores": "[2, 2]", "input": "same",
    "search": "beta: {range: [0, 1]}",
}  # fmt: skip


def parsed(dataset: str, **fields: Any) -> Study:
    return parse_study(TEXT.format(dataset=dataset, **{**DEFAULTS, **fields}))


EVENTS = {"encoding": "events", "network": "4C3-MP2-10"}


@pytest.mark.parametrize(
    ("dataset", "fields"),
    [
        ("name: svhn, normalise: standard, augment: {crop: 4, flip: true}", {}),
        ("name: svhn, normalise: standard", {"input": "rate"}),
        ("name: cifar10, root: copies/part-1, verify: false", {"encoding": "rate"}),
        ("name: nmnist, frames: 12", EVENTS),
        ("name: nmnist, frames: 12, augment: {crop: 2}", {**EVENTS, "search": "time_steps: {choice: [2, 4, 6, 12]}"}),
        ("name: shd, frames: 4", {"network": "40-20", "encoding": "events"}),
        ("name: dvs-gesture, frames: 4", {"network": "4C3-MP8-11", "encoding": "events", "cores": "[2, 11]"}),
    ],
)  # fmt: skip
def test_studies_that_are_valid(dataset: str, fields: dict[str, Any]) -> None:
    assert parsed(dataset, **fields).dataset.name in dataset


@pytest.mark.parametrize(
    ("dataset", "fields", "message"),
    [
        ("name: imagenet", {}, r"study\.yaml:2: dataset\.name: expected 'digits', 'mnist', .* got 'imagenet'"),
        ("name: svhn, normalise: standard", {"encoding": "rate"},
         r"2: dataset\.normalise: encoding rate needs values from 0 to 1; use none, or direct coding"),
        ("name: svhn, normalise: standard", {"search": "encoding: {choice: [direct, latency]}"},
         r"9: search\.encoding: with encoding = latency: encoding latency needs values from 0 to 1"),
        ("name: svhn, normalise: zca", {}, r"2: dataset\.normalise: expected 'none' or 'standard', got 'zca'"),
        ("name: digits, augment: {crop: 8}", {}, r"2: dataset\.augment\.crop: 8 for images of 8x8; use less than 8"),
        ("name: shd, frames: 4, augment: {crop: 1}", EVENTS, r"dataset\.augment\.crop: 1 for images of 1x700"),
        ("name: svhn, augment: {shear: 1}", {}, r"2: dataset\.augment\.shear: unknown key"),
        ("name: svhn, augment: {crop: -1}", {}, r"2: dataset\.augment\.crop: expected greater than or equal to 0"),
        ("name: digits, root: copy", {}, r"2: dataset\.root: digits comes with scikit-learn, in no folder"),
        ("name: digits", {"encoding": "events"}, r"4: encoding: digits holds images; use direct, rate or latency"),
        ("name: mnist, frames: 4", {}, r"2: dataset\.frames: mnist holds images, not recordings; remove frames"),
        ("name: nmnist, frames: 4", {"encoding": "rate"}, r"4: encoding: nmnist holds recordings of events"),
        ("name: nmnist", EVENTS, r"2: dataset\.frames: is missing: nmnist holds recordings"),
        ("name: nmnist, frames: 6", EVENTS,
         r"5: time_steps: 4 does not divide dataset\.frames: 6; use one of 1, 2, 3, 6"),
        ("name: nmnist, frames: 8", {**EVENTS, "search": "time_steps: {choice: [4, 5]}"},
         r"9: search\.time_steps: with time_steps = 5: 5 does not divide dataset\.frames: 8; use one of 1, 2, 4, 8"),
        ("name: nmnist, frames: 4", {**EVENTS, "input": "rate"}, r"7: accelerator\.input: nmnist holds spikes"),
        ("name: svhn", {"network": "4C3-MP40-20"}, r"3: network: .*30x30 here, smaller than the pool 40"),
        ("name: shd, frames: 4", {**EVENTS, "network": "4C3-20"},
         r"3: network: .*1x700 here, smaller than the kernel 3"),
    ],
)  # fmt: skip
def test_what_does_not_hold_together_is_told_by_line(dataset: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parsed(dataset, **fields)


@pytest.mark.parametrize(
    "root",
    ["..", "../other", "copies/../..", "/etc", "~", "~/data", "C:/data", "C:\\data", "\\\\host\\share", "//host/share",
     ".ssh", "copies/.git", ".", "", "copies/", "copies//part", "a\nb", "p\n", "part 1", "$HOME", "naïve", "x" * 201],
)  # fmt: skip
def test_a_root_never_leaves_the_data_folder(root: str) -> None:
    """A study comes from others, through the server, to every worker."""
    with pytest.raises(ValidationError):
        DatasetSpec(name="mnist", root=root)


@pytest.mark.parametrize("root", ["part", "copies/svhn", "svhn-1.5_b/Train.old"])
def test_roots_that_are_fine(root: str) -> None:
    assert DatasetSpec(name="mnist", root=root).root == root


def test_fields_at_their_defaults_do_not_change_the_hash() -> None:
    spelled = make_study(
        dataset={
            "name": "digits",
            "root": None,
            "verify": True,
            "normalise": "none",
            "augment": {"crop": 0},
            "frames": None,
        }
    )
    assert spelled.frozen_hash() == make_study().frozen_hash()
    assert set(make_study().frozen()["dataset"]) == {"name", "limit", "validation", "split_seed"}


@pytest.mark.parametrize(
    "field",
    [{"root": "part"}, {"verify": False}, {"normalise": "standard"}, {"augment": {"flip": True}}, {"limit": 300}],
)
def test_what_decides_results_is_in_the_hash(field: dict[str, Any]) -> None:
    assert (
        make_study(dataset={"name": "mnist", **field}).frozen_hash()
        != make_study(dataset={"name": "mnist"}).frozen_hash()
    )


def test_the_figures_in_the_text_are_those_of_the_code() -> None:
    text = (Path(__file__).parents[3] / "docs" / "howto" / "datasets.md").read_text(encoding="utf-8")
    figures = dict(re.findall(r"^\| `([\w-]+)` \| ([\d., ]+ \| [\d., ]+) \|$", text, re.MULTILINE))
    infos = {name: describe(name) for name in get_args(DatasetName)}
    assert figures.keys() == {name for name, info in infos.items() if not info.is_events}
    for name, words in figures.items():
        mean, std = (tuple(float(number) for number in column.split(", ")) for column in words.split(" | "))
        assert (mean, std) == (infos[name].mean, infos[name].std)
    for name, info in infos.items():
        assert re.search(
            rf"^\| `{name}` \|[^|]*\| {'x'.join(map(str, info.image))} \| {info.classes} \|", text, re.MULTILINE
        )
