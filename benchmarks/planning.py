"""How long it takes to load and plan a study of many questions; nothing is trained.

    python benchmarks/planning.py                  1,000 questions
    python benchmarks/planning.py --questions 100  fewer
    python benchmarks/planning.py --json           one document on standard output

The study is generated: of ten questions, six insert items into the trunk, one inserts them late in
a run of its own, two change a number of the recipe from step 0 and one does so late. Each has
settings of its own, so that no run is shared but the trunk and the plain run. The corpus is made
of random words and prepared before the clock starts, as it is once for all studies.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from trainonce.plan.planner import plan
from trainonce.run.cache import JobCache
from trainonce.stream.corpus import prepare
from trainonce.study.load import load

KINDS = 10


def study_text(questions: int, corpus: Path) -> str:
    """A study of so many questions on ``corpus``."""
    return yaml.safe_dump(
        {
            "study": f"{questions} questions",
            "recipe": {
                "data": {"corpus": str(corpus), "tokenizer": {"vocabulary": 300}, "sequence": 128},
                "model": {"width": 16, "layers": 1, "heads": 2},
                # so long that no two of a thousand questions lead to the same slots
                "length": "2M steps",
                "seeds": [1, 2],
            },
            "questions": list(_questions(questions)),
        },
        sort_keys=False,
    )


def _questions(count: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        kind, own = number % KINDS, number / count
        name = {"id": f"question-{number}"}
        items = {"method": "memorization", "doses": [0, 4], "passages": 0, "canaries": 8}
        if kind < 3:
            yield {**name, "treatment": items}
        elif kind < 6:
            facts = {"method": "knowledge", "doses": [0, 4], "people": 4}
            yield {**name, "treatment": facts}
        elif kind < 7:
            yield {**name, "treatment": items, "window": [0.5, 1], "how": "fork"}
        elif kind < 9:
            yield {**name, "treatment": {"change": {"optimizer.lr": 1e-3 + own * 1e-3}}}
        else:
            yield {**name, "treatment": {"change": {"schedule.floor": 0.1 + own / 2}}, "at": 0.6}


def corpus_file(folder: Path) -> Path:
    """Documents of random words."""
    draw = random.Random(7)
    words = ["".join(draw.choices("abcdefghij", k=5)) for _ in range(200)]
    file = folder / "corpus.jsonl"
    with file.open("w", encoding="utf-8") as opened:
        for _ in range(600):
            opened.write(json.dumps({"text": " ".join(draw.choices(words, k=120))}) + "\n")
    return file


def measure(questions: int, folder: Path) -> dict[str, float]:
    """Seconds to load and to plan a study of so many questions, in ``folder``."""
    file, home = folder / "study.yaml", folder / "home"
    file.write_text(study_text(questions, corpus_file(folder)), encoding="utf-8")
    prepare(load(file).recipe.data, home)
    start = time.perf_counter()
    study = load(file)
    loaded = time.perf_counter()
    found = plan(study, home, known=JobCache(home).variant)
    digest = found.hash
    ended = time.perf_counter()
    assert digest
    return {
        "questions": questions,
        "jobs": len(found.jobs),
        "run_equivalents": round(found.run_equivalents, 2),
        "load_seconds": round(loaded - start, 2),
        "plan_seconds": round(ended - loaded, 2),
        "seconds": round(ended - start, 2),
    }


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.questions, Path(folder))
    if given.json:
        print(json.dumps(found))
    else:
        print(
            f"{found['questions']:,} questions, {found['jobs']:,} jobs: {found['seconds']} s "
            f"({found['load_seconds']} to load, {found['plan_seconds']} to plan)"
        )


if __name__ == "__main__":
    main()
