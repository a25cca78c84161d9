"""How much early stopping saves on real curves, and how often it stops the arm that ends best.

python benchmarks/early_stopping.py --data FOLDER [--quick] [--json]

FOLDER holds algoperf-curves/algoperf_eval_curves.csv.gz (optimizer runs of the AlgoPerf benchmark)
and speedrun-logs/modded_nanogpt_val_curves.csv.gz (logs of the NanoGPT speedruns).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from trainonce.plan.early.calibration import calibrated_halving, rehearsed
from trainonce.plan.early.halving import Halving, rungs
from trainonce.plan.early.prediction import FEWEST, fit_predictors
from trainonce.plan.early.rule import Rule, replay
from trainonce.plan.early.stopping import Predictive

Floats = npt.NDArray[np.float64]

CHECKPOINTS = 16
CHANCES = (0.05, 0.2)
KEEPS = np.arange(0.25, 1.01, 0.0625)
AFTER = (2, 3, 4, 6, 8, 10, 12, 14)
HALVING = Halving(rungs=rungs(CHECKPOINTS))


@dataclass(frozen=True)
class Case:
    """Arms of one study, and finished curves to learn from."""

    arms: Floats
    references: Floats


@dataclass(frozen=True)
class Row:
    """What one rule did over the studies of one source."""

    source: str
    rule: str
    chance: float | None
    studies: int
    arms: float
    saved: float
    wrong: int
    wrong_share: float
    spent: float
    regret: float


def curve(steps: Floats, losses: Floats) -> Floats:
    """A run at equal parts of its length; what is not finite counts as the worst that it had."""
    worst = np.nanmax(np.where(np.isfinite(losses), losses, np.nan))
    whole = np.where(np.isfinite(losses), losses, worst)
    return np.interp(np.linspace(1 / CHECKPOINTS, 1, CHECKPOINTS) * steps[-1], steps, whole)


def clipped(curves: Floats) -> Floats:
    """Arms that diverged count as having learned nothing: their values end at a usual start."""
    return np.minimum(curves, np.median(curves[:, 0]))


def algoperf(folder: Path) -> dict[str, list[Case]]:
    """Studies of one workload and seed, against other seeds; and of one submission's arms alone."""
    table = pl.read_csv(
        folder / "algoperf-curves" / "algoperf_eval_curves.csv.gz",
        infer_schema_length=None,
        schema_overrides={"trial": pl.String},
    ).filter((pl.col("version") == "v05") & (pl.col("ruleset") == "external"))
    seeds: list[Case] = []
    submissions: list[Case] = []
    for _, group in sorted(table.group_by("workload"), key=lambda pair: str(pair[0])):
        runs = _whole_runs(group)
        studies = sorted({study for study, _ in runs})
        for study in studies:
            arms = [c for (s, _), found in runs.items() if s == study for c in found]
            others = [c for (s, _), found in runs.items() if s != study for c in found]
            _add(seeds, arms, others, least=8)
            for submission in sorted({name for s, name in runs if s == study}):
                others = [c for (_, n), found in runs.items() if n != submission for c in found]
                _add(submissions, runs[study, submission], others, least=4)
    return {
        "AlgoPerf, learned from other seeds": seeds,
        "AlgoPerf, learned from other optimizers": submissions,
    }


def _whole_runs(group: pl.DataFrame) -> dict[tuple[int, str], list[Floats]]:
    """Curves of the runs of a workload that went on to its end, by seed and submission."""
    end = group["step"].max()
    assert isinstance(end, int)
    found: dict[tuple[int, str], list[Floats]] = {}
    keys = ("study", "submission", "trial")
    for (study, submission, _), run in sorted(group.group_by(*keys), key=lambda pair: pair[0]):
        ordered = run.sort("step")
        steps = ordered["step"].to_numpy().astype(np.float64)
        losses = ordered["val_loss"].cast(pl.Float64).to_numpy()
        if steps[-1] >= 0.9 * end and len(steps) >= 8 and np.isfinite(losses).any():
            found.setdefault((study, submission), []).append(curve(steps, losses))
    return found


def _add(cases: list[Case], arms: list[Floats], references: list[Floats], least: int) -> None:
    if len(arms) >= least and len(references) >= 2 * FEWEST:
        every = clipped(np.array([*arms, *references]))
        cases.append(Case(every[: len(arms)], every[len(arms) :]))


def speedruns(folder: Path, count: int) -> dict[str, list[Case]]:
    """Studies of 8 arms: one run of each of 8 submissions, and 8 seeds of one record (A/A)."""
    table = pl.read_csv(
        folder / "speedrun-logs" / "modded_nanogpt_val_curves.csv.gz", infer_schema_length=None
    ).filter(pl.col("val_loss").is_not_null() & (pl.col("step") > 0))
    random = np.random.default_rng(0)
    named: dict[str, list[Floats]] = {}
    same: list[Floats] = []
    for (record, run), rows in sorted(table.group_by("record", "run"), key=lambda pair: pair[0]):
        ordered = rows.sort("step")
        steps = ordered["step"].to_numpy().astype(np.float64)
        if len(steps) < 10:
            continue
        found = curve(steps, ordered["val_loss"].to_numpy())
        if record == "results":
            named.setdefault(str(run).split("/")[0], []).append(found)
        elif record == "2024-12-08_UNetValueEmbedsTweaks":
            same.append(found)
    mixed, twins = [], []
    names = sorted(named)
    for _ in range(count):
        order = random.permutation(len(names))
        picked = [named[names[i]][random.integers(len(named[names[i]]))] for i in order]
        mixed.append(Case(np.array(picked[:8]), np.array(picked[8:])))
        seeds = np.array(same)[random.permutation(len(same))]
        twins.append(Case(seeds[:8], seeds[8:40]))
    return {
        "speedruns, 8 submissions": mixed,
        "speedruns, 8 seeds of one record (A/A)": twins,
    }


def trusted(case: Case, chance: float) -> Rule:
    """The rule of predictions, its spread taken at its word."""
    nothing = np.zeros((len(case.references), 0))
    return Predictive(
        predictors=fit_predictors(case.references, nothing, AFTER),
        features=np.zeros((len(case.arms), 0)),
        spend=chance,
        chance=chance,
    )


def tried(case: Case, chance: float) -> Rule:
    """The rule of predictions, as bold as rehearsals among the references allow."""
    nothing = np.zeros((len(case.references), 0))
    return rehearsed(case.references, nothing, np.zeros((len(case.arms), 0)), AFTER, chance)


def halved(cases: Sequence[Case], index: int, chance: float) -> Rule:
    """Halving, as bold as all other studies of the source allow."""
    others = [case.arms for at, case in enumerate(cases) if at != index]
    return calibrated_halving(HALVING, KEEPS, others, chance)


def measure(
    source: str,
    name: str,
    chance: float | None,
    cases: Sequence[Case],
    rule: Callable[[int], Rule],
) -> Row:
    """Replay a rule over all studies of a source."""
    played = [replay(rule(index), case.arms) for index, case in enumerate(cases)]
    regrets = [one.regret / case.arms[:, -1].min() for one, case in zip(played, cases, strict=True)]
    wrong = sum(one.wrong for one in played)
    return Row(
        source=source,
        rule=name,
        chance=chance,
        studies=len(cases),
        arms=float(np.mean([len(case.arms) for case in cases])),
        saved=1 - float(np.mean([one.share for one in played])),
        wrong=wrong,
        wrong_share=wrong / len(cases),
        spent=float(np.mean([one.spent for one in played])),
        regret=float(np.mean(regrets)),
    )


def measure_all(folder: Path, quick: bool) -> list[Row]:
    """Each rule on each source."""
    rows = []
    sources = {**algoperf(folder), **speedruns(folder, 40 if quick else 100)}
    for source, every in sources.items():
        cases = every[::4] if quick and len(every) > 60 else every
        rows.append(measure(source, "halving", None, cases, lambda _: HALVING))
        for chance in CHANCES:
            rules: dict[str, Callable[[int], Rule]] = {
                "halving, calibrated": lambda i, c=cases, p=chance: halved(c, i, p),
                "prediction": lambda i, c=cases, p=chance: trusted(c[i], p),
                "prediction, rehearsed": lambda i, c=cases, p=chance: tried(c[i], p),
            }
            for name, rule in rules.items():
                rows.append(measure(source, name, chance, cases, rule))
    return rows


def table(rows: list[Row]) -> str:
    """The rows as text."""
    lines = [f"{'source':42}{'rule':23}{'allowed':>8}{'studies':>8}{'arms':>6}{'saved':>8}"]
    lines[0] += f"{'wrong':>8}{'spent':>8}{'regret':>8}"
    for row in rows:
        allowed = "" if row.chance is None else f"{row.chance:.2f}"
        lines.append(
            f"{row.source:42}{row.rule:23}{allowed:>8}{row.studies:8}{row.arms:6.1f}"
            f"{row.saved:8.1%}{row.wrong_share:8.1%}{row.spent:8.3f}{row.regret:8.2%}"
        )
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--data", type=Path, required=True, help="the folder of curves")
    options.add_argument("--quick", action="store_true", help="fewer studies")
    options.add_argument("--json", action="store_true", help="one document on standard output")
    chosen = options.parse_args()
    rows = measure_all(chosen.data, chosen.quick)
    if chosen.json:
        print(json.dumps({"checkpoints": CHECKPOINTS, "rows": [asdict(r) for r in rows]}, indent=1))
        return
    print("saved: of all steps; wrong: studies whose best arm was stopped; spent: mean sum")
    print("of the chances that stopped arms had to end best, as the rule saw them; regret: mean")
    print("loss given up, over the best.\n")
    print(table(rows))


if __name__ == "__main__":
    main()
