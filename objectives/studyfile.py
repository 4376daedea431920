"""The study file: one YAML, read, checked as a whole before anything runs, and its problems told by line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from objectives import yamlfile
from objectives.errors import SpecError
from objectives.feasible import check_dimensions, check_fields, check_grid
from objectives.space import Scalar
from objectives.spec import FROZEN, Study
from objectives.validation import SCALARS, noun, problem

_TAGS = ("range", "log", "choice", *SCALARS)


def load_study(path: Path) -> Study:
    """Read and check a study file.

    Raises:
        SpecError: The file cannot be read, or is not a valid study.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}; give the path of a study file") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: is not UTF-8 text; a study file is YAML") from error
    return parse_study(text, str(path))


def parse_study(text: str, source: str = "study.yaml") -> Study:
    """Parse and check a study file's text.

    Raises:
        SpecError: One line for each problem: `source:line: field: what is wrong, what is right`.
    """
    document = yamlfile.parse(text, source)
    if not isinstance(document.value, dict):
        raise SpecError(
            f"{source}:1: a study file is a mapping of fields such as `study: my-study`, got {noun(document.value)}"
        )
    try:
        study = Study.model_validate_json(json.dumps(document.value))
    except ValidationError as error:
        raise SpecError("\n".join(dict.fromkeys(_messages(error, document)))) from error
    for path, found in whole(study):
        raise SpecError(document.message(path, found))
    return study


def whole(study: Study) -> Iterator[tuple[yamlfile.Path, str]]:
    """Problems that only the study as a whole shows, the first one first."""
    yield from check_fields(study)
    yield from check_dimensions(study)
    if study.sampler.name == "grid":
        yield from check_grid(study)
    try:
        study.baseline_params()
    except SpecError as error:
        field, _, found = str(error).partition(": ")
        yield ("baseline", *field.split(".", 1)[1:]), found


def changed(study: Study, changes: Mapping[str, Scalar]) -> Study:
    """A study with fields outside the frozen part set by dotted path, as `resume --set` does.

    Raises:
        SpecError: The field is frozen, unknown, or the value is not valid, alone or with the rest of the study.
    """
    for name in changes:
        root = name.partition(".")[0]
        if root in FROZEN or root == "study":
            raise SpecError(f"{name}: decides results and cannot change; start a study with another name for that")
    new = study.resolve(changes)
    for path, found in whole(new):
        raise SpecError(f"{'.'.join(map(str, path))}: {found}")
    return new


def _messages(error: ValidationError, document: yamlfile.Document) -> Iterator[str]:
    for item in error.errors():
        shapes = [part for part in item["loc"] if isinstance(part, str) and part.startswith(("tuple[", "dict["))]
        path = _path_in(document, item["loc"])
        if shapes and item["type"] in ("tuple_type", "dict_type"):
            value = _at(document.value, path)
            if isinstance(value, (dict, list)):
                continue
            wanted = "a list of options or a mapping of options" if path[-1] == "choice" else "a mapping of dimensions"
            yield document.message(path, f"expected {wanted}, got {noun(value)}")
            continue
        yield document.message(path, problem(item))


def _path_in(document: yamlfile.Document, loc: tuple[str | int, ...]) -> yamlfile.Path:
    """The part of a validation error's location that stands in the file (pydantic adds names of its own)."""
    path: yamlfile.Path = ()
    for index, part in enumerate(loc):
        is_last = index == len(loc) - 1
        if (*path, part) in document.lines or (
            is_last and isinstance(part, str) and "[" not in part and part not in _TAGS
        ):
            path = (*path, part)
    return path


def _at(value: Any, path: yamlfile.Path) -> Any:
    for part in path:
        value = value[part]
    return value
