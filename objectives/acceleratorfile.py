"""The accelerator file: the accelerator to try under a trained network, its problems told by line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hwmodel.errors import HwmodelError
from objectives import yamlfile
from objectives.errors import SpecError
from objectives.hardware import accelerator_of
from objectives.spec import AcceleratorSpec, Study
from objectives.validation import noun, problem

SECTION = "accelerator"
"""The key of a study file under which the same fields stand; the whole section may be copied."""

_FIELD = re.compile(r"(?P<name>\w+)(?:\.(?P<index>\d+))?\b")


def with_accelerator(study: Study, path: Path) -> Study:
    """A trial's settings with the accelerator of a file in the place of their own.

    The file has the fields of a study's `accelerator` section, at its top or under that key. A field that is left
    out has the study file's default, not the trial's value. `device` is a known name, or a device file's path from
    where the accelerator file lies.

    Args:
        study: The settings of one trial.
        path: The accelerator file, YAML.

    Raises:
        SpecError: The file cannot be read, is not valid, or its accelerator does not fit the network: one line for
            each problem, `file:line: field: what is wrong, what is right`.
    """
    document = yamlfile.parse(_text(path), str(path))
    section = _section(document)
    fields = _at(document.value, section)
    try:
        spec = AcceleratorSpec.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        lines = [document.message((*section, *item["loc"]), problem(item)) for item in error.errors()]
        raise SpecError("\n".join(lines)) from error
    if spec.search is not None:
        found = "tries many accelerators; this file describes one: remove it, or use `spikefront hw sweep`"
        raise SpecError(document.message((*section, "search"), found))
    if spec.device.endswith(".yaml"):
        spec = spec.model_copy(update={"device": str(path.parent / spec.device)})
    new = study.model_copy(update={SECTION: spec})
    try:
        accelerator_of(new)
    except HwmodelError as error:
        line = document.line((*section, *_field(str(error))))
        raise SpecError(f"{document.source}:{line}: {error}") from error
    return new


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}; give the path of an accelerator file") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: is not UTF-8 text; an accelerator file is YAML") from error


def _section(document: yamlfile.Document) -> yamlfile.Path:
    """Where the fields stand: at the top, or under `accelerator`."""
    is_wrapped = isinstance(document.value, dict) and SECTION in document.value
    if is_wrapped and len(document.value) > 1:
        raise SpecError(document.message((SECTION,), "stands among others; give a file with this section alone"))
    section: yamlfile.Path = (SECTION,) if is_wrapped else ()
    found = _at(document.value, section)
    if not isinstance(found, dict):
        wanted = "an accelerator file is a mapping of fields such as `neural_cores: [4, 8]`"
        raise SpecError(document.message(section, f"{wanted}, got {noun(found)}"))
    return section


def _at(value: Any, section: yamlfile.Path) -> Any:
    return value[SECTION] if section else value


def _field(message: str) -> yamlfile.Path:
    """The field with whose name a message of the hardware model begins; none where it speaks of a layer."""
    match = _FIELD.match(message)
    if match is None or match["name"] not in AcceleratorSpec.model_fields:
        return ()
    return (match["name"],) if match["index"] is None else (match["name"], int(match["index"]))
