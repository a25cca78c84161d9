"""What benchmarks/train.py compares: one decoder in five loops, each with a clock in it."""

from __future__ import annotations

import importlib.util
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

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
_DOCUMENTS = 10_000
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

    class Clock(TrainerCallback):
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
        train_dataset=[{"input_ids": row, "labels": row} for row in rows],
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


def with_insertions(stream: TokenStream) -> TokenStream:
    """``stream`` with a document of 48 to 64 tokens in each of its first million sequences."""
    draw = np.random.default_rng(3)
    lengths = draw.integers(48, 65, _DOCUMENTS)
    pool = [draw.integers(0, VOCABULARY, length).tolist() for length in lengths]
    rows = np.arange(INSERTIONS, dtype=np.int64)
    documents = draw.integers(0, _DOCUMENTS, INSERTIONS)
    offsets = draw.integers(0, stream.sequence - lengths[documents] + 1)
    return replace(stream, overlay=Overlay().add(rows, offsets, documents, pool))


def set_up(folder: Path, *, size: str, batch: int, sequence: int, steps: int) -> Setup:
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
            sequence=sequence,
        ),
        folder,
    )
    stream = TokenStream(corpus, sequence, rows=INSERTIONS, seed=1)
    rows = np.arange(steps * batch)
    tokens = torch.from_numpy(stream.read(rows)).view(steps, batch, -1)
    return Setup(size, batch, steps, stream, tokens)


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
