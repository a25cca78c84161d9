"""What computing layers twice saves in memory and costs in time: `recipe.recompute`."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import time

import torch

from trainonce.models.build import build
from trainonce.models.layers import recompute
from trainonce.train.loop import adamw, token_losses
from trainonce.train.settings import AdamWSettings

SHAPES = {"mini": (8, 256), "small": (8, 512)}
VOCABULARY = 1024


def measure(size: str, twice: bool, steps: int) -> tuple[float, float]:
    """Peak memory in MB above that before the first step, and CPU seconds a step."""
    torch.set_num_threads(1)
    model = build(size, VOCABULARY, seed=1).train()
    if twice:
        recompute(model)
    optimizer = adamw(model.named_parameters(), AdamWSettings())
    batch, length = SHAPES[size]
    tokens_BT = torch.randint(VOCABULARY, (batch, length + 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(steps):
        start = time.process_time()
        token_losses(model(tokens_BT[:, :-1]), tokens_BT[:, 1:]).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak - before) / 1e3, statistics.median(seconds)


def main() -> None:
    """Each measurement in a process of its own, whose peak is its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    found = {}
    for size in SHAPES:
        for twice in (False, True):
            with context.Pool(1) as pool:
                memory, seconds = pool.apply(measure, (size, twice, given.steps))
            name = f"{size}, {'twice' if twice else 'once'}"
            found[name] = {"megabytes": round(memory), "seconds_a_step": round(seconds, 3)}
            if not given.json:
                print(f"{name:14}{memory:8.0f} MB{seconds:8.2f} s a step")
    if given.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
