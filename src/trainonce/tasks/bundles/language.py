"""Language: a tiny decoder on text that comes with Python, in one phase of training or in two.

Shape suffixes: B batch, T tokens, N tokens of a whole text, W windows, V vocabulary.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, islice
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from trainonce.methods.objective.reduction import reduced
from trainonce.methods.optimizer.descent.adamw import AdamW
from trainonce.methods.optimizer.schedule.rewarm import Rewarm
from trainonce.methods.registry import Outcome
from trainonce.models.decoder import Decoder, DecoderSettings
from trainonce.sites import Family, SettingError, Site
from trainonce.stream.corpora import CorpusSource, documents, named_documents
from trainonce.stream.tokenizers import FastTokenizer, train_bpe
from trainonce.tasks.given import Given, GivenError, Or
from trainonce.tasks.placing import At
from trainonce.tasks.registry import task
from trainonce.tasks.training import Schedule, descend
from trainonce.train.losses import token_losses

Domain = str | Given
"""``code``: modules of the standard library without their documentation strings; ``manual``: the
help topics of Python's reference, and the documentation strings of these modules; or the user's own
texts. Tokens are those of the first two whatever is read, so that losses can be compared."""
OR_OWN = Or("code", "manual")

CHARACTERS = 700_000
"""Of each domain, so that it is read and encoded in about a second."""
PIECE = 2_000
"""Characters: every tenth piece of this length is held out."""
FEWEST = 10
"""Pieces, so that some are held out."""
HELD = 16_384
"""Tokens of a domain that the loss is measured on."""

HELDOUT = Outcome(
    name="heldout_loss",
    says="loss on held-out text of what it was trained on last, in nats a token",
    direction=-1,
    smallest=0.02,
    spread=0.03,
    low=0.0,
)
FIRST = Outcome(
    name="first_loss",
    says="loss on held-out text of what it was trained on first, in nats a token",
    direction=-1,
    smallest=0.02,
    spread=0.03,
    low=0.0,
)


@dataclass(frozen=True, kw_only=True)
class Text:
    """A domain as tokens.

    Attributes:
        train: ``(N,)``, what is trained on, one piece after the other.
        held: ``(N,)``, what the loss is measured on.
    """

    train: Tensor
    held: Tensor


@task(outcomes=(HELDOUT, FIRST), packages=("python", "tokenizers"))
@dataclass(frozen=True, kw_only=True)
class Language:
    """Predicts the next token of the Python standard library's code or manual.

    A seed draws the weights and the windows of text of each step. With ``then`` there is a second
    phase: the same model goes on, on another text or the same, with a fresh optimizer.

    Attributes:
        data: what it is trained on first: ``code``, ``manual``, a file or folder of texts, or the
            id of a Hugging Face dataset with a column ``text``.
        then: what it is trained on after that, if anything.
        vocabulary: tokens; 257 is bytes and the end of a text, more are merged pairs of these.
        width: of the decoder.
        layers: of the decoder.
        heads: of its attention.
        steps: of the first phase; 0 begins with the second, from random weights.
        then_steps: of the second phase.
        batch: windows a step.
        sequence: tokens a window.
        model: a change of the decoder before the first step.
        objective: what is minimized; cross-entropy when left out.
        optimizer: by what.
        then_optimizer: by what in the second phase; the same when left out.
        schedule: of the first phase's learning rate.
        then_schedule: of the second's; its factors are of its optimizer's rate.
    """

    data: Annotated[Domain, OR_OWN] = "code"
    then: Annotated[Domain, OR_OWN] | None = None
    vocabulary: int = 512
    width: int = 64
    layers: int = 2
    heads: int = 4
    steps: int = 200
    then_steps: int = 200
    batch: int = 16
    sequence: int = 64
    model: Annotated[Any, At(Site.MODEL)] | None = None
    objective: Annotated[Any, At(Site.OBJECTIVE, Family.LANGUAGE)] | None = None
    optimizer: Annotated[Any, At(Site.OPTIMIZER, Family.DESCENT)] = field(
        default_factory=lambda: AdamW(lr=4e-3, betas=(0.9, 0.95))
    )
    then_optimizer: Annotated[Any, At(Site.OPTIMIZER, Family.DESCENT)] | None = None
    schedule: Annotated[Any, At(Site.OPTIMIZER, Family.SCHEDULE)] = field(
        default_factory=lambda: Rewarm(warmup=0.05)
    )
    then_schedule: Annotated[Any, At(Site.OPTIMIZER, Family.SCHEDULE)] = field(
        default_factory=lambda: Rewarm(warmup=0.05)
    )

    def __post_init__(self) -> None:
        """Refuse a run that trains nothing, and a vocabulary without all bytes."""
        if self.steps < 0 or (self.steps == 0 and self.then is None):
            raise SettingError("steps", f"at least 1 in some phase, not {self.steps}")
        if self.then is not None and self.then_steps < 1:
            raise SettingError("then_steps", f"at least 1, not {self.then_steps}")
        if self.vocabulary < 257:
            raise SettingError("vocabulary", f"at least 257, not {self.vocabulary}")

    def __call__(self, seed: int) -> dict[str, float]:
        """The held-out loss of the text of the last phase, and of the first."""
        model = self.trained(seed)
        first = heldout_loss(model, text(self.data, self.vocabulary).held, self.sequence)
        if self.then in (None, self.data):
            return {"heldout_loss": first, "first_loss": first}
        last = text(self.then, self.vocabulary).held
        return {"heldout_loss": heldout_loss(model, last, self.sequence), "first_loss": first}

    def untrained(self, drawn: torch.Generator) -> nn.Module:
        """The model before its first step, with weights from ``drawn``."""
        model: nn.Module = decoder(self.vocabulary, self.width, self.layers, self.heads, drawn)
        if self.model is not None:
            model = self.model(model)
        return model

    def trained(self, seed: int) -> nn.Module:
        """The model after its last step."""
        torch.manual_seed(seed)
        drawn = torch.Generator().manual_seed(seed)
        model = self.untrained(drawn)
        self._train(model, self.data, self.steps, self.optimizer, self.schedule, drawn)
        if self.then is not None:
            tuning = self.then_optimizer or self.optimizer
            self._train(model, self.then, self.then_steps, tuning, self.then_schedule, drawn)
        return model

    def _train(
        self,
        model: nn.Module,
        domain: Domain,
        steps: int,
        optimizer: Any,
        schedule: Any,
        drawn: torch.Generator,
    ) -> None:
        read = windows(text(domain, self.vocabulary).train, self.batch, self.sequence, drawn)
        batches = list(islice(read, steps))
        objective = self.objective or token_losses

        def loss(step: int) -> Tensor:
            tokens_BT = batches[step]
            return reduced(objective(model(tokens_BT[:, :-1]), tokens_BT[:, 1:]))

        trained = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
        descend(loss, optimizer(trained), steps, schedule)


@cache
def tokenizer(vocabulary: int) -> FastTokenizer:
    """A byte-level BPE of both domains."""
    return train_bpe(chain(pieces("code"), pieces("manual")), vocabulary)


@cache
def text(domain: Domain, vocabulary: int) -> Text:
    """A domain as tokens of a tokenizer with ``vocabulary`` tokens, read once a process."""
    encoded = tokenizer(vocabulary).encode_batch(pieces(domain))
    train = [token for number, piece in enumerate(encoded) if number % 10 for token in piece]
    held = [token for piece in encoded[::10] for token in piece]
    return Text(train=torch.tensor(train), held=torch.tensor(held[:HELD]))


@cache
def pieces(domain: Domain) -> list[str]:
    """The text of a domain in pieces of `PIECE` characters.

    Raises:
        GivenError: when it has fewer than `FEWEST`.
    """
    whole = "\n".join(_enough(_texts(domain)))
    if len(whole) < FEWEST * PIECE:
        raise GivenError(f"{domain}: at least {FEWEST * PIECE:,} characters, not {len(whole):,}")
    return [whole[at : at + PIECE] for at in range(0, len(whole), PIECE)]


def windows(
    tokens_N: Tensor, batch: int, sequence: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Windows of a text, drawn anew each time: ``(batch, sequence + 1)``, to predict all but one.

    Raises:
        ValueError: when the text is shorter than a window.
    """
    last = len(tokens_N) - sequence - 1
    if last < 0:
        raise ValueError(f"a window of {sequence + 1} tokens from a text of {len(tokens_N)}")
    offsets_T = torch.arange(sequence + 1)
    while True:
        starts_B = torch.randint(last + 1, (batch,), generator=generator)
        yield tokens_N[starts_B[:, None] + offsets_T]


def decoder(
    vocabulary: int, width: int, layers: int, heads: int, generator: torch.Generator
) -> Decoder:
    """A small decoder with weights drawn from ``generator``."""
    settings = DecoderSettings(width=width, layers=layers, heads=heads)
    return Decoder(settings, vocabulary).initialize(generator)


def language_loss(model: nn.Module, tokens_BT: Tensor) -> Tensor:
    """The mean loss of all tokens but the first, in nats."""
    return token_losses(model(tokens_BT[:, :-1]), tokens_BT[:, 1:]).mean()


def train_on(
    model: nn.Module, read: Iterator[Tensor], steps: int, lr: float, schedule: Schedule
) -> None:
    """Take ``steps`` steps on what is read, ``(B, T)`` tokens each, with AdamW.

    Raises:
        FloatingPointError: as `descend`.
    """
    optimizer = AdamW(lr=lr, betas=(0.9, 0.95))(model.parameters())
    descend(lambda _step: language_loss(model, next(read)), optimizer, steps, schedule)


@torch.no_grad()
def heldout_loss(model: nn.Module, held_N: Tensor, sequence: int, batch: int = 64) -> float:
    """The mean loss of a text's tokens, in nats, each in a window of ``sequence`` tokens.

    Args:
        model: token ids ``(B, T)`` to logits ``(B, T, V)``.
        held_N: the text; what is left after the last whole window is not read.
        sequence: tokens a window.
        batch: windows at a time.
    """
    read_WT = held_N.unfold(0, sequence + 1, sequence)
    training = model.training
    model.eval()
    losses = [token_losses(model(part[:, :-1]), part[:, 1:]) for part in read_WT.split(batch)]
    model.train(training)
    return float(torch.cat(losses).double().mean())


def _enough(texts: Iterator[str]) -> Iterator[str]:
    """The first `CHARACTERS` of ``texts``."""
    left = CHARACTERS
    for one in texts:
        yield one[:left]
        left -= len(one)
        if left <= 0:
            return


def _texts(domain: Domain) -> Iterator[str]:
    if isinstance(domain, Given):
        return documents(CorpusSource(name=domain.checked().name))
    modules = named_documents(CorpusSource(name="stdlib"))
    if domain == "code":
        return (parted(source)[0] for _, source in modules)
    from pydoc_data.topics import topics

    return chain(topics.values(), (parted(source)[1] for _, source in modules))


def parted(source: str) -> tuple[str, str]:
    """A module without its documentation strings, and these."""
    lines = source.split("\n")
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if (string := ast.get_docstring(node)) is not None:
            found.append(string)
            first, last = node.body[0].lineno, node.body[0].end_lineno or 0
            lines[first - 1 : last] = [""] * (last - first + 1)
    return "\n".join(lines), "\n\n".join(found)
