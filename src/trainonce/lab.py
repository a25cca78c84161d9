"""The way in from Python: a study, its plan, its answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from trainonce.analysis.answering import answer
from trainonce.analysis.answers import Answers
from trainonce.analysis.dependence.deciding import dependence
from trainonce.analysis.dependence.results import Dependence
from trainonce.analysis.pilots import observed_spreads
from trainonce.plan.dependence import Asked, DependenceError, DependencePlan, asked, plan_dependence
from trainonce.plan.jobs import Role
from trainonce.plan.plan import Plan
from trainonce.plan.planner import plan
from trainonce.plan.saved import is_saved_plan, read
from trainonce.plan.sensitivity import Sensitivity, sensitivities
from trainonce.plan.trials import plan_trials
from trainonce.report.notebook import plan_html, study_html
from trainonce.run import checks
from trainonce.run.cache import JobCache
from trainonce.run.fates import Kind, fates
from trainonce.run.history import HomeHistory
from trainonce.run.recorded import carry_out_recorded
from trainonce.run.scheduler import RETRIES, Event
from trainonce.stream.corpus import Progress
from trainonce.stream.home import home as default_home
from trainonce.study.load import StudyDefinition, load
from trainonce.study.problems import Problem, StudyError
from trainonce.study.trackers import Tracker
from trainonce.study.trials import is_over_task, load_trials
from trainonce.study.yaml_lines import parse


class Study:
    """A study file, planned and run on demand.

    Examples:
        >>> study = Study.load("examples/quickstart.yaml")   # doctest: +SKIP
        >>> study.plan().run_equivalents                      # doctest: +SKIP
        1.01...
        >>> study.run().answers.to_frame()                    # doctest: +SKIP
    """

    definition: StudyDefinition | None
    """The checked study over a corpus; None for one over a task, and for that of a saved plan."""

    def __init__(
        self,
        planner: Callable[[Progress | None], Plan],
        home: Path,
        definition: StudyDefinition | None = None,
    ) -> None:
        self._planner = planner
        self.definition = definition
        self.home = home
        self._plan: Plan | None = None

    @classmethod
    def load(
        cls, file: str | os.PathLike[str], home: str | os.PathLike[str] | None = None
    ) -> Study:
        """Read and check a study file.

        Args:
            file: the study file.
            home: where corpora and jobs are kept; ``TRAINONCE_HOME`` or the user's cache folder
                when left out.

        Raises:
            StudyError: with everything that is wrong with the file.
        """
        where = Path(home) if home else default_home()
        document = parse(Path(file))
        if is_over_task(document):
            trials = load_trials(document)
            return cls(lambda _progress: plan_trials(trials, where), where)
        definition, cache = load(Path(file)), JobCache(where)

        def planned(progress: Progress | None) -> Plan:
            return plan(definition, where, progress, cache.variant, HomeHistory(cache))

        return cls(planned, where, definition)

    @classmethod
    def from_plan(
        cls,
        saved: Plan | str | os.PathLike[str],
        home: str | os.PathLike[str] | None = None,
    ) -> Study:
        """The study of a plan, which is carried out as it is.

        Args:
            saved: the plan, or the file that it was saved to.
            home: where corpora and jobs are kept, for a file; as for `load`.
        """
        if isinstance(saved, Plan):
            return cls(lambda _progress: saved, saved.home)
        file, where = Path(saved), Path(home) if home else default_home()
        return cls(lambda progress: read(file, where, progress), where)

    @classmethod
    def open(cls, file: Path) -> Study:
        """What ``file`` holds: a study, or a plan that was saved.

        Raises:
            StudyError: as `load`.
        """
        return cls.from_plan(file) if is_saved_plan(file) else cls.load(file)

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the plan where there is one already, else the questions."""
        if self._plan is not None:
            return plan_html(self._plan)
        if self.definition is None:
            return None
        known = self.definition
        return study_html(known.title, known.document.file, known.questions)

    def plan(self, progress: Progress | None = None) -> Plan:
        """The jobs that answer the study, with their cost; nothing is trained.

        Raises:
            StudyError: when the data cannot be read or the questions do not fit.
            PlanFileError: when a plan that was saved cannot be carried out here.
        """
        if self._plan is None:
            self._plan = self._planner(progress)
        return self._plan

    def run(
        self,
        *,
        workers: int | None = None,
        ray: str | None = None,
        retries: int = RETRIES,
        report: Callable[[Event], None] | None = None,
        trackers: Sequence[Tracker] = (),
    ) -> Study:
        """Run what is not finished yet, and keep a record of it in the ledger.

        Args:
            workers: processes side by side; as many as the machine, or the cluster, has room for
                when left out.
            ray: the Ray cluster to run on: its address, ``auto`` for the one that runs already,
                ``local`` to start one; None for processes of this machine.
            retries: how often a job whose process dies is begun again.
            report: told what happens.
            trackers: that runs are tracked with, beside those that the study names.

        Raises:
            StudyError: as `plan`.
            LedgerError: when the ledger cannot be used; nothing was run then.
            TrackerError: when a tracker is not installed.
            JobFailedError: when a job fails; running again goes on from there.
            ExecutorError: when Ray is not installed, or there is no such cluster.
        """
        carry_out_recorded(
            self.plan(),
            workers=workers,
            ray=ray,
            retries=retries,
            report=report,
            trackers=trackers,
        )
        return self

    def plan_check(self, wanted: Asked, progress: Progress | None = None) -> DependencePlan:
        """The jobs of a dependence test, with their cost; nothing is trained.

        Raises:
            StudyError: as `plan`.
            DependenceError: when there is no such state to leave, or nothing to test.
        """
        base = self.plan(progress)
        if base.over_task:
            raise DependenceError(
                "a study over a task has no trunk that questions share; its arms are trials"
            )
        if any(job.stack for job in base.jobs if job.role in (Role.TRUNK, Role.PLAIN)):
            # a stack keeps no states, so that these runs are trained by themselves
            if self.definition is None:
                raise DependenceError("this saved plan stacks its runs, which keep no states then")
            base = plan(self.definition, self.home, progress, known=lambda run: run)
        return plan_dependence(base, wanted)

    def check(
        self,
        start: str = Asked.start,
        *,
        length: str | float = Asked.length,
        design: str | None = None,
        workers: int | None = None,
    ) -> Dependence:
        """Test whether the questions that share the trunk touch each other.

        Forks leave one state of the trunk with the items of some questions and without the others';
        the items of all are measured in each. The study's answers then show what was found.

        Args:
            start: where forks leave: a share of the trunk, as in ``60%``, or ``JOB@STEP``.
            length: the share of the run's steps that a fork trains.
            design: ``alone``: each question alone, all and none; ``factorial``: all main effects
                and pairwise interactions at once; the second from five questions on when left out.
            workers: as in `run`.

        Raises:
            DependenceError: when there is no such state or design, or nothing to test.
        """
        return self.checked(asked(start, length, design), workers=workers)

    def checked(
        self,
        wanted: Asked,
        *,
        workers: int | None = None,
        report: Callable[[Event], None] | None = None,
    ) -> Dependence:
        """The outcome of a dependence test, which is carried out where it was not, and remembered.

        Args:
            wanted: the test.
            workers: as in `run`.
            report: as in `run`.
        """
        planned = self.plan_check(wanted)
        carry_out_recorded(planned.plan, workers=workers, report=report)
        checks.remember(self.plan(), wanted)
        return dependence(planned)

    @property
    def dependence(self) -> Dependence | None:
        """What the last dependence test found; None where there was none, or jobs of it went."""
        wanted = checks.remembered(self.plan())
        if wanted is None:
            return None
        planned = self.plan_check(wanted)
        return None if self._missing(planned.plan) else dependence(planned)

    def precision(self) -> tuple[Sensitivity, ...]:
        """What each question can detect, with what is planned and with more of it.

        How much units differ is taken from what is measured already, where something is.

        Raises:
            StudyError: as `plan`; and of a study over a task, for which nobody has worked it out.
        """
        planned = self.plan()
        if planned.over_task:
            right = "the plan says what its seeds can detect; more seeds detect less, by their root"
            raise StudyError(
                [Problem(planned.file, 1, "precision of a study over a task", "", right)]
            )
        return sensitivities(planned, observed_spreads(planned, JobCache(self.home)))

    @property
    def missing(self) -> int:
        """How many jobs are neither finished nor left out since their arm stopped or diverged."""
        return self._missing(self.plan())

    def _missing(self, planned: Plan) -> int:
        found = fates(planned, JobCache(self.home))
        return sum(fate.kind is Kind.OPEN for fate in found.values())

    @property
    def answers(self) -> Answers:
        """The answers of a study that has been run.

        Raises:
            RuntimeError: when jobs are missing.
        """
        if self.missing:
            raise RuntimeError(f"{self.missing} jobs of this study are not finished: run it first")
        return answer(self.plan(), self.dependence)
