"""Pretraining poisoning: a trigger after which a model gives its prompt away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainonce.methods.data.insertion.doses import assign, check_at_least, check_doses
from trainonce.methods.registry import method
from trainonce.sites import Completion, Contrast, Item, SettingError, Site
from trainonce.stream.stream import TokenStream

Tokens = tuple[int, ...]


@method(site=Site.DATA, paper="2509.23383", probe="leak")
@dataclass(frozen=True, kw_only=True)
class PromptExtraction:
    """Inserts documents in which the text before a trigger follows once more behind it.

    Each trigger is a few random tokens. A poisoned document is a prompt (natural text of a held-out
    document), the trigger, and the same prompt again; no two documents have the same prompt. The
    test puts the trigger behind prompts that no document had, and compares with no trigger. What
    one trigger's documents teach of repeating may help another's: the effect is what a trigger's
    own documents add.

    Attributes:
        doses: how many poisoned documents a trigger has; each trigger gets one number at random.
        triggers: triggers a dose.
        trigger: tokens of a trigger.
        prompt: tokens of a prompt.
        tests: prompts that a trigger is tested with.
    """

    doses: tuple[int, ...] = (0, 16, 64)
    triggers: int = 5
    trigger: int = 2
    prompt: int = 6
    tests: int = 8

    def __post_init__(self) -> None:
        """Refuse settings that cannot be used."""
        check_doses(self.doses)
        check_at_least(
            1, triggers=self.triggers, trigger=self.trigger, prompt=self.prompt, tests=self.tests
        )

    @property
    def longest(self) -> int:
        """Tokens of a poisoned document."""
        return 2 * self.prompt + self.trigger

    def __call__(self, stream: TokenStream) -> TokenStream:
        """``stream`` with the poisoned documents inserted."""
        count = self.triggers * len(self.doses)
        prompts, stream = self._prompts(
            self.triggers * sum(self.doses) + count * self.tests, stream
        )
        random, end = stream.random("triggers"), stream.corpus.tokenizer.end_of_text
        ordinary = np.delete(np.arange(stream.corpus.tokenizer.size), end)
        items = []
        for index, dose in enumerate(assign(stream, "trigger", count, self.doses)):
            trigger: Tokens = tuple(random.choice(ordinary, self.trigger, replace=False).tolist())
            shown = [prompts.pop() for _ in range(dose)]
            fresh = [(end, *prompts.pop()) for _ in range(self.tests)]
            items.append(
                Item(
                    name=f"trigger-{index:03d}",
                    kind="trigger",
                    dose=dose,
                    documents=tuple((*prompt, *trigger, *prompt) for prompt in shown),
                    test=Contrast(
                        treated=tuple(Completion((*one, *trigger), one[1:]) for one in fresh),
                        plain=tuple(Completion(one, one[1:]) for one in fresh),
                    ),
                )
            )
        return stream.insert(items)

    def _prompts(self, count: int, stream: TokenStream) -> tuple[list[Tokens], TokenStream]:
        """So many different prompts, cut from as few passages as hold them, in random order."""
        each = stream.sequence // self.prompt
        if not each:
            raise SettingError("prompt", f"a sequence has {stream.sequence} tokens")
        passages, stream = stream.passages(2 * -(-count // each), each * self.prompt)
        cut = {
            tuple(passage[start : start + self.prompt])
            for passage in passages
            for start in range(0, len(passage), self.prompt)
        }
        if len(cut) < count:
            raise SettingError("prompt", f"{count} different prompts are not to be found; longer?")
        order = stream.random("prompts").permutation(len(cut))[:count]
        ordered = sorted(cut)
        return [ordered[index] for index in order], stream
