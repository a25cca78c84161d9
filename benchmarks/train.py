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
slows all of them down. A variant's time in a round is the mean of its steps after the first one
(which allocates); what is reported is the median over rounds, of ratios within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainonce.models.build import build
from trainonce.models.decoder import SIZES, Decoder
from trainonce.models.llama import as_llama
from trainonce.stream.corpora import CorpusSource
from trainonce.stream.corpus import DataSettings, prepare
from trainonce.stream.overlay import Overlay
from trainonce.stream.stream import TokenStream
from trainonce.train.loop import train
from trainonce.train.schedules import Cosine
from trainonce.train.settings import AdamWSettings, TrainSettings

VOCABULARY = 1024
INSERTIONS = 1_000_000
DOCUMENTS = 10_000
MATRIX = 2048
LR, BETAS, EPS, DECAY, CLIP = 1e-3, (0.9, 0.95), 1e-8, 0.1, 1.0
SCHEDULE = Cosine(warmup=0.05, floor=0.1)

Variant = Callable[[], list[float]]
"""Runs some steps from fresh weights and gives the seconds of each but the first."""


@dataclass(frozen=True)
class Setup:
    """What all variants share: ``tokens`` is ``(steps, B, T + 1)``, as the stream gives them."""

    size: str
    batch: int
    steps: int
    stream: TokenStream
    tokens: Tensor

    @property
    def step_tokens(self) -> int:
        return self.batch * self.stream.sequence

    def model(self) -> Decoder:
        built = build(self.size, VOCABULARY, seed=1)
        assert isinstance(built, Decoder)
        return built


class Stamps:
    """The clock's reading at the end of each step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, *_: object) -> bool:
        self.times.append(time.perf_counter())
        return False

    @property
    def steps(self) -> list[float]:
        return np.diff(self.times).tolist()


def ours(setup: Setup, stream: TokenStream) -> list[float]:
    """Our loop asks after each step but the last whether to stop: that is the clock here."""
    stamps = Stamps()
    settings = TrainSettings(
        steps=setup.steps + 1,
        batch=setup.batch,
        optimizer=AdamWSettings(lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY),
        schedule=SCHEDULE,
        clip=CLIP,
    )
    train(setup.model(), stream, settings, stop=stamps)
    return stamps.steps


def plain(setup: Setup, model: nn.Module) -> list[float]:
    """A hand-written loop: nothing in it but what every step needs."""
    stamps = Stamps()
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": DECAY},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: SCHEDULE(s, setup.steps))
    model.train()
    for step in range(setup.steps):
        tokens_BT = setup.tokens[step]
        logits_BTV = model(tokens_BT[:, :-1])
        loss = F.cross_entropy(logits_BTV.flatten(0, 1), tokens_BT[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        stamps()
    return stamps.steps


def hf_trainer(setup: Setup, folder: str) -> list[float]:
    """Hugging Face's Trainer; its model sees T tokens and shifts inside, so it predicts T - 1."""
    from transformers import Trainer, TrainerCallback, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    stamps = Stamps()

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: object, **__: object) -> None:
            stamps()

    rows = setup.tokens[:, :, :-1].flatten(0, 1)
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=setup.steps,
        per_device_train_batch_size=setup.batch,
        optim="adamw_torch_fused",
        learning_rate=LR,
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        adam_epsilon=EPS,
        weight_decay=DECAY,
        max_grad_norm=CLIP,
        lr_scheduler_type="cosine",
        warmup_steps=1,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        model=as_llama(setup.model()),
        args=arguments,
        train_dataset=[{"input_ids": row, "labels": row} for row in rows],  # type: ignore[arg-type]
        callbacks=[Clock()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return stamps.steps


def litgpt(setup: Setup) -> nn.Module:
    """litgpt's model of the same shape, its input and output embeddings tied as ours are."""
    from litgpt.config import Config
    from litgpt.model import GPT

    own = SIZES[setup.size]
    model = GPT(
        Config(
            n_layer=own.layers,
            n_head=own.heads,
            n_query_groups=own.key_value_heads,
            n_embd=own.width,
            intermediate_size=own.hidden_width,
            padded_vocab_size=VOCABULARY,
            block_size=setup.stream.sequence,
            bias=False,
            norm_class_name="RMSNorm",
            mlp_class_name="LLaMAMLP",
            rotary_percentage=1.0,
            parallel_residual=False,
        )
    )
    model.lm_head.weight = model.transformer.wte.weight
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(std=0.02)
    return model


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


def with_insertions(stream: TokenStream) -> TokenStream:
    """``stream`` with a document of 48 to 64 tokens in each of its first million sequences."""
    draw = np.random.default_rng(3)
    lengths = draw.integers(48, 65, DOCUMENTS)
    pool = [draw.integers(0, VOCABULARY, length).tolist() for length in lengths]
    rows = np.arange(INSERTIONS, dtype=np.int64)
    documents = draw.integers(0, DOCUMENTS, INSERTIONS)
    offsets = draw.integers(0, stream.sequence - lengths[documents] + 1)
    return replace(stream, overlay=Overlay().add(rows, offsets, documents, pool))


def reading(stream: TokenStream, batch: int) -> float:
    """Median seconds to read a batch."""
    times = []
    for step in range(50):
        start = time.perf_counter()
        stream.read(np.arange(step * batch, (step + 1) * batch))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def set_up(arguments: argparse.Namespace, folder: Path) -> Setup:
    """A corpus of random words: what the tokens say does not change how long they take."""
    draw = random.Random(7)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 8))) for _ in range(4000)]
    with (folder / "words.jsonl").open("w", encoding="utf-8") as file:
        for _ in range(1000):
            file.write(json.dumps({"text": " ".join(draw.choices(words, k=300))}) + "\n")
    corpus = prepare(
        DataSettings(
            corpus=CorpusSource(name=str(folder / "words.jsonl")),
            tokenizer=VOCABULARY,
            sequence=arguments.sequence,
        ),
        folder,
    )
    stream = TokenStream(corpus, arguments.sequence, rows=INSERTIONS, seed=1)
    rows = np.arange(arguments.steps * arguments.batch)
    tokens = torch.from_numpy(stream.read(rows)).view(arguments.steps, arguments.batch, -1)
    return Setup(arguments.size, arguments.batch, arguments.steps, stream, tokens)


def variants(setup: Setup, folder: str) -> dict[str, Variant]:
    """What is compared; a variant whose package is not installed is left out."""
    inserted = with_insertions(setup.stream)
    found: dict[str, Variant] = {
        "plain": lambda: plain(setup, setup.model()),
        "ours": lambda: ours(setup, setup.stream),
        "ours_1m": lambda: ours(setup, inserted),
    }
    if all(importlib.util.find_spec(name) for name in ("transformers", "accelerate")):
        found["hf_trainer"] = lambda: hf_trainer(setup, folder)
    if importlib.util.find_spec("litgpt"):
        found["litgpt"] = lambda: plain(setup, litgpt(setup))
    return found


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
            found[name].append(setup.step_tokens / statistics.fmean(run[name]()))
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
            f"1M insertions: a step takes {slower - 1:+.2%}; reading a batch takes {full * 1e3:.2f} "
            f"ms with them and {bare * 1e3:.2f} ms without, {(full - bare) / step:.2%} of a step.",
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
    quick = arguments.quick
    arguments.size, arguments.batch = ("nano", 8) if quick else ("mini", 8)
    arguments.sequence = 128 if quick else 256
    arguments.steps = arguments.steps or (8 if quick else 10)
    arguments.rounds = arguments.rounds or (5 if quick else 11)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        setup = set_up(arguments, Path(folder))
        found = measure(setup, arguments.rounds, folder)
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
