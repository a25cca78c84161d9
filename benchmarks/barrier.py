"""Step time with attention within documents, over step time with attention across them.

    python benchmarks/barrier.py [--quick] [--json]

One thread; forward, loss and backward of the decoder on rows of random tokens with a document of
some 200 tokens after the other. Both take turns, and the median of the ratios is reported.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from trainonce.models.build import build

VOCABULARY, END, DOCUMENT = 1024, 0, 200
SHAPES = (("nano", 8, 128), ("nano", 8, 1024), ("mini", 8, 256), ("mini", 2, 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {
        f"{size}, {batch} x {length}": ratio(size, batch, length, 5 if options.quick else 15)
        for size, batch, length in SHAPES
    }
    if options.json:
        json.dump(found, sys.stdout)
        print()
        return
    table = Table("model, batch", "step time, within over across")
    for name, value in found.items():
        table.add_row(name, f"{value:.2f}")
    Console().print(table)


def ratio(size: str, batch: int, length: int, rounds: int) -> float:
    draw = torch.Generator().manual_seed(0)
    tokens_BT = torch.randint(1, VOCABULARY, (batch, length + 1), generator=draw)
    tokens_BT[torch.rand(tokens_BT.shape, generator=draw) < 1 / DOCUMENT] = END
    across, within = (build(size, VOCABULARY, 1, boundary) for boundary in (None, END))
    step(across, tokens_BT), step(within, tokens_BT)
    found = []
    for _ in range(rounds):
        base = step(across, tokens_BT)
        found.append(step(within, tokens_BT) / base)
    return statistics.median(found)


def step(model: nn.Module, tokens_BT: Tensor) -> float:
    start = time.perf_counter()
    logits_BTV = model(tokens_BT[:, :-1])
    F.cross_entropy(logits_BTV.flatten(0, 1), tokens_BT[:, 1:].flatten()).backward()
    model.zero_grad(set_to_none=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
