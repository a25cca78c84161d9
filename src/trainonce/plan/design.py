"""What is known of a plan before its runs are drawn: strategies, treatments and arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trainonce.models.decoder import DecoderSettings
from trainonce.plan.multiplex import Trunk
from trainonce.stream.mixture import Mixture
from trainonce.stream.parts import Parts
from trainonce.stream.stream import TokenStream
from trainonce.study.load import StudyDefinition
from trainonce.study.questions import RunQuestion
from trainonce.study.schema import AA, Strategy
from trainonce.tasks.specs.measurements import PartOf
from trainonce.tasks.specs.runs import Placed, TrainSpec, Treated
from trainonce.train.settings import TrainSettings


@dataclass(frozen=True)
class ArmNumbers:
    """What an arm's run has of its own.

    Attributes:
        train: its numbers.
        model: its model.
        model_files: content hash of the model's files, when it is read from a folder.
        objective: what it minimizes; cross-entropy when None.
        weight: operations of one of its steps, in those of a step of the base run.
        parameters: of the model.
        mixture: what it reads of which part.
    """

    train: TrainSettings
    model: str | DecoderSettings
    model_files: str | None
    objective: Placed | None
    weight: float
    parameters: int
    mixture: Mixture | None = None


@dataclass(frozen=True, kw_only=True)
class Design:
    """What is known of a plan before its runs are drawn.

    Attributes:
        study: what is asked.
        chosen: the strategy of each question.
        treated: the treatment of each question that inserts items, the A/A question's among them.
        plain: the base run without insertions, by seed.
        trunks: what is read by the trunk, by seed.
        own: what is read by a question's own run, by question and seed.
        arms: the arms of each question about runs.
        ladders: the runs that an arm is predicted from, for the questions that do so.
        smalls: the small run that is tuned in place of the base run, for the questions that do so.
        apart: whose items, by question, are those of another question in the trunk.
        parts: those of the corpus, where the study names any.
    """

    study: StudyDefinition
    chosen: Mapping[str, Strategy]
    treated: Mapping[str, Treated]
    plain: Mapping[int, TrainSpec]
    trunks: Mapping[int, Trunk]
    own: Mapping[tuple[str, int], Trunk]
    arms: Mapping[str, tuple[ArmNumbers, ...]]
    ladders: Mapping[str, tuple[ArmNumbers, ...]]
    smalls: Mapping[str, ArmNumbers]
    apart: Mapping[str, str] = field(default_factory=dict)
    parts: Parts | None = None

    @property
    def on_trunk(self) -> tuple[str, ...]:
        """The questions that the trunk serves, in the order of the study, the A/A last."""
        own = {question for question, _ in self.own}
        return (*(q.id for q in self.study.questions if q.id not in own), AA)

    @property
    def controlled(self) -> frozenset[str]:
        """The questions whose insertions a controller decides while a run goes on."""
        return frozenset(one.question for found in self._streams for one in found.reserved)

    @property
    def marked(self) -> frozenset[str]:
        """The questions whose insertions carry noise."""
        return frozenset(name for found in self._streams for name, _ in found.marks)

    @property
    def _streams(self) -> tuple[TokenStream, ...]:
        return tuple(trunk.stream for trunk in (*self.trunks.values(), *self.own.values()))

    def part(self, question: RunQuestion) -> PartOf | None:
        """The part of the held-out documents that the outcome of ``question`` is of."""
        if self.parts is None or question.part is None:
            return None
        return PartOf(parts=self.parts.fingerprint, name=question.part)

    def packed(self, question: str, seed: int) -> Trunk:
        """What the run with the items of ``question`` reads."""
        return self.own.get((question, seed)) or self.trunks[seed]
