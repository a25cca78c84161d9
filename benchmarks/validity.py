"""Whether answers are true: by simulation, whose effects are known, and by runs of their own.

python benchmarks/validity.py coverage [--quick] [--json]
python benchmarks/validity.py agreement [--quick] [--json] [--workers N] [--plot FILE]
python benchmarks/validity.py planted [--json] [--workers N]
python benchmarks/validity.py beside [QUESTION] [--from 90%] [--length 10%] [--design alone]

coverage: studies of made-up measurements go through the analysis: how often 95 % intervals hold the
effect, for every kind of outcome; how often a study without effects is rejected; how far the power
is from what the plan promised, and what refutations take of it. Nothing is trained.

agreement: eight questions are asked in one trunk and each in runs of its own, at three seeds: how
far the answers differ, and in how many cells the shared interval holds the own runs' estimate.

planted: two questions use the same facts, at the size of the quick agreement: does the dependence
test catch it?

beside: one question of the agreement is asked beside each of the others in turn: which of them
moves its answer, and does the dependence test of the trunk that all share see it?
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainonce.analysis.effects import Sample, effect, mean, trend
from trainonce.analysis.refutations import Claimed, failed, refutations_of_items
from trainonce.analysis.verdicts import ALPHA, Verdict, standing, verdict
from trainonce.plan.power import POWER, detectable_effect
from trainonce.run.scheduler import Event

Floats = npt.NDArray[np.float64]

DOSES = (0, 1, 4, 16)
LAYOUTS = ((8, 2), (12, 2), (16, 4), (24, 4), (32, 1))
"""Units a dose, and the strata (a seed and a kind of item) that they come from."""


class World:
    """One made-up study: its units, what they differ by, and its true means.

    Strata differ by as much as units do, as kinds of items do; every dose has the same units of
    each stratum, as the lanes deal them.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        units, strata = LAYOUTS[random.integers(len(LAYOUTS))]
        self.doses = np.repeat(np.array(DOSES), units)
        self.strata = np.tile(np.arange(units) % strata, len(DOSES))
        self.share = np.log1p(self.doses) / math.log1p(DOSES[-1])
        self.shift = random.normal(0, 1, strata)[self.strata]

    def sample(self, values: Floats, low: float = -math.inf, high: float = math.inf) -> Sample:
        return Sample(values, self.doses, self.strata, low, high)


def continuous(world: World) -> tuple[Sample, float]:
    """A loss in nats: normal; treated units vary more."""
    change = world.random.normal(0, 1)
    noise = world.random.normal(0, 1 + 0.5 * world.share)
    return world.sample(world.shift + change * world.share + noise), change


def skewed(world: World) -> tuple[Sample, float]:
    """A perplexity: lognormal, and the treatment lowers mean and spread."""
    factor = world.random.uniform(0.4, 1)
    scale = 1 - (1 - factor) * world.share
    values = 0.3 * world.shift + scale * world.random.lognormal(0, 0.8, len(scale))
    return world.sample(values), (factor - 1) * math.exp(0.32)


def right_or_wrong(world: World) -> tuple[Sample, float]:
    """An accuracy."""
    return _rates(world, *world.random.uniform(0.05, 0.95, 2))


def rare(world: World) -> tuple[Sample, float]:
    """An extraction rate: next to never without insertions, sometimes with."""
    return _rates(world, world.random.uniform(0, 0.1), world.random.uniform(0.05, 0.5))


def _rates(world: World, control: float, treated: float) -> tuple[Sample, float]:
    rates = control + (treated - control) * world.share
    hits = world.random.random(len(rates)) < rates
    return world.sample(hits.astype(np.float64), 0, 1), treated - control


def shares(world: World) -> tuple[Sample, float]:
    """The share of a passage that is given back: most of it or little."""
    return _betas(world, *world.random.uniform(0.05, 0.95, 2), weight=0.7)


def probabilities(world: World) -> tuple[Sample, float]:
    """The probability of an answer: small at dose 0."""
    ends = world.random.uniform(0.01, 0.1), world.random.uniform(0.05, 0.5)
    return _betas(world, *ends, weight=8.0)


def _betas(world: World, control: float, treated: float, weight: float) -> tuple[Sample, float]:
    means = control + (treated - control) * world.share
    values = world.random.beta(weight * means, weight * (1 - means))
    return world.sample(values, 0, 1), treated - control


KINDS: dict[str, Callable[[World], tuple[Sample, float]]] = {
    one.__name__: one for one in (continuous, skewed, right_or_wrong, rare, shares, probabilities)
}


def coverage(kind: str, studies: int) -> float:
    """How often the interval of the highest dose against dose 0 holds the effect."""
    held = 0
    for study in range(studies):
        sample, truth = KINDS[kind](
            World(np.random.default_rng([study, sorted(KINDS).index(kind)]))
        )
        found = effect(sample.of(DOSES[-1]), sample.of(0))
        held += found.low <= truth <= found.high
    return held / studies


def paired(studies: int) -> float:
    """How often the interval of the held-out loss' change holds it: blocks are paired."""
    held = 0
    for study in range(studies):
        random = np.random.default_rng([study, 99])
        change = random.normal(0, 0.02)
        values = change + 0.01 * random.standard_t(5, 32)
        sample = Sample(values, np.zeros(32, dtype=np.int64), np.repeat([0, 1], 16))
        found = mean(sample)
        held += found.low <= change <= found.high
    return held / studies


def rejected(studies: int) -> float:
    """How often a study whose doses do nothing has a p-value under 5 %, over all kinds."""
    rejections = 0
    for study in range(studies):
        random = np.random.default_rng([study, 7])
        world = World(random)
        world.share = np.zeros_like(world.share)
        sample, _ = KINDS[sorted(KINDS)[study % len(KINDS)]](world)
        rejections += trend(sample, random) < ALPHA
    return rejections / studies


def power(studies: int) -> tuple[float, float]:
    """Points between how often the smallest detectable effect is found and what was promised.

    Normal outcomes at two doses, which is what the plan's formula is of. And the points of it that
    refutations take, where a seed's items are a stratum.
    """
    found = kept = 0
    for study in range(studies):
        random = np.random.default_rng([study, 8])
        units, strata = LAYOUTS[study % len(LAYOUTS)]
        smallest = detectable_effect(units, units, 1.0, questions=1, strata=strata)
        doses = np.repeat([0, DOSES[-1]], units)
        values = random.normal(0, 1, 2 * units) + smallest * (doses > 0)
        sample = Sample(values, doses, np.tile(np.arange(units) % strata, 2))
        estimate = effect(sample.of(DOSES[-1]), sample.of(0))
        p = trend(sample, random)
        told = verdict(estimate, p, 1, smallest / 100, units)
        claim = Claimed(
            found=told,
            estimate=estimate.value,
            p_adjusted=p,
            direction=1,
            smallest=smallest / 100,
        )
        seeds = {seed: sample.strata % 2 == seed for seed in range(min(2, strata))}
        groups = {f"seed {seed}": inside for seed, inside in seeds.items()}
        checks = refutations_of_items(claim, sample, groups, seeds, random)
        found += told is Verdict.YES
        kept += standing(told, list(failed(checks)))[0] is Verdict.YES
    return 100 * (found / studies - POWER), 100 * (found - kept) / studies


def _coverage(studies: int, *, as_json: bool) -> None:
    held = {kind: coverage(kind, studies) for kind in KINDS}
    held["paired"] = paired(studies)
    gap, taken = power(studies)
    document = {
        "coverage": held,
        "aa": rejected(studies),
        "power_gap": gap,
        "taken_by_refutations": taken,
    }
    if as_json:
        print(json.dumps({**document, "studies": studies}, indent=1))
        return
    print(f"{studies} studies each; 95 % intervals hold the effect, by kind of outcome:")
    for kind, share in held.items():
        print(f"  {kind.replace('_', ' '):16}{share:.3f}")
    print(f"A/A rejected: {document['aa']:.3f}; power over what was promised, in points: ", end="")
    print(f"{gap:+.1f}; refutations take {taken:.1f} of it")


def _agreement(*, quick: bool, as_json: bool, workers: int | None, plot: Path | None) -> None:
    import agreement
    from agreement_plot import svg

    from trainonce.stream.home import home

    found = agreement.agreement(home(), quick=quick, workers=workers, report=_tell)
    if plot:
        plot.write_text(svg(found.cells), encoding="utf-8")
    print(json.dumps(found.to_json(), indent=1) if as_json else agreement.table(found))


def _planted(*, as_json: bool, workers: int | None) -> None:
    import planted

    from trainonce.stream.home import home

    found = planted.planted(home(), workers=workers)
    print(json.dumps(found.to_json(), indent=1) if as_json else planted.table(found))


def _beside(
    question: str,
    start: str,
    length: str,
    design: str | None,
    *,
    quick: bool,
    as_json: bool,
    workers: int | None,
) -> None:
    import beside

    from trainonce.plan.dependence import asked
    from trainonce.stream.home import home

    found = beside.beside(
        question,
        home(),
        wanted=asked(start, length, design),
        quick=quick,
        workers=workers,
        report=_tell,
    )
    print(json.dumps(found.to_json(), indent=1) if as_json else beside.table(found))


def _tell(event: Event) -> None:
    if event.kind in ("done", "failed"):
        print(f"{event.kind}: {event.job.reason}", file=sys.stderr, flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("what", choices=["coverage", "agreement", "planted", "beside"])
    options.add_argument("question", nargs="?", default="trigger", help="of beside")
    options.add_argument("--from", dest="start", default="90%", help="of beside's test")
    options.add_argument("--length", default="10%", help="of beside's test")
    options.add_argument("--design", choices=["alone", "factorial"], help="of beside's test")
    options.add_argument(
        "--quick", action="store_true", help="200 studies in place of 2,000; tiny runs at one seed"
    )
    options.add_argument("--json", action="store_true", help="one document on standard output")
    options.add_argument("--workers", type=int, help="processes side by side, to train")
    options.add_argument("--plot", type=Path, help="an SVG file to draw agreement into")
    chosen = options.parse_args()
    if chosen.what == "agreement":
        _agreement(
            quick=chosen.quick, as_json=chosen.json, workers=chosen.workers, plot=chosen.plot
        )
    elif chosen.what == "beside":
        _beside(
            chosen.question,
            chosen.start,
            chosen.length,
            chosen.design,
            quick=chosen.quick,
            as_json=chosen.json,
            workers=chosen.workers,
        )
    elif chosen.what == "planted":
        _planted(as_json=chosen.json, workers=chosen.workers)
    else:
        _coverage(200 if chosen.quick else 2000, as_json=chosen.json)


if __name__ == "__main__":
    main()
