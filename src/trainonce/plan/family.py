"""One run and the forks of it that a dependence test compares, as jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from trainonce.plan.jobs import Job, Role
from trainonce.plan.lines import Line
from trainonce.plan.measuring import items
from trainonce.plan.planned import PlannedQuestion
from trainonce.plan.prices import Prices
from trainonce.plan.training import training
from trainonce.stream.corpus import Corpus
from trainonce.study.questions import ItemQuestion
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.runs import Fork, TrainSpec

NAMES = {Role.TRUNK: "trunk", Role.PLAIN: "plain run"}


@dataclass(frozen=True)
class Family:
    """The run of one seed that forks leave, and its forks.

    Attributes:
        trunk: the trunk of that seed.
        role: which run forks leave, the trunk or the plain one.
        start: the step after which they leave it.
        end: the step after which items are measured.
        corpus: what it reads.
        prices: what steps cost.
    """

    trunk: TrainSpec
    role: Role
    start: int
    end: int
    corpus: Corpus
    prices: Prices

    @property
    def parent(self) -> TrainSpec:
        """The run that forks leave."""
        return self.trunk if self.role is Role.TRUNK else replace(self.trunk, treatments=())

    @property
    def names(self) -> tuple[str, ...]:
        """The experiments."""
        return tuple(one.question for one in self.trunk.treatments)

    @property
    def ends(self) -> bool:
        """Whether forks train to the end of the run, so that no states of theirs are kept."""
        return self.end == self.trunk.train.steps

    def spec(self, present: tuple[str, ...]) -> TrainSpec:
        """The fork with these experiments; the parent itself where it has the same ones.

        A compiled parent has other last bits than forks, which are too short to compile, so that
        each combination is a fork then.
        """
        kept = tuple(one for one in self.trunk.treatments if one.question in present)
        if kept == self.parent.treatments and not self.parent.compiled:
            return self.parent
        fork = Fork(self.parent, self.start)
        return replace(self.parent, treatments=kept, fork=fork, compiled=False)

    def parent_jobs(
        self, combinations: Iterable[tuple[str, ...]], states: Mapping[int, tuple[str, ...]]
    ) -> list[Job]:
        """The state that forks leave, and how the parent goes on where it is one of the runs.

        Args:
            combinations: what is present in the forks.
            states: steps before that at which the study takes a state of the parent too, and for
                which questions. They are made on the way, so that the study need not go back.
        """
        among = any(self.spec(present) == self.parent for present in combinations)
        names = self.names
        line = self._line(self.parent, names, NAMES[self.role], ends=among and self.ends)
        cuts = {self.start: ("each fork",)}
        watched = dict(states) | ({self.end: names} if among and not self.ends else {})
        line = replace(line, role=self.role)
        jobs = training(line, cuts, watched, self.prices, lambda _run: None)
        return [replace(job, questions=names) for job in jobs]

    def run_jobs(self, present: tuple[str, ...], label: str) -> list[Job]:
        """The fork with these experiments, to the step where it is measured."""
        spec = self.spec(present)
        if spec == self.parent:
            return []
        line = self._line(spec, present, label, ends=self.ends)
        watched = {} if self.ends else {self.end: self.names}
        jobs = training(line, {}, watched, self.prices, lambda _run: None)
        return [replace(job, role=Role.CHECK, questions=present) for job in jobs]

    def measurement(self, present: tuple[str, ...], label: str, planned: PlannedQuestion) -> Job:
        """What a run made of an experiment's items, whether it has read them or not."""
        question = planned.question
        assert isinstance(question, ItemQuestion)
        spec = self.spec(present)
        treated = next(one for one in self.trunk.treatments if one.question == question.id)
        found = treated.apply(spec.stream(self.corpus)).items[question.id]
        name = label if spec.fork else NAMES[self.role]
        line = self._line(spec, present, name, ends=self.ends)
        step = None if self.ends else self.end
        return items(line, question, treated, found, Role.CHECK, self.prices, step)

    def _line(self, spec: TrainSpec, present: tuple[str, ...], label: str, *, ends: bool) -> Line:
        about = f": leaves the {NAMES[self.role]} after step {self.start}" if spec.fork else ""
        return Line(
            spec=spec,
            role=Role.CHECK,
            strategy=Strategy.FORK,
            questions=present,
            name=f"{label if spec == self.parent else f'fork ({label})'} of seed {spec.seed}",
            about=about,
            label=label if spec.fork else "",
            ends=ends,
        )
