"""Tokens a second of one decoder in four loops, and what a million insertions cost a step.

    python benchmarks/train.py            # a table, some minutes
    python benchmarks/train.py --quick    # under a minute
    python benchmarks/train.py --json     # one document on standard output

Same shape, data, batch, optimizer (fused AdamW), schedule and clipping in:

    ours         trainonce.train.loop.train, reading its stream
    plain        a loop as one writes it by hand, tokens preloaded, around the same model class
    hf_trainer   transformers.Trainer around LlamaForCausalLM
    litgpt       litgpt's model in the plain loop
    ours_1m      ours with 1,000,000 insertions, one in every sequence that is read

A round runs a few steps of each and one large matrix product, so that a machine that slows down
slows all of them down. A variant's time in a round is the median of its steps after the first one
(which allocates); what is reported is the median over rounds, of ratios within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from train_loops import Setup, set_up, variants, with_insertions

from trainonce.models.decoder import SIZES
from trainonce.stream.stream import TokenStream

MATRIX = 2048


def matmul_flops(setup: Setup) -> float:
    """Operations of a step's matrix products, forward and backward.

    Six a weight and token (two forward, four backward), for every matrix and the output embedding;
    in attention two products of T x T/2 (it is causal) x width a layer, three times.
    """
    model, own = setup.model(), SIZES[setup.size]
    weights = sum(p.numel() for p in model.parameters() if p.ndim >= 2)
    attention = 6 * own.layers * own.width * setup.stream.sequence
    return float((6 * weights + attention) * setup.step_tokens)


def peak_flops() -> float:
    """Operations a second of a large float32 matrix product: the best of three."""
    left, right = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return 2 * MATRIX**3 / best


def reading(stream: TokenStream, batch: int) -> float:
    """Median seconds to read a batch."""
    times = []
    for step in range(50):
        start = time.perf_counter()
        stream.read(np.arange(step * batch, (step + 1) * batch))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(setup: Setup, rounds: int, folder: str) -> dict[str, list[float]]:
    """Tokens a second of each variant, and the machine's peak as ``peak``, one a round."""
    run = variants(setup, folder)
    for variant in run.values():  # the first call of each pays for imports and caches
        variant()
    found: dict[str, list[float]] = {name: [] for name in (*run, "peak")}
    names = list(run)
    for turn in range(rounds):
        shift = turn % len(names)
        found["peak"].append(peak_flops())
        for name in names[shift:] + names[:shift]:
            found[name].append(setup.step_tokens / statistics.median(run[name]()))
        print(f"round {turn + 1} of {rounds}", file=sys.stderr)
    return found


def ratio(found: dict[str, list[float]], over: str, under: str = "ours") -> float | None:
    """The median over rounds of one variant's rate over another's."""
    if over not in found:
        return None
    return statistics.median(a / b for a, b in zip(found[under], found[over], strict=True))


def table(setup: Setup, found: dict[str, list[float]], document: dict[str, Any]) -> str:
    """The rates and ratios for people, as Markdown."""
    versions = ", ".join(
        f"{name} {version(name)}"
        for name in ("torch", "transformers", "litgpt")
        if importlib.util.find_spec(name)
    )
    lines = [
        f"{setup.size} decoder, {setup.batch} x {setup.stream.sequence} tokens a step, "
        f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, {platform.machine()}; "
        f"{versions}; {time.strftime('%Y-%m-%d')}",
        "",
        "| loop | tokens/s | ours over it |",
        "| --- | --- | --- |",
    ]
    for name, rates in found.items():
        if name != "peak":
            lines.append(f"| {name} | {statistics.median(rates):,.0f} | {ratio(found, name):.3f} |")
    missing = [name for name in ("hf_trainer", "litgpt") if name not in found]
    lines += [f"| {name} | not installed | |" for name in missing]
    slower = ratio(found, "ours_1m")
    assert slower is not None
    step = setup.step_tokens / statistics.median(found["ours"])
    bare, full = (
        reading(stream, setup.batch) for stream in (setup.stream, with_insertions(setup.stream))
    )
    return "\n".join(
        [
            *lines,
            "",
            f"Matrix products: {document['peak_share']:.2f} of the peak, "
            f"{statistics.median(found['peak']) / 1e9:,.0f} GFLOP/s in float32.",
            f"1M insertions: a step takes {slower - 1:+.2%}. Reading a batch takes "
            f"{full * 1e3:.2f} ms with them and {bare * 1e3:.2f} ms without: "
            f"{(full - bare) / step:+.3%} of a step.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smaller model, under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--threads", type=int, default=1, help="of the matrix products")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--steps", type=int, help="a variant and round")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rounds = arguments.rounds or (9 if arguments.quick else 15)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        setup = set_up(
            Path(folder),
            size="nano" if arguments.quick else "mini",
            batch=8,
            sequence=128 if arguments.quick else 256,
            steps=arguments.steps or 6,
        )
        found = measure(setup, rounds, folder)
        flops_a_token = matmul_flops(setup) / setup.step_tokens
        shares = [
            rate * flops_a_token / peak
            for rate, peak in zip(found["ours"], found["peak"], strict=True)
        ]
        document = {
            "ours_over_plain": ratio(found, "plain"),
            "ours_over_litgpt": ratio(found, "litgpt"),
            "ours_over_hf_trainer": ratio(found, "hf_trainer"),
            "peak_share": statistics.median(shares),
        }
        said = json.dumps(document) if arguments.json else table(setup, found, document)
    print(said)


if __name__ == "__main__":
    main()
