"""Data ablations: which mixture of text is best to train on, told from models of its parts.

Shape suffixes: B batch, T tokens, N tokens of a whole text.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Literal

import torch
from scipy import stats
from torch import Tensor, nn

from trainonce.methods.optimizer.schedule.rewarm import Rewarm
from trainonce.methods.registry import Outcome
from trainonce.methods.weights.merging.average import Average
from trainonce.sites import SettingError
from trainonce.tasks.bundles.language import (
    decoder,
    heldout_loss,
    pieces,
    tokenizer,
    train_on,
    windows,
)
from trainonce.tasks.registry import task

RANK = Outcome(
    name="rank_correlation",
    says="Spearman's correlation, over mixtures, of what is told of them and what training gives",
    direction=1,
    smallest=0.2,
    spread=0.2,
    low=-1.0,
    high=1.0,
)
PARTS = 5


@task(outcomes=(RANK,), packages=("python", "tokenizers"))
@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Ranks mixtures of parts of a text by their loss on another text, without training on them.

    The parts are two stretches of the standard library's code and three of its manual; a model is
    to be good at both, on text that no part holds. From one seed model, one model goes on with each
    part; a sample of mixtures is trained for real, from the same seed model with as many steps as a
    part had. A seed draws the weights, the windows of text and the sample.

    Attributes:
        told_by: ``merged``: the loss of the average of the parts' models; ``losses``: the average
            of their losses; ``size``: how many parts there are, which knows nothing of them.
        mixtures: that are trained for real, of the 26 of two parts or more.
        seed_steps: of the seed model.
        steps: of each part's model and of each mixture.
        width: of the decoder.
        layers: of the decoder.
        batch: windows a step.
        sequence: tokens a window.
        lr: the peak learning rate.
        vocabulary: tokens of the tokenizer.
    """

    told_by: Literal["merged", "losses", "size"] = "merged"
    mixtures: int = 8
    seed_steps: int = 60
    steps: int = 60
    width: int = 48
    layers: int = 2
    batch: int = 8
    sequence: int = 64
    lr: float = 4e-3
    vocabulary: int = 512

    def __post_init__(self) -> None:
        """Refuse a sample that has no order, or more mixtures than there are."""
        most = len(_mixtures())
        if not 3 <= self.mixtures <= most:
            raise SettingError("mixtures", f"from 3 to {most}, not {self.mixtures}")

    def __call__(self, seed: int) -> dict[str, float]:
        """The rank correlation over the mixtures that are trained for real."""
        parts, trained = _trained(replace(self, told_by="merged"), seed)
        told = [self._told([parts[part] for part in mixture]) for mixture in trained]
        if len(set(told)) == 1:  # what says the same of all ranks nothing
            return {"rank_correlation": 0.0}
        return {"rank_correlation": float(stats.spearmanr(told, list(trained.values())).statistic)}

    def _told(self, models: Sequence[nn.Module]) -> float:
        """What is said of the loss of a mixture of the parts that ``models`` went on with."""
        if self.told_by == "merged":
            return self.loss(Average()(models))
        if self.told_by == "losses":
            return sum(map(self.loss, models)) / len(models)
        return float(len(models))

    def loss(self, model: nn.Module) -> float:
        """The loss on the text that a model is to be good at."""
        return heldout_loss(model, _texts(self.vocabulary)[PARTS], self.sequence)


@lru_cache(maxsize=8)
def _trained(task: Ablation, seed: int) -> tuple[list[nn.Module], dict[tuple[int, ...], float]]:
    """The parts' models, and the loss of each mixture that was trained for real."""
    torch.manual_seed(seed)
    drawn = torch.Generator().manual_seed(seed)
    texts = _texts(task.vocabulary)
    start = decoder(task.vocabulary, task.width, task.layers, 4, drawn)
    _train(task, start, range(PARTS), task.seed_steps, drawn)
    models = [_gone_on(task, start, (part,), drawn) for part in range(PARTS)]
    order = torch.randperm(len(_mixtures()), generator=drawn)[: task.mixtures]
    chosen = [_mixtures()[number] for number in order.tolist()]
    held = texts[PARTS]
    return models, {
        mixture: heldout_loss(_gone_on(task, start, mixture, drawn), held, task.sequence)
        for mixture in chosen
    }


def _gone_on(
    task: Ablation, start: nn.Module, mixture: Sequence[int], drawn: torch.Generator
) -> nn.Module:
    model = copy.deepcopy(start)
    _train(task, model, mixture, task.steps, drawn)
    return model


def _train(
    task: Ablation, model: nn.Module, mixture: Sequence[int], steps: int, drawn: torch.Generator
) -> None:
    """Train on parts in equal shares, a part a step in turn of a shuffled round."""
    texts = _texts(task.vocabulary)
    reads = [windows(texts[part], task.batch, task.sequence, drawn) for part in mixture]
    in_turn = (next(read) for read in itertools.cycle(reads))
    train_on(model, in_turn, steps, task.lr, Rewarm(warmup=0.1))


@cache
def _mixtures() -> list[tuple[int, ...]]:
    """All mixtures of two parts or more."""
    sizes = range(2, PARTS + 1)
    return [one for size in sizes for one in itertools.combinations(range(PARTS), size)]


@cache
def _texts(vocabulary: int) -> list[Tensor]:
    """The parts, and last the text that a model is to be good at, of code and manual alike."""
    manual, code = pieces("manual"), pieces("code")
    held = [*code[::10][:8], *manual[::10][:8]]
    left = [[piece for n, piece in enumerate(one) if n % 10] for one in (code, manual)]
    stretches = [*_stretches(left[0], 2), *_stretches(left[1], 3), held]
    known = tokenizer(vocabulary)
    return [
        torch.tensor([token for piece in known.encode_batch(one) for token in piece])
        for one in stretches
    ]


def _stretches(found: Sequence[str], count: int) -> list[Sequence[str]]:
    size = len(found) // count
    return [found[number * size : (number + 1) * size] for number in range(count)]
