"""Write the pages that are made from the program itself: `make docs`.

Study file, settings and commands come from the pydantic models and the command line, so that a page cannot lie; the
study shown in the README comes from its file. A field without words, or words for a field that is gone, is an error.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from hwmodel.published import accelerator_table, tlm_table
from objectives.space import Choice, Integer, Log, Range
from objectives.spec import FROZEN, OBJECTIVES, SEARCHABLE, Study
from service.cli import app
from service.settings import Settings

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
NOTE = "<!-- Made by docs/generate.py from the program; change it there, then `make docs`. -->\n"
SHOWN_STUDY = re.compile(
    r"(<!-- from (?P<path>\S+\.yaml), by `make docs` -->\n```yaml\n)(?P<text>.*?)(```\n)", re.DOTALL
)

WORDS = {
    "study": "Name of the study.",
    "notes": "Free text; decides nothing.",
    "dataset": "Which images, and how the training set is divided.",
    "dataset.name": "`digits` comes with scikit-learn, the others are downloaded once; `nmnist`, `dvs-gesture` and "
    "`shd` hold events and need the extra `events`, see [data sets](../howto/datasets.md).",
    "dataset.split_seed": "Seed of the division.",
    "network": "Layers from input to output, see [networks](#networks).",
    "pool": "Pool currents before the neurons (snnTorch's scripts) or spikes behind them (the hardware).",
    "encoding": "How an image enters: as it is at every step, as random spikes, or as one spike a pixel; `events` "
    "for recordings.",
    "time_steps": "Time steps T of one image.",
    "neuron": "Leaky integrate-and-fire (`snntorch.Leaky`), or the circuit of `snntorch.Lapicque` with that `beta`.",
    "surrogate": "Surrogate gradient; `atan` has `alpha`, `fast_sigmoid`, `sigmoid`, `spike_rate_escape` have `slope`.",
    "beta": "What is left of the membrane potential after a step.",
    "threshold": "Potential at which a neuron fires.",
    "loss": "The losses of `snntorch.functional`: on spikes, on first spikes (`temporal`) or on the output's "
    "membranes; with a population code where the last layer is wider than the classes.",
    "weight_bits": "Bits of a stored weight: training computes with quantised weights (torch's fake quantisation, one "
    "scale a layer), and the accelerator stores and reads so many.",
    "train": "How one trial is trained.",
    "train.epochs": "Epochs of one trial.",
    "train.batch": "Images in a batch.",
    "train.optimizer": "The optimizers of `torch.optim`; what is not said here has torch's default.",
    "train.lr": "Learning rate at the start.",
    "train.schedule": "Learning rate over the training: constant, half a cosine or a line down to 0, in steps, by a "
    "factor each epoch, or up and down once (`OneCycleLR`).",
    "accelerator": "The accelerator that runs the trained network, see [the hardware model](../hardware-model.md).",
    "accelerator.preset": "Structure and energy constants.",
    "accelerator.clock_mhz": "Clock of the accelerator.",
    "accelerator.device": "FPGA: its resources and static power.",
    "accelerator.mode": "`ideal`: the design as intended; `rtl`: the published circuit with its races; `tlm`: the "
    "authors' SystemC model of three fully connected layers.",
    "accelerator.schedule": "One layer at a time, or all layers at once on images of their own.",
    "accelerator.search": "The accelerators that each trial tries with its trained network; without it there is one. "
    "See [hardware for each trial](../howto/search-hardware-per-trial.md).",
    "accelerator.budget": "What a searched accelerator may occupy at most; the device's totals always hold.",
    "accelerator.budget.luts": "Look-up tables.",
    "accelerator.budget.flip_flops": "Flip-flops.",
    "accelerator.budget.bram36": "Block memories of 36 Kbit; halves count.",
    "accelerator.budget.dsp": "DSP slices.",
    "accelerator.report": "Which of the searched accelerators gives a trial its values.",
    "search": "The dimensions of the search by dotted path, see [search](#search).",
    "objectives": "Two or more of [the objectives](#objectives), accuracy among them.",
    "constraints": "What makes a trial infeasible: it never enters a front.",
    "constraints.fits_device": "A trial whose accelerator does not fit the device is infeasible.",
    "sampler": "Who suggests parameters.",
    "sampler.name": "Optuna's TPE, NSGA-II or random; or every point of a grid once.",
    "sampler.seed": "Seed of the study: of suggestions and of trainings.",
    "stopping": "When a trial reports its full objective vector: rungs at `grace_epochs * reduction^k`.",
    "stopping.name": "`none`: rungs are recorded, no trial is stopped early.",
    "stopping.reduction": "Ratio between two rungs.",
    "stopping.grace_epochs": "Epoch of the first rung.",
    "budget": "When the study ends; the first limit reached counts, running trials finish.",
    "budget.trials": "Trials created, of every outcome, the baseline included.",
    "budget.epochs": "Epochs trained over all trials.",
    "budget.hours": "Hours since the study was created.",
    "baseline": "Parameters of trial 0; what is not named here has the study's own value.",
    "versions": "Whether workers need the torch, snnTorch and numba the study began with; `any` marks other results.",
    "reset": "What a spike takes from the membrane at the next step: the threshold, or all of it.",
}
"""What a field means, where its model does not say so itself."""

OBJECTIVE_WORDS = {
    "accuracy": "share of validation images classified correctly after the last epoch",
    "latency_ms": "mean time of one image on the accelerator, in milliseconds",
    "fps_per_watt": "images per second per watt, which is one over the energy of an image",
    "energy_uj": "mean energy of one image, in microjoules",
}

DOMAINS = {
    Range: "`{range: [0.05, 0.95]}`",
    Log: "`{log: [1.0e-3, 1.0e-1]}`",
    Integer: "`{int: [2, 16]}`",
    Choice: "`{choice: [4, 8, 16]}`",
}

MACHINE_DEFAULTS = {"--workers": "as many as the machine has cores"}
"""Defaults that differ from machine to machine."""


class Undocumented(Exception):
    """A field has no words, or words have no field."""


def pages() -> dict[Path, str]:
    """Every generated page by its path."""
    found = {
        DOCS / "reference" / "study-file.md": study_page(),
        DOCS / "reference" / "study-file.schema.json": json.dumps(Study.model_json_schema(), indent=2) + "\n",
        DOCS / "reference" / "settings.md": settings_page(),
        DOCS / "reference" / "commands.md": commands_page(),
        DOCS / "reference" / "published-figures.md": published_page(),
    }
    readme = ROOT / "README.md"
    return found | {readme: with_studies(readme.read_text(encoding="utf-8"))}


def with_studies(text: str) -> str:
    """The text with each shown study file as it is now."""

    def current(match: re.Match[str]) -> str:
        return match[1] + (ROOT / match["path"]).read_text(encoding="utf-8") + match[4]

    return SHOWN_STUDY.sub(current, text)


# --- the study file ----------------------------------------------------------------------------------------------


def study_page() -> str:
    """The page about the study file."""
    rows = list(study_rows(Study))
    unused = WORDS.keys() - {name for name, _, _ in rows}
    if unused:
        raise Undocumented(f"words without a field: {', '.join(sorted(unused))}; remove them")
    lines = [
        f"| `{name}` | {kind} | {default(field)} | {traits(name, field)} | {meaning(name, field)} |"
        for name, field, kind in rows
    ]
    return STUDY_PAGE.format(
        note=NOTE,
        rows="\n".join(lines),
        domains="\n".join(f"| {form} | {first_line(domain)} |" for domain, form in DOMAINS.items()),
        objectives="\n".join(f"| `{name}` | {OBJECTIVES[name]} | {words} |" for name, words in _same_keys().items()),
    )


def study_rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo, str]]:
    """Every field of a model and of the sections in it: `(dotted path, field, type in words)`."""
    for name, field in model.model_fields.items():
        section = section_of(field)
        kind = "section" if section else kind_words(field.annotation, field.metadata)
        yield prefix + name, field, kind
        if section is not None:
            yield from study_rows(section, f"{prefix}{name}.")


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a section, which may be left out; None for any other field."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            return kind
    return None


def meaning(name: str, field: FieldInfo) -> str:
    """What a field means."""
    if (field.description is None) == (name not in WORDS):
        raise Undocumented(f"{name}: describe it in its model or in docs/generate.py, and only there")
    return cell(field.description or WORDS[name])


def traits(name: str, field: FieldInfo) -> str:
    """Whether a field may be searched, and whether it may change while a study lives."""
    root = name.partition(".")[0]
    if root in SEARCHABLE and section_of(field) is None:
        return "search"
    return "" if root in FROZEN or root == "study" else "change"


def default(field: FieldInfo) -> str:
    """A field's default as it would stand in the file."""
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return "none"
    if isinstance(value, BaseModel):
        return "as below"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def kind_words(kind: Any, limits: Any = ()) -> str:
    """A type in words, with its limits."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return kind_words(inner[0], inner[1:])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(kind_words(part, limits) for part in inner if part is not type(None)))
    if origin is tuple:
        return f"list, each {kind_words(inner[0])}"
    if origin is dict:
        return f"mapping of names, each to {kind_words(inner[1])}"
    words = {
        int: "whole number",
        float: "number",
        str: "text",
        bool: "`true` or `false`",
        Path: "path",
        SecretStr: "secret",
    }
    if kind not in words:
        return "a domain"
    return " ".join([words[kind], ", ".join(limit_words(limits))]).strip()


def limit_words(limits: Any) -> Iterator[str]:
    """Bounds in words; the pattern of a name is in the page's text."""
    signs = {
        annotated_types.Ge: ("ge", ">="),
        annotated_types.Gt: ("gt", ">"),
        annotated_types.Le: ("le", "<="),
        annotated_types.Lt: ("lt", "<"),
    }
    for limit in limits:
        if type(limit) in signs:
            attribute, sign = signs[type(limit)]
            yield f"{sign} {getattr(limit, attribute)}"


def first_line(model: type) -> str:
    """The first line of a domain's docstring, as a cell."""
    return cell((model.__doc__ or "").splitlines()[0])


def _same_keys() -> Mapping[str, str]:
    if OBJECTIVE_WORDS.keys() != OBJECTIVES.keys():
        raise Undocumented("OBJECTIVE_WORDS and the objectives differ; mend docs/generate.py")
    return OBJECTIVE_WORDS


STUDY_PAGE = """{note}
# The study file

One YAML file describes a study. It is checked as a whole before anything runs; each problem is a line with file, line
number, field and what to do: `spikefront check FILE --no-estimate` shows them. Unknown keys are refused. Whole examples
are in `studies/`; for editors that know JSON Schema there is [study-file.schema.json](study-file.schema.json).

## Fields

`search`: the field may become a dimension of the search. `change`: it decides no result and may change while the study
lives, by `spikefront resume STUDY --set budget.trials=200`; every other field is frozen with the study.

| field | type | default | | meaning |
|---|---|---|---|---|
{rows}

A name is made of a-z, 0-9, '.', '_' and '-', starts with a letter or a digit, and is at most 63 long.

## Networks

Blocks joined by `-`: `32C3` is a 3x3 convolution to 32 maps, stride 1, without padding; `32C3p1` the same with
padding 1; `MP2` or `P2` the largest of 2x2, `AP2` their mean; a bare number a fully connected layer. Behind each
weighted layer stands its spiking neuron. The last number is classes times population: 10 for one neuron a class, 450
for 45.

`accelerator.neural_cores` has an entry for each weighted layer, and each divides its layer's maps or neurons.

## Search

Keys are dotted paths to the fields marked `search` above; entries of a list are named by number, as in
`accelerator.neural_cores.0`. A path has one of these domains:

| domain | values |
|---|---|
{domains}

An option of a choice may bring dimensions of its own, which exist only where it is chosen:

```yaml
search:
  surrogate:
    choice:
      fast_sigmoid: {{slope: {{log: [0.5, 32]}}}}
      atan: {{alpha: {{log: [0.5, 32]}}}}
```

## Objectives

| name | direction | meaning |
|---|---|---|
{objectives}
"""


# --- settings ----------------------------------------------------------------------------------------------------


def settings_page() -> str:
    """The page about environment variables."""
    rows = []
    for name, field in Settings.model_fields.items():
        if field.description is None:
            raise Undocumented(f"{name}: describe it in service/settings.py")
        kind, value = kind_words(field.annotation, field.metadata), field.get_default()
        shown = "none" if value is None else f"`{value}`"
        rows.append(f"| `{variable(name)}` | {kind} | {shown} | {cell(field.description)} |")
    return SETTINGS_PAGE.format(note=NOTE, rows="\n".join(rows))


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"{Settings.model_config['env_prefix']}{name}".upper()


SETTINGS_PAGE = """{note}
# Settings

Read once from the environment when a command starts. What a study is stands in [the study file](study-file.md); how a
command prints is an option of [the command](commands.md). Secrets are never logged.

| variable | type | default | meaning |
|---|---|---|---|
{rows}

A worker needs a server's address and a token, and no database.
"""


# --- commands ----------------------------------------------------------------------------------------------------


def published_page() -> str:
    """Published figures beside the model's, as `spikefront hw published` prints them."""
    return f"""{NOTE}
# Published figures

As `spikefront hw published` prints them. The records lie in `hwmodel/records/`.

## Latencies of the SystemC model, in cycles

Mode `tlm` beside the latencies that the authors printed; LHR = logical neurons a hardware neuron, a layer each.

{tlm_table().strip()}

## Other accelerators

The [hardware model](../hardware-model.md) beside accelerators of other groups and other architectures: take it for the
order of magnitude. Nothing is fitted.

{accelerator_table().strip()}
"""


def commands_page() -> str:
    """The page about the command line."""
    parts = [command_text(words, command) for words, command in commands(typer.main.get_command(app))]
    return COMMANDS_PAGE.format(note=NOTE, parts="\n".join(parts))


def commands(group: Any, words: str = "spikefront") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, in the order of the program's own help."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{words} {name}")
        else:
            yield f"{words} {name}", command


def command_text(words: str, command: Any) -> str:
    """One command: its help and its parameters."""
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in shown if not is_option(parameter)]
    usage = " ".join([words, *(p.metavar if p.required else f"[{p.metavar}]" for p in arguments), "[OPTIONS]"])
    rows = [f"| `{spelling(p)}` | {parameter_default(p)} | {cell(p.help or '')} |" for p in shown]
    for parameter in shown:
        if not parameter.help:
            raise Undocumented(f"{words}: {spelling(parameter)} has no help; add it in service/cli.py")
    table = ["| | default | meaning |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join([f"## {words}\n", f"    {usage}\n", inspect.cleandoc(command.help), "", *table])


def is_option(parameter: Any) -> bool:
    """Whether it is an option, not an argument."""
    return any(word.startswith("-") for word in parameter.opts)


def spelling(parameter: Any) -> str:
    """An option with its short and its negative form; an argument by its placeholder."""
    if not is_option(parameter):
        return str(parameter.metavar)
    value = "" if parameter.is_flag else f" {parameter.metavar or kind_of(parameter)}"
    return ", ".join([*parameter.opts, *parameter.secondary_opts]) + value


def kind_of(parameter: Any) -> str:
    """Placeholder of an option's value."""
    kind = kind_words(parameter.type_descriptor.annotation)
    return {"whole number": "N", "number": "NUMBER", "path": "PATH"}.get(kind, "TEXT")


def parameter_default(parameter: Any) -> str:
    """A parameter's default; what depends on the machine in words."""
    for word in parameter.opts:
        if word in MACHINE_DEFAULTS:
            return MACHINE_DEFAULTS[word]
    if parameter.required:
        return "**required**"
    if is_option(parameter) and parameter.is_flag:
        return "on" if parameter.default else "off"
    return "none" if parameter.default is None else f"`{parameter.default}`"


COMMANDS_PAGE = """{note}
# Commands

Results go to stdout, progress to stderr. Exit code 0: done; 1: a run failed or a server is away; 2: a mistake in what
was asked; 130: interrupted, everything saved. `--help` with any command says the same as this page.

{parts}"""


def cell(text: str) -> str:
    """Text as a table's cell: one line, `|` escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Write every page."""
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
