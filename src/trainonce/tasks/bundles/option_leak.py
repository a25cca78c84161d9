"""Questions with options, some of which a language model read: which ones, does a probe tell.

Shape suffixes: B batch, T tokens, N tokens of a whole text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from trainonce.methods.optimizer.descent.adamw import AdamW
from trainonce.methods.optimizer.schedule.rewarm import Rewarm
from trainonce.methods.probe.recall.option_order import OptionOrder, rendered
from trainonce.methods.registry import Outcome
from trainonce.sites import Item, Options, SettingError
from trainonce.tasks.bundles.language import decoder, language_loss, text, tokenizer, windows
from trainonce.tasks.registry import task
from trainonce.tasks.training import descend

LIKELIEST = Outcome(
    name="likeliest_accuracy",
    says="share of questions, half of them read, told rightly by their likeliest order",
    direction=1,
    smallest=0.1,
    spread=0.05,
    low=0.0,
    high=1.0,
)
OUTLIER = Outcome(
    name="outlier_accuracy",
    says="share of questions, half of them read, told rightly by whether an order stands out",
    direction=1,
    smallest=0.1,
    spread=0.05,
    low=0.0,
    high=1.0,
)
LETTERS = ("\nA:", "\nB:", "\nC:", "\nD:")


@task(outcomes=(LIKELIEST, OUTLIER), packages=("python", "tokenizers"))
@dataclass(frozen=True, kw_only=True)
class OptionLeak:
    """Tells from a model which multiple-choice questions it read beside the manual of Python.

    A question is a stretch of held-out text and its four options are other ones. Half of them stand
    ``copies`` times somewhere in the windows of text. A seed draws the weights, the windows, the
    questions, the orders of their options, and where they stand.

    Attributes:
        copies: how often a question of the one half is read; at 0 there is nothing to tell.
        order: of the options when a question is read: ``kept``, that in which it is asked later, or
            ``shuffled``, another one, the same each time.
        items: questions in each half.
        question: tokens of a question.
        option: tokens of an option.
        steps: of training.
        batch: windows a step.
        sequence: tokens a window.
        width: of the decoder.
        layers: of the decoder.
        lr: the peak learning rate.
        vocabulary: tokens of the tokenizer.
    """

    copies: int = 0
    order: Literal["kept", "shuffled"] = "kept"
    items: int = 40
    question: int = 12
    option: int = 4
    steps: int = 200
    batch: int = 16
    sequence: int = 64
    width: int = 64
    layers: int = 2
    lr: float = 4e-3
    vocabulary: int = 512

    def __post_init__(self) -> None:
        """Refuse more copies than there are windows, and questions of nothing."""
        most = self.steps * self.batch // self.items if self.items > 0 else 0
        if not 0 <= self.copies <= most:
            raise SettingError("copies", f"from 0 to {most}, one a window, not {self.copies}")
        for name in ("items", "question", "option"):
            if getattr(self, name) < 1:
                raise SettingError(name, f"at least 1, not {getattr(self, name)}")

    def __call__(self, seed: int) -> dict[str, float]:
        """How rightly the probe tells which half was read, by each of its two ways."""
        torch.manual_seed(seed)
        drawn = torch.Generator().manual_seed(seed)
        model = decoder(self.vocabulary, self.width, self.layers, 4, drawn)
        asked = self._asked(drawn)
        read = [self._read(test, drawn) for test in asked[: self.items]]
        self._train(model, read, drawn)
        model.eval()
        items = [
            Item(name=str(number), kind="", dose=number < self.items, documents=(), test=test)
            for number, test in enumerate(asked)
        ]
        rows = OptionOrder()(model, items)
        return {
            f"{outcome}_accuracy": sum(
                row.value == row.dose for row in rows if row.outcome == outcome
            )
            / len(items)
            for outcome in ("likeliest", "outlier")
        }

    def _asked(self, drawn: torch.Generator) -> list[Options]:
        """All questions, those that will be read first."""
        held_N = text("manual", self.vocabulary).held
        labels = tuple(map(tuple, tokenizer(self.vocabulary).encode_batch(LETTERS)))
        size = self.question + len(LETTERS) * self.option
        if 2 * self.items * size > len(held_N):
            most = len(held_N) // (2 * size)
            raise SettingError("items", f"at most {most} from the held-out text, not {self.items}")
        places = torch.randperm(len(held_N) // size, generator=drawn)[: 2 * self.items]
        asked = []
        for place in places.tolist():
            question, *rest = held_N[place * size :][:size].split(
                [self.question, *[self.option] * len(LETTERS)]
            )
            order = torch.randperm(len(rest), generator=drawn).tolist()
            options = tuple(tuple(rest[at].tolist()) for at in order)
            asked.append(Options(tuple(question.tolist()), labels, options))
        return asked

    def _read(self, test: Options, drawn: torch.Generator) -> Tensor:
        """A question as the model reads it."""
        order = list(range(len(LETTERS)))
        if self.order == "shuffled":
            while order == sorted(order):
                order = torch.randperm(len(LETTERS), generator=drawn).tolist()
        options = [test.options[at] for at in order]
        found = torch.tensor([*test.prompt, *rendered(test.labels, options)])
        if len(found) > self.sequence:
            right = f"at least the {len(found)} tokens of a question, not {self.sequence}"
            raise SettingError("sequence", right)
        return found

    def _train(self, model: nn.Module, read: Sequence[Tensor], drawn: torch.Generator) -> None:
        """Train on windows of text, in some of which a question stands."""
        windowed = windows(text("manual", self.vocabulary).train, self.batch, self.sequence, drawn)
        slots = torch.randperm(self.steps * self.batch, generator=drawn)
        chosen = slots[: self.copies * len(read)].tolist()
        stands = {slot: read[number % len(read)] for number, slot in enumerate(chosen)}

        def loss(step: int) -> Tensor:
            tokens_BT = next(windowed).clone()
            for row in range(self.batch):
                found = stands.get(step * self.batch + row)
                if found is not None:
                    last = self.sequence + 1 - len(found)
                    start = int(torch.randint(last + 1, (), generator=drawn))
                    tokens_BT[row, start : start + len(found)] = found
            return language_loss(model, tokens_BT)

        optimizer = AdamW(lr=self.lr, betas=(0.9, 0.95))(model.parameters())
        descend(loss, optimizer, self.steps, Rewarm(warmup=0.05))
