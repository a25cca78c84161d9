"""What a plan knows of each question before anything is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

from trainonce.plan.early.settle import Stopping
from trainonce.sites import Site
from trainonce.study.questions import Question
from trainonce.study.schema import Strategy


@dataclass(frozen=True, kw_only=True)
class PlannedArm:
    """The runs of one arm of a question about runs.

    Attributes:
        label: what differs from the base run.
        measured: the job that measures its run, or what stands for it, a seed each, in the order of
            the plan's seeds.
        real: where averages of parameters answer, the jobs that measure the same mixture after it
            was trained for real: an expert's own ones; empty for an average that is not checked.
    """

    label: str
    measured: tuple[str, ...]
    real: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlannedPoint:
    """A rung that a scaling law is fitted to.

    Attributes:
        label: its size, and its length where it is shorter.
        parameters: of its model.
        tokens: that it reads.
        measured: the job that measures its run, a seed each.
    """

    label: str
    parameters: int
    tokens: int
    measured: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PlannedLadder:
    """What an arm is predicted from.

    Attributes:
        parameters: of the arm's model.
        tokens: that the arm would read.
        points: the ladder, the base run first.
    """

    parameters: int
    tokens: int
    points: tuple[PlannedPoint, ...]

    @property
    def lengths(self) -> bool:
        """Whether rungs have several lengths, so that the law has tokens too."""
        return len({point.tokens for point in self.points}) > 1


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many items of a question are compared, and how much of its run they change.

    Attributes:
        treated: items at the highest dose, over all seeds.
        control: items at dose 0.
        strata: seeds and kinds of items within which doses were dealt.
        share: of the tokens of its run that the question changes.
        run_share: of them that all questions in that run change.
        left_out: items of its file that were drawn and left out, as they do not fit.
    """

    treated: int
    control: int
    strata: int
    share: float
    run_share: float
    left_out: int = 0

    def times(self, by: Fraction) -> Sizes:
        """``by`` times as many items in each stratum."""
        treated, control = int(self.treated * by), int(self.control * by)
        return replace(self, treated=treated, control=control)

    def seeds(self, before: int, after: int) -> Sizes:
        """The same items a seed, at another number of seeds."""
        more = self.times(Fraction(after, before))
        return replace(more, strata=self.strata * after // before)


@dataclass(frozen=True, kw_only=True)
class PlannedRung:
    """A step after which arms may be stopped.

    Attributes:
        step: the step.
        decision: the job that decides.
        measured: the jobs that measure the base run and then each arm there, a seed each.
    """

    step: int
    decision: str
    measured: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class PlannedQuestion:
    """What the design can tell about a question before anything is trained.

    Attributes:
        question: as loaded.
        strategy: how it shares training.
        detectable_effect: smallest true effect (of the highest dose against dose 0, or of the last
            arm against the base run) that is found with 80 % power at the corrected level; None
            where there is no such effect, since a single pair of runs has no spread.
        units: items, over all seeds; or runs an arm.
        assumptions: what the answer rests on.
        arms: for a question about runs, the base run and the arms; the last one decides. An arm
            that is predicted is not measured.
        ladder: what the arm is predicted from, where it is.
        tuning: the job that measures the last arm made for real, for the first seed, where the
            arms are emulated.
        sizes: for a question about items, what its precision is computed from.
        during: steps after which its items are measured, before the end of the run.
        stopping: how losing arms are stopped, None where the study does not ask for it.
        rungs: where arms may be stopped, ascending; none where nothing is.
    """

    question: Question
    strategy: Strategy
    detectable_effect: float | None
    units: int
    assumptions: tuple[str, ...]
    arms: tuple[PlannedArm, ...] = ()
    sizes: Sizes | None = None
    during: tuple[int, ...] = ()
    ladder: PlannedLadder | None = None
    tuning: str | None = None
    stopping: Stopping | None = None
    rungs: tuple[PlannedRung, ...] = ()

    @property
    def rests_on(self) -> list[Any]:
        """What decides it beside its arms' measurements, as plain data; empty for most."""
        ladder = [asdict(self.ladder)] if self.ladder else []
        return [*ladder, *([self.tuning] if self.tuning else [])]

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where its treatment acts, and the method by which its strategy answers."""
        by = {Strategy.AVERAGE: (Site.WEIGHTS,), Strategy.EMULATE: (Site.INFERENCE,)}
        return (*self.question.sites, *by.get(self.strategy, ()))
