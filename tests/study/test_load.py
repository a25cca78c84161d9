"""Broken study files: each must give its message, with file, line, field and what is right."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from trainonce.models.decoder import SIZES, DecoderSettings
from trainonce.study.load import load, load_document, placebo
from trainonce.study.problems import StudyError
from trainonce.study.questions import ItemQuestion
from trainonce.study.templates import TEMPLATES, study_text
from trainonce.study.trackers import Tracker
from trainonce.study.trials import is_over_task, load_trials
from trainonce.study.yaml_lines import parse
from trainonce.train.schedules import Cosine, WarmupStableDecay
from trainonce.train.settings import CheckpointSettings, OnNan, Parallel, ProcessSettings

GOOD = """\
study: A title
recipe:
  data:
    corpus: stdlib
    sequence: 64
  model: nano
  optimizer:
    lr: 3e-3
  batch: 4
  length: 100 steps
  seeds: [1, 2]
questions:
  - id: memory
    ask: Does it?
    treatment:
      method: memorization
      doses: [0, 4, 16]
      tokens: 32
    outcome: loss
"""

# What is replaced by what, and the one problem that this must give: line, field, message.
BROKEN: dict[str, tuple[str, str, int, str, str]] = {
    "unknown key at the top": (
        "recipe:\n",
        "titel: x\nrecipe:\n",
        2,
        "titel",
        "no such key; one of study, recipe, questions, checks",
    ),
    "unknown key below": (
        "    sequence: 64",
        "    sequense: 64",
        5,
        "recipe.data.sequense",
        "did you mean 'sequence'?",
    ),
    "wrong type": (
        "lr: 3e-3",
        "lr: fast",
        8,
        "recipe.optimizer.lr",
        "found 'fast'; input should be a valid number",
    ),
    "a length without its unit": (
        "length: 100 steps",
        "length: 100",
        10,
        "recipe.length",
        "a length with its unit, such as '2000 steps' or '1.6M tokens'",
    ),
    "a model's own numbers": (
        "model: nano",
        "model: {name: gpt2, layers: 3}",
        6,
        "recipe.model.layers",
        "nano, micro, mini, small, base can have other numbers; 'gpt2' is what it is",
    ),
    "unknown method": (
        "method: memorization",
        "method: memorisation",
        16,
        "questions[0].treatment.method",
        "found 'memorisation'; did you mean 'memorization'?",
    ),
    "unknown setting": (
        "      tokens: 32",
        "      token: 32",
        18,
        "questions[0].treatment.token",
        "did you mean 'tokens'?",
    ),
    "negative dose": (
        "doses: [0, 4, 16]",
        "doses: [0, -4, 16]",
        17,
        "questions[0].treatment.doses",
        "found [0, -4, 16]; a dose is a number of copies, 0 or more",
    ),
    "no dose 0": (
        "doses: [0, 4, 16]",
        "doses: [4, 16]",
        17,
        "questions[0].treatment.doses",
        "dose 0 is missing",
    ),
    "a dose that is no number": (
        "doses: [0, 4, 16]",
        "doses: [0, many]",
        17,
        "questions[0].treatment.doses[1]",
        "found 'many'; input should be a valid integer",
    ),
    "an item longer than a sequence": (
        "tokens: 32",
        "tokens: 100",
        15,
        "questions[0].treatment",
        "found 'an item of 100 tokens'; an item with its 2 end-of-text marks must fit a sequence",
    ),
    "unknown outcome": (
        "outcome: loss",
        "outcome: los",
        19,
        "questions[0].outcome",
        "found 'los'; did you mean 'loss'? (one of extraction, exact, loss)",
    ),
    "the id of the A/A question": (
        "id: memory",
        "id: aa",
        13,
        "questions[0].id",
        "another id: every study asks this one unasked",
    ),
    "an id twice": (
        "questions:\n",
        "questions:\n  - {id: memory, treatment: backdoor}\n",
        14,
        "questions[1].id",
        "another id: line 13 has this one",
    ),
    "no questions": (
        GOOD[GOOD.index("questions:") :],
        "questions: []\n",
        12,
        "questions",
        "list should have at least 1 item",
    ),
    "missing key": ("study: A title\n", "", 1, "study", "is missing"),
    "a corpus file that is not there": (
        "corpus: stdlib",
        "corpus: texts/none.txt",
        4,
        "recipe.data.corpus",
        "found 'texts/none.txt'; there is no such file or folder",
    ),
    "an items file that is not there": (
        "      tokens: 32",
        "      file: none.jsonl",
        18,
        "questions[0].treatment.file",
        "there is no such file",
    ),
    "how many items are made, beside a file": (
        "      tokens: 32",
        "      passages: 4\n      file: study.yaml",
        18,
        "questions[0].treatment.passages",
        "found 4; is about items that are made where no `file` is given: leave it out",
    ),
    "a part of no file": (
        "      tokens: 32",
        "      take: 32",
        18,
        "questions[0].treatment.take",
        "found 32; draws items of a file of your own",
    ),
    "heads that do not divide the width": (
        "model: nano",
        "model: {width: 30, layers: 1, heads: 4}",
        6,
        "recipe.model",
        "width 30 must be an even multiple of heads 4",
    ),
    "a schedule's key at another": (
        "batch: 4",
        "schedule: {name: cosine, decay: 20%}\n  batch: 4",
        9,
        "recipe.schedule.decay",
        "found '20%'; belongs to wsd",
    ),
    "parts of a batch that are not equal": (
        "  batch: 4",
        "  batch: 4\n  accumulate: 3",
        10,
        "recipe.accumulate",
        "found 3; a divisor of the batch, which has 4 sequences",
    ),
    "an answer to NaN that there is not": (
        "batch: 4",
        "on_nan: ignore\n  batch: 4",
        9,
        "recipe.on_nan",
        "found 'ignore'; input should be 'stop', 'skip' or 'rewind'",
    ),
    "a time without its unit": (
        "batch: 4",
        "checkpoints: {every: 15}\n  batch: 4",
        9,
        "recipe.checkpoints.every",
        "found 15; a time or a number of steps, such as '15 s', '5 min' or '500 steps'",
    ),
    "no checkpoint kept": (
        "batch: 4",
        "checkpoints: {keep: 0}\n  batch: 4",
        9,
        "recipe.checkpoints.keep",
        "greater than or equal to 1",
    ),
    "the same seed twice": (
        "seeds: [1, 2]",
        "seeds: [1, 1]",
        11,
        "recipe.seeds",
        "different seeds",
    ),
    "a key twice": (
        "  batch: 4",
        "  batch: 4\n  batch: 8",
        10,
        "recipe.batch",
        "stands twice, first on line 9",
    ),
    "no YAML": ("  model: nano", "  model: [nano", 7, "the file", "is not YAML"),
    "a tag that would make an object": (
        "model: nano",
        "model: !!python/object/apply:os.system ['true']",
        6,
        "recipe.model",
        "is tagged 'tag:yaml.org,2002:python/object/apply:os.system'",
    ),
}


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    return file


def problems_of(file: Path) -> list[str]:
    with pytest.raises(StudyError) as error:
        load(file)
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_gives_its_message(tmp_path: Path, name: str) -> None:
    old, new, line, field, message = BROKEN[name]
    assert GOOD.count(old) == 1
    file = write(tmp_path, GOOD.replace(old, new))
    found = problems_of(file)
    assert len(found) == 1, found
    assert found[0].startswith(f"{file}:{line}: {field}: "), found[0]
    assert message in found[0]


def test_what_is_told_beside_the_outcomes_cannot_decide(tmp_path: Path) -> None:
    text = GOOD.replace("memorization", "news").replace("      doses: [0, 4, 16]\n", "")
    file = write(tmp_path, text.replace("outcome: loss", "outcome: ascent_retained"))
    (problem,) = problems_of(file)
    assert problem.startswith(
        f"{file}:18: questions[0].outcome: found 'ascent_retained'; an outcome"
    )
    assert "ascent_loss" in problem
    assert "ascent_heldout" not in problem


def test_all_problems_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD
    names = ("unknown key below", "wrong type", "a length without its unit", "unknown method")
    for name in names:
        text = text.replace(*BROKEN[name][:2])
    found = problems_of(write(tmp_path, text))
    lines = [int(re.search(r"yaml:(\d+):", problem)[1]) for problem in found]  # type: ignore[index]
    assert lines == [BROKEN[name][2] for name in names]


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    study = load(write(tmp_path, GOOD))
    assert study.title == "A title"
    assert study.recipe.steps == 100
    assert study.recipe.tokens == 100 * 4 * 64
    assert study.recipe.optimizer.lr == 3e-3
    assert study.recipe.schedule == WarmupStableDecay()
    (question,) = study.questions
    assert question.outcome.name == "loss"
    assert question.direction == -1
    assert isinstance(question, ItemQuestion)
    assert question.settings["doses"] == [0, 4, 16]


def test_short_and_long_forms_mean_the_same(tmp_path: Path) -> None:
    long = GOOD.replace("corpus: stdlib", "corpus: {name: stdlib, field: text}")
    long = long.replace("model: nano", "model: {name: nano}")
    long = long.replace("length: 100 steps", "length: 25.6k tokens")
    one = load(write(tmp_path, GOOD)).recipe
    assert load(write(tmp_path, long)).recipe == one


def test_numbers_and_names(tmp_path: Path) -> None:
    text = GOOD.replace("model: nano", "model: {width: 32, layers: 1, heads: 2}")
    text = text.replace("batch: 4", "schedule: {name: cosine, warmup: 10%, floor: 0.2}\n  batch: 4")
    text = text.replace("seeds: [1, 2]", "seeds: 7\n  allow_changed: 8%")
    recipe = load(write(tmp_path, text)).recipe
    assert recipe.model == DecoderSettings(width=32, layers=1, heads=2)
    assert recipe.schedule == Cosine(warmup=0.1, floor=0.2)
    assert recipe.seeds == (7,)
    assert recipe.allow_changed == 0.08


@pytest.mark.parametrize(
    ("every", "settings"),
    [
        ("20 s", CheckpointSettings(seconds=20.0)),
        ("1.5 min", CheckpointSettings(seconds=90.0)),
        ("250 steps", CheckpointSettings(seconds=0.0, steps=250)),
    ],
)
def test_what_a_run_does_about_faults(
    tmp_path: Path, every: str, settings: CheckpointSettings
) -> None:
    plain = load(write(tmp_path, GOOD)).recipe
    assert (plain.on_nan, plain.accumulate) == (OnNan.STOP, 1)
    assert plain.checkpoints == CheckpointSettings()
    lines = f"accumulate: 2\n  on_nan: rewind\n  checkpoints: {{every: {every}, keep: 4}}\n"
    recipe = load(write(tmp_path, GOOD.replace("batch: 4", lines + "  batch: 4"))).recipe
    assert (recipe.on_nan, recipe.accumulate) == (OnNan.REWIND, 2)
    assert recipe.checkpoints == replace(settings, keep=4)


def test_paths_are_read_from_the_studys_own_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("text")
    (tmp_path / "items.jsonl").write_text('{"text": "a"}\n')
    text = GOOD.replace("corpus: stdlib", "corpus: mine.txt")
    text = text.replace("      tokens: 32", "      file: items.jsonl")
    study = load(write(tmp_path, text))
    assert study.recipe.data.corpus.name == str(tmp_path / "mine.txt")
    (question,) = study.questions
    assert isinstance(question, ItemQuestion)
    assert question.settings["file"] == str(tmp_path / "items.jsonl")
    assert "take" not in question.settings  # keys of jobs from before it are as they were
    part = load(write(tmp_path, text.replace("items.jsonl", "items.jsonl\n      take: 4")))
    (question,) = part.questions
    assert isinstance(question, ItemQuestion)
    assert question.settings["take"] == 4


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in problems_of(tmp_path / "none.yaml")[0]


def test_a_file_that_is_no_mapping(tmp_path: Path) -> None:
    assert "must have the keys" in problems_of(write(tmp_path, "- a\n- b\n"))[0]


def test_the_placebo_expects_either_direction() -> None:
    assert placebo().direction == 0


@pytest.mark.parametrize(
    ("written", "model"),
    [
        ("{name: nano, layers: 3}", replace(SIZES["nano"], layers=3)),
        ("{name: nano, tied: false}", replace(SIZES["nano"], tied=False)),
        ("{name: nano, layers: 2}", "nano"),
    ],
)
def test_numbers_beside_a_size_replace_its_own(
    tmp_path: Path, written: str, model: str | DecoderSettings
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(GOOD.replace("model: nano", f"model: {written}"))
    assert load(file).recipe.model == model


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_is_a_good_study(tmp_path: Path, name: str) -> None:
    text = study_text(name)
    document = parse(write(tmp_path, text))
    study = load_trials(document) if is_over_task(document) else load_document(document)
    assert study.title == TEMPLATES[name].title
    assert all(question.ask for question in study.questions)
    assert text.count("  # ") > len(study.questions)  # it is commented


def test_the_quickstart_is_what_new_writes() -> None:
    example = Path(__file__).parents[2] / "examples" / "quickstart.yaml"
    assert example.read_text() == study_text("quickstart")


def test_processes_and_trackers(tmp_path: Path) -> None:
    plain = load(write(tmp_path, GOOD))
    assert (plain.recipe.processes, plain.recipe.recompute, plain.tracking) == (None, False, ())
    text = GOOD.replace("batch: 4", "processes: {count: 2, parallel: fsdp}\n  batch: 4")
    found = load(write(tmp_path, f"tracking: tensorboard\n{text}"))
    assert found.recipe.processes == ProcessSettings(count=2, parallel=Parallel.FSDP)
    assert found.tracking == (Tracker.TENSORBOARD,)


def test_a_batch_that_processes_cannot_part_is_a_problem(tmp_path: Path) -> None:
    lines = "accumulate: 2\n  processes: 4\n  batch: 4"
    with pytest.raises(StudyError) as error:
        load(write(tmp_path, GOOD.replace("batch: 4", lines)))
    (problem,) = error.value.problems
    assert problem.field == "recipe.processes"
    assert "parts the batch of 4 sequences evenly; with accumulate it makes 8" in problem.right


EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_example_is_a_study(file: Path) -> None:
    assert load(file).questions
