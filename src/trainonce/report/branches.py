"""The runs of a plan as people think of them: what differs in its seed only is one branch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from trainonce.plan.jobs import Job, Role
from trainonce.plan.plan import Plan
from trainonce.tasks.specs.runs import StateSpec, TrainSpec
from trainonce.tasks.trial import TrialSpec


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Runs that differ in their seed only, or what is made of several such runs.

    Attributes:
        name: unique in the plan.
        jobs: the runs and their states.
        measured: what is measured of them.
        parents: names of the branches that it leaves; of those that it is made of.
        begin: the step at which it leaves its parent; for what is made of others, where they end.
        end: its last step.
        made: whether it is made of the branches that are its parents, rather than trained.
    """

    name: str
    jobs: tuple[Job, ...]
    measured: tuple[Job, ...]
    parents: tuple[str, ...]
    begin: int = 0
    end: int
    made: bool = False

    @property
    def _last(self) -> Job:
        return self.jobs[-1] if self.jobs else self.measured[-1]

    @property
    def title(self) -> str:
        """What it is."""
        run = next((job for job in self.jobs if job.kind != "state"), self._last)
        return run.label or {Role.PLAIN: "plain run", Role.STATE: "run"}.get(run.role, run.role)

    @property
    def runs(self) -> tuple[Job, ...]:
        """The jobs that train it, or that make it."""
        trained = tuple(job for job in self.jobs if job.kind != "state")
        return trained or self.jobs or self.measured

    @property
    def stops(self) -> dict[int, tuple[Job, ...]]:
        """The steps at which its states are kept or something is measured, and the jobs there.

        Its end is among them, with all that is measured there or with its runs.
        """
        found: dict[int, tuple[Job, ...]] = {}
        for job in (*self.jobs, *self.measured):
            if job.kind not in ("state", "measure"):
                continue
            step = getattr(job.spec, "step", None)
            at = self.end if step is None else step
            found[at] = (*found.get(at, ()), job)
        found.setdefault(self.end, self.runs)
        return dict(sorted(found.items()))

    @property
    def role(self) -> str:
        """What its runs are there for, in a word."""
        return self._last.role.value

    @property
    def seeds(self) -> int:
        """Of how many seeds there are runs."""
        return len({job.seed for job in (*self.jobs, *self.measured)})

    @property
    def tries(self) -> bool:
        """Whether it is trials of a task, which have no steps that others could leave at."""
        return self._last.kind == "trial"

    @property
    def strategy(self) -> str:
        """How the questions that it serves share training."""
        return self._last.strategy.value

    @property
    def is_check(self) -> bool:
        """Whether it tests the sharing rather than answer a question."""
        return self._last.is_check

    @property
    def run_equivalents(self) -> float:
        """What it costs, with what is measured of it."""
        return sum(job.run_equivalents for job in (*self.jobs, *self.measured))

    @property
    def questions(self) -> tuple[str, ...]:
        """What is measured of it, by question; what it is there for, where nothing is."""
        return _named(self.measured) or _named(self.jobs)


def branches(plan: Plan) -> tuple[Branch, ...]:
    """The branches of ``plan``: after the trunk each one's own, those that leave last first."""
    found: dict[str, Branch] = {}
    of: dict[str, str] = {}
    seedless: dict[str, str] = {}
    for job in plan.jobs:
        parents = tuple(dict.fromkeys(of[key] for key in job.parents if key in of))
        trained = job.kind in ("train", "state")
        if not trained and len(parents) == 1:  # measured, or decided by
            name = of[job.key] = parents[0]
            if job.kind == "measure":
                found[name] = replace(found[name], measured=(*found[name].measured, job))
            continue
        if isinstance(job.spec, TrialSpec):
            name = of[job.key] = replace(job.spec, seed=0).key
            first = found.get(name, Branch(name=name, jobs=(), measured=(), parents=(), end=1))
            found[name] = replace(first, jobs=(*first.jobs, job))
            continue
        run = job.trained
        if trained:
            key = job.key.partition("@")[0]
            name = seedless[key] = seedless.get(key) or _seedless(run).key
            reached = job.spec.step if isinstance(job.spec, StateSpec) else run.train.steps
            begin, end = run.begins, reached
        else:
            name = f"{job.kind} {job.label} {' '.join(parents)}"
            begin = end = max((found[parent].end for parent in parents), default=0)
        of[job.key] = name
        before = found.get(name)
        if before:
            found[name] = replace(before, jobs=(*before.jobs, job), end=max(before.end, end))
        else:
            found[name] = Branch(
                name=name,
                jobs=(job,) if job.kind != "measure" else (),
                measured=(job,) if job.kind == "measure" else (),
                parents=tuple(parent for parent in parents if parent != name),
                begin=begin,
                end=end,
                made=not trained,
            )
    return tuple(_ordered(found))


def _ordered(found: dict[str, Branch]) -> Iterable[Branch]:
    """Each branch after its parents; of those that leave one branch, the latest first.

    So no line on its way down crosses one that left before it.
    """
    below: dict[str, list[Branch]] = {name: [] for name in found}
    for branch in found.values():
        if branch.parents and not branch.made:
            below[branch.parents[0]].append(branch)

    def walk(branch: Branch) -> Iterable[Branch]:
        yield branch
        for child in sorted(below[branch.name], key=lambda child: (-child.begin, child.is_check)):
            yield from walk(child)

    done: set[str] = set()
    made = [branch for branch in found.values() if branch.made]
    for root in found.values():
        if root.parents:
            continue
        for branch in walk(root):
            yield branch
            done.add(branch.name)
        for branch in [one for one in made if one.name not in done]:
            if all(parent in done for parent in branch.parents):
                yield branch
                done.add(branch.name)


def _seedless(run: TrainSpec) -> TrainSpec:
    fork = run.fork and replace(run.fork, parent=_seedless(run.fork.parent))
    return replace(run, seed=0, fork=fork, stack=None, compiled=False)


def _named(jobs: Iterable[Job]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for job in jobs for name in job.questions))
