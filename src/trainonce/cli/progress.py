"""Progress of a study on standard error: bars in a terminal, a line a job elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from trainonce.plan.plan import Job, Plan
from trainonce.run.scheduler import Event
from trainonce.stream.corpus import Progress as DataProgress


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


@contextmanager
def data_progress(console: Console) -> Iterator[DataProgress]:
    """A bar for each stage of preparing the corpus."""
    with _bars(console) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                name = f"{what} the corpus" if what == "reading" else what
                tasks[what] = bars.add_task(name, note="")
            bars.update(tasks[what], completed=done, total=total)

        yield tell


@contextmanager
def study_progress(plan: Plan, console: Console) -> Iterator[Callable[[Event], None]]:
    """A bar for the study's jobs, and one for each run that is training."""
    with _bars(console) as bars:
        whole = bars.add_task("[bold]jobs[/]", total=len(plan.jobs), note=f"0 of {len(plan.jobs)}")
        tasks: dict[str, TaskID] = {}
        finished = 0
        warned: set[str] = set()

        def tell(event: Event) -> None:
            nonlocal finished
            job = event.job
            if event.kind == "started" and job.kind in ("train", "state"):
                tasks[job.key] = bars.add_task(_name(job), note="starting")
            if event.kind == "progress":
                facts = event.facts
                note = (
                    f"loss {facts['loss']:.3f}  {facts['tokens_per_second']:,.0f} tokens/s  "
                    f"{facts['seconds_left']:.0f} s left"
                )
                bars.update(
                    tasks[job.key], completed=facts["step"], total=facts["steps"], note=note
                )
            if event.kind == "warned" and event.facts["warning"] not in warned:
                warned.add(event.facts["warning"])
                console.print(escape(event.facts["warning"]), style="yellow", soft_wrap=True)
            if event.kind in ("done", "reused", "crashed", "diverged") and job.key in tasks:
                bars.remove_task(tasks.pop(job.key))
            if event.kind == "crashed" and "retry" in event.facts:
                facts = event.facts
                again = f"begun again from its last state ({facts['retry']} of {facts['retries']})"
                text = f"{job.reason} crashed, and is {again}: {facts['error']}"
                console.print(escape(text), soft_wrap=True, highlight=False)
            if event.kind in ("skipped", "diverged") and event.facts["why"] not in warned:
                warned.add(event.facts["why"])
                console.print(escape(event.facts["why"]), style="yellow", soft_wrap=True)
            if event.kind in ("done", "reused", "skipped", "diverged"):
                finished += 1
                bars.update(whole, completed=finished, note=f"{finished} of {len(plan.jobs)}")
            if event.kind == "done" and not console.is_terminal:
                console.print(f"{finished}/{len(plan.jobs)} {escape(job.reason)}", soft_wrap=True)

        yield tell


def _name(job: Job) -> str:
    return escape(f"{job.label or job.role.value}, seed {job.seed}")
