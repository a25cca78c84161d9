"""Published benchmarks and texts as a user's own items: what a run that read them knows of them.

python benchmarks/own_items.py FOLDER [FOLDER ...] [--quick] [--json] [--workers N]

Every JSONL file of the folders is used as it is. Lines with `choices` are a test: contamination,
all of them in one trunk, accuracy by how often an item was in the training data (the published
direction, arXiv 2509.23383: it grows). Lines with `text` are passages: in a trunk of their own,
since they may be the same items, with scores of membership (arXiv 2510.19811), or, for
forbidden_documents, how much of them is given back. Each question takes a part of its file, drawn
at random at each seed. Jobs are kept in the home folder; what was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from agreement import machine

from trainonce.analysis.detection import detection
from trainonce.analysis.effects import Estimate, effect, mean
from trainonce.analysis.pairs import measured
from trainonce.analysis.samples import sample_of
from trainonce.lab import Study
from trainonce.methods.registry import Outcome, probe_of
from trainonce.run.scheduler import Event
from trainonce.stream.corpora import json_lines
from trainonce.stream.home import home
from trainonce.study.problems import StudyError
from trainonce.study.questions import ItemQuestion
from trainonce.study.schema import AA

Settings = dict[str, Any]
Row = dict[str, Any]

FULL: Settings = {
    "data": {"tokenizer": {"vocabulary": 1024}, "sequence": 128},
    "model": "nano",
    "optimizer": {"lr": 3e-3},
    "batch": 8,
    "length": "1.6M tokens",
    "seeds": [1, 2],
    "allow_changed": 0.4,
}
QUICK: Settings = {
    **FULL,
    "model": {"width": 32, "layers": 1, "heads": 2},
    "batch": 16,
    "length": "120 steps",
    "seeds": [1],
}
DOSES, QUICK_DOSES = (0, 4, 16, 64), (0, 2, 8)
TAKE = 8
"""Items a dose and seed of each file."""
SPLITS = ("test", "validation")
"""Of a test with several, the first of these is taken: `NAME.SPLIT.jsonl.gz`."""
GIVEN_BACK = ("forbidden_documents",)
"""Texts that are asked to be given back, in place of whether they were members."""
POOLED = "all"
LANE = re.compile(r"write `lane: (\d+)` into question '([^']+)'")


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A file that is asked about.

    Attributes:
        name: of the question.
        file: as it is, or with blanks brought to the end.
        items: in it.
        chance: of guessing right, where items have choices.
    """

    name: str
    file: Path
    items: int
    chance: float | None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question, or all of one method together.

    Attributes:
        question: its name.
        items: in the file.
        drawn: of them, over all seeds.
        left_out: more that were drawn and do not fit a sequence.
        chance: of guessing right, where items have choices.
    """

    question: str
    items: int
    drawn: int
    left_out: int
    chance: float | None

    @classmethod
    def together(cls, parts: list[Asked]) -> Asked:
        """Several questions as one, as many items of each."""
        chances = [part.chance for part in parts if part.chance is not None]
        return cls(
            question=POOLED,
            items=sum(part.items for part in parts),
            drawn=sum(part.drawn for part in parts),
            left_out=sum(part.left_out for part in parts),
            chance=sum(chances) / len(chances) if chances else None,
        )


@dataclass(frozen=True, kw_only=True)
class Found:
    """One outcome over the doses.

    Attributes:
        asked: the question.
        outcome: what was measured.
        doses: the mean at each.
        effects: of each against dose 0; empty where a score tells members.
        auc: the chance that a member looks more like one, where a score tells them.
    """

    asked: Asked
    outcome: str
    doses: dict[int, Estimate]
    effects: dict[int, Estimate]
    auc: Estimate | None


def rows_of(file: Path) -> list[Row]:
    """The lines of a JSONL file."""
    return [row for _, row in json_lines(file)]


def named(file: Path) -> str:
    """A question's name from that of its file."""
    return file.name.partition(".")[0].lower()


def at_the_end(row: Row) -> Row:
    """An item whose choices fill a blank, as one whose choices go on from what stands before it."""
    before, after = row["query"].split("_")
    return {
        "query": before.rstrip(),
        "choices": [f"{choice}{after}" for choice in row["choices"]],
        "gold": row["gold"],
    }


def test(file: Path, rows: list[Row], folder: Path) -> Taken:
    """A file of multiple-choice items, rewritten where all of them have a blank within."""
    chance = sum(1 / len(row["choices"]) for row in rows) / len(rows)
    if all(row.get("query", "").count("_") == 1 for row in rows):
        written = "".join(json.dumps(at_the_end(row)) + "\n" for row in rows)
        file = folder / f"{named(file)}.jsonl"
        file.write_text(written, encoding="utf-8")
    return Taken(name=named(file), file=file, items=len(rows), chance=chance)


def found_in(folders: list[Path], scratch: Path) -> tuple[list[Taken], list[Taken]]:
    """The tests and the texts of the folders.

    Raises:
        SystemExit: when they hold neither.
    """
    tests: dict[str, Taken] = {}
    texts: dict[str, Taken] = {}
    files = [file for folder in folders for file in folder.glob("*.jsonl*")]
    for split in (*SPLITS, None):
        for file in sorted(files):
            chosen = split is None or f".{split}." in file.name
            if not chosen or named(file) in tests or named(file) in texts:
                continue
            rows = rows_of(file)
            if "choices" in rows[0]:
                tests[named(file)] = test(file, rows, scratch)
            elif "text" in rows[0]:
                texts[named(file)] = Taken(
                    name=named(file), file=file, items=len(rows), chance=None
                )
    if not tests and not texts:
        raise SystemExit("no JSONL file of these folders has lines with `choices` or `text`")
    return sorted(tests.values(), key=lambda one: one.name), list(texts.values())


def treatment(taken: Taken, doses: tuple[int, ...]) -> Settings:
    """What is asked of a file."""
    own = {"doses": list(doses), "file": str(taken.file), "take": TAKE * len(doses)}
    if taken.chance is not None:
        return {"method": "contamination", **own}
    if taken.name in GIVEN_BACK:
        return {"method": "memorization", "canaries": 0, **own}
    return {"method": "passages", **own}


def study(
    title: str, recipe: Settings, doses: tuple[int, ...], files: list[Taken], lanes: dict[str, int]
) -> str:
    """The study file: a question a file, all in one trunk."""
    questions = [
        {"id": one.name, "lane": lanes.get(one.name, 0), "treatment": treatment(one, doses)}
        for one in files
    ]
    whole = {"study": title, "recipe": recipe, "questions": questions, "checks": {"plain": False}}
    return yaml.safe_dump(whole, sort_keys=False)


def planned(
    title: str, recipe: Settings, doses: tuple[int, ...], files: list[Taken], scratch: Path
) -> Study:
    """The study with the lanes that its plan asks for.

    Raises:
        StudyError: when it cannot be planned for another reason.
    """
    lanes: dict[str, int] = {}
    while True:
        file = scratch / f"{title}.yaml"
        file.write_text(study(title, recipe, doses, files, lanes), encoding="utf-8")
        loaded = Study.load(file, home())
        try:
            loaded.plan()
        except StudyError as error:
            asked = {name: int(lane) for lane, name in LANE.findall(str(error))}
            if not asked.items() - lanes.items():
                raise
            lanes |= asked
        else:
            return loaded


def summed(rows: pl.DataFrame, outcome: Outcome, asked: Asked) -> Found:
    """The doses of one outcome, and what they say."""
    sample = sample_of(rows.filter(pl.col("outcome") == outcome.name), outcome)
    doses = sorted({*sample.doses.tolist()})
    auc, effects = None, {}
    if outcome.detects:
        told = detection(outcome.name, sample, outcome.direction)
        auc = Estimate(told.auc, told.low, told.high)
    else:
        effects = {dose: effect(sample.of(dose), sample.of(0)) for dose in doses if dose}
    return Found(
        asked=asked,
        outcome=outcome.name,
        doses={dose: mean(sample.of(dose)) for dose in doses},
        effects=effects,
        auc=auc,
    )


def answered(loaded: Study, files: list[Taken]) -> list[Found]:
    """Each question's outcomes, and those of all questions of one method together."""
    by_name = {one.name: one for one in files}
    together: dict[str, list[tuple[Asked, pl.DataFrame]]] = {}
    outcomes: dict[str, tuple[Outcome, ...]] = {}
    found = []
    plan = loaded.plan()
    for planned in plan.questions:
        question = planned.question
        if question.id == AA:
            continue
        assert isinstance(question, ItemQuestion)
        assert planned.sizes is not None
        asked = Asked(
            question=question.id,
            items=by_name[question.id].items,
            drawn=planned.units,
            left_out=planned.sizes.left_out,
            chance=by_name[question.id].chance,
        )
        method = question.method.name
        outcomes[method] = probe_of(question.method).outcomes
        rows = pl.concat([measured(plan, question.id, outcome) for outcome in outcomes[method]])
        found += [summed(rows, outcome, asked) for outcome in outcomes[method]]
        kinds = rows.with_columns(kind=pl.lit(question.id))
        together.setdefault(method, []).append((asked, kinds))
    for method, parts in together.items():
        if len(parts) > 1:
            asked = Asked.together([asked for asked, _ in parts])
            rows = pl.concat([rows for _, rows in parts])
            found += [summed(rows, outcome, asked) for outcome in outcomes[method]]
    return found


def run(folders: list[Path], *, quick: bool, workers: int | None) -> dict[str, Any]:
    """Ask everything, and what came out as JSON data."""

    def tell(event: Event) -> None:
        if event.kind in ("done", "failed"):
            print(f"{event.kind}: {event.job.reason}", file=sys.stderr, flush=True)

    recipe, doses = (QUICK, QUICK_DOSES) if quick else (FULL, DOSES)
    start = time.monotonic()
    document: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        tests, texts = found_in(folders, Path(scratch))
        for title, files in (("tests", tests), ("texts", texts)):
            if not files:
                continue
            loaded = planned(title, recipe, doses, files, Path(scratch))
            answers = loaded.run(workers=workers, report=tell).answers
            document[title] = {
                "changed_share": answers.changed_share,
                "verdicts": {one.question: one.verdict.value for one in answers.answers},
                "outcomes": [asdict(one) for one in answered(loaded, files)],
            }
    return {**document, "seconds": time.monotonic() - start, "machine": machine()}


def said(estimate: Mapping[str, float] | None) -> str:
    """An estimate with its interval as text."""
    if estimate is None:
        return ""
    return f"{estimate['value']:.2f} ({estimate['low']:.2f} to {estimate['high']:.2f})"


def table(found: Mapping[str, Any]) -> str:
    """All of it as text."""
    lines = []
    for title in ("tests", "texts"):
        if title not in found:
            continue
        part = found[title]
        decides: dict[str, str] = {}  # a question's first outcome
        lines.append(f"{title}: {part['changed_share']:.1%} of the tokens changed")
        for one in part["outcomes"]:
            means = ", ".join(f"{dose}: {own['value']:.2f}" for dose, own in one["doses"].items())
            top = one["effects"].get(max(one["effects"], default=0))
            told = f"effect {said(top)}" if top else f"area under the ROC {said(one['auc'])}"
            asked = one["asked"]
            shown = one["outcome"] == "accuracy"
            chance = f", chance {asked['chance']:.2f}" if shown else ""
            verdict = part["verdicts"].get(asked["question"], "")
            first = one["outcome"] == decides.setdefault(asked["question"], one["outcome"])
            lines.append(
                f"{asked['question']:26} {one['outcome']:12} {asked['drawn']:4} drawn, "
                f"{asked['left_out']:4} left out of {asked['items']:6}{chance}; {means}; {told} "
                f"{verdict if first else ''}"
            )
    lines.append(f"{found['seconds']:.0f} s")
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("folder", type=Path, nargs="+", help="of JSONL files, plain or .gz")
    options.add_argument("--quick", action="store_true", help="a smaller model, shorter, one seed")
    options.add_argument("--workers", type=int, help="processes side by side")
    options.add_argument("--json", action="store_true", help="one document on standard output")
    given = options.parse_args()
    found = run(given.folder, quick=given.quick, workers=given.workers)
    print(json.dumps(found, indent=1) if given.json else table(found))


if __name__ == "__main__":
    main()
