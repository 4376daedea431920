"""YAML as the study file reads it: plain values, the line of everything, and one-line refusals."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives import yamlfile
from objectives.errors import SpecError

NESTED = """\
# a comment
study: a
train:
  lr: 2e-3

  epochs: 5
search:
  beta:
    range: [0.1,
            0.9]
"""


def _refused(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        yamlfile.parse(text, "s.yaml")
    message = str(caught.value)
    assert "\n" not in message
    return message


def _value(text: str) -> Any:
    return yamlfile.parse(f"a: {text}", "s.yaml").value["a"]


def test_every_key_and_item_knows_its_line() -> None:
    document = yamlfile.parse(NESTED, "s.yaml")
    lines = {
        ("study",): 2, ("train",): 3, ("train", "lr"): 4, ("train", "epochs"): 6, ("search", "beta"): 8,
        ("search", "beta", "range"): 9, ("search", "beta", "range", 0): 9, ("search", "beta", "range", 1): 10,
    }  # fmt: skip
    assert {path: document.line(path) for path in lines} == lines


def test_what_is_not_in_the_file_has_the_line_of_what_encloses_it() -> None:
    document = yamlfile.parse(NESTED, "s.yaml")
    assert document.line(("train", "batch")) == 3
    assert document.line(("nowhere", "at", "all")) == 1


def test_message_names_file_line_and_field() -> None:
    document = yamlfile.parse(NESTED, "s.yaml")
    assert document.message(("train", "lr"), "too big") == "s.yaml:4: train.lr: too big"
    assert document.message((), "empty") == "s.yaml:1: empty"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-3", 0.002), ("2E3", 2000.0), ("1.", 1.0), (".5", 0.5), ("-1.5e+2", -150.0), ("7", 7), ("-7", -7),
        ("true", True), ("null", None), ("", None), ("text", "text"), ("'7'", "7"), ("32C3-MP2-10", "32C3-MP2-10"),
        ("2024-01-01", "2024-01-01"), ("[1, a]", [1, "a"]), ("{}", {}),
    ],
)  # fmt: skip
def test_scalars(text: str, value: object) -> None:
    found = _value(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["1:30", "1_000", "0x10", "0b1"])
def test_numbers_of_yaml_1_1_that_surprise_stay_text(text: str) -> None:
    assert _value(text) == text


def test_a_leading_zero_does_not_mean_octal() -> None:
    assert _value("010") == 10


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a: 1\n\tb: 2\n", "s.yaml:2: not valid YAML: "),
        ("a: {b: 1\nc: 2\n", "s.yaml:2: not valid YAML: "),
        ("a: [1, 2\n", "s.yaml:2: not valid YAML: "),
        ("a: 'x\n\n", "s.yaml:3: not valid YAML: "),
        ("a: 1\n b: 2\n", "s.yaml:2: not valid YAML: "),
        ("a: 1\n---\nb: 2\n", "s.yaml:2: not valid YAML: "),
        ("a: \x00\n", "s.yaml:1: not valid YAML: "),
        ("a: \ud800\n", "s.yaml:1: not valid YAML: "),
        ("a: 1\nb: 2\na: 3\n", "s.yaml:3: a: this key stands twice"),
        ("t:\n  x: {k: 1,\n      k: 2}\n", "s.yaml:3: t.x.k: this key stands twice"),
        ("a: &n 1\nb: *n\n", "s.yaml:1: aliases"),
        ("a: &n [*n]\n", "s.yaml:1: aliases"),
        ("a: 1\n? [x]\n: 2\n", "s.yaml:2: a key must be plain text"),
    ],
)  # fmt: skip
def test_refusals_name_the_line(text: str, start: str) -> None:
    assert _refused(text).startswith(start)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [x]", "!!python/name:os.system x", "!!binary YWI=", "!!bool x", "!!int x",
        "!!float x", "!!timestamp x", "!!timestamp 2024-01-01", "!!map x", "!own x", "!!omap [a: 1]", "!!set {a}",
    ],
)  # fmt: skip
def test_tags_are_refused(text: str) -> None:
    message = _refused(f"n: 1\na: {text}\n")
    assert message.startswith("s.yaml:2: ")
    assert "plain text, numbers" in message


@pytest.mark.parametrize("digits", ["9" * 19, "9" * 5000, "!!int 0x" + "f" * 5000])
def test_whole_numbers_beyond_64_bits_are_refused_in_a_short_line(digits: str) -> None:
    message = _refused(f"a: {digits}\n")
    assert message.startswith("s.yaml:1: ")
    assert len(message) < 200


@pytest.mark.parametrize("text", ["[" * 3000 + "]" * 3000, "{a: " * 3000 + "1" + "}" * 3000, "[" * 60 + "]" * 60])
def test_deep_nesting_is_refused(text: str) -> None:
    assert "nested" in _refused(f"a: {text}\n")


def test_large_files_are_refused() -> None:
    assert "256 KiB" in _refused("# " + "x" * yamlfile.MAX_BYTES)
    assert "256 KiB" in _refused("# " + "é" * (yamlfile.MAX_BYTES // 2))


@pytest.mark.parametrize("text", ['"\\ud800"', '"a\\0b"'])
def test_text_that_no_database_stores_is_refused(text: str) -> None:
    assert _refused(f"a: {text}\n").startswith("s.yaml:1: cannot read ")


@pytest.mark.parametrize(("text", "value"), [(".inf", math.inf), ("-.INF", -math.inf), ("+.Inf", math.inf)])
def test_infinity_is_read_for_the_models_to_refuse(text: str, value: float) -> None:
    assert _value(text) == value
    assert math.isnan(_value(".NaN"))


@given(st.text(alphabet=st.sampled_from(list("ab:{}[]-,&*!?|>'\"%@`# \n\t0.9e")), max_size=60))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        document = yamlfile.parse(text, "s.yaml")
    except SpecError as error:
        message = str(error)
    else:
        json.dumps(document.value)
        return
    assert message.startswith("s.yaml:")


_text = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), max_size=10)
_scalars = (
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | _text
)
_trees = st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3))


@given(_trees)
@settings(max_examples=200, derandomize=True, deadline=None)
def test_what_json_writes_is_read_back(tree: object) -> None:
    assert yamlfile.parse(json.dumps(tree, ensure_ascii=False), "s.yaml").value == tree


@given(_trees)
@settings(max_examples=100, derandomize=True, deadline=None)
def test_any_yaml_value_is_read_or_refused(tree: object) -> None:
    yamlfile.parse(yaml.dump(tree, Dumper=_WithoutAliases, allow_unicode=True), "s.yaml")


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True
