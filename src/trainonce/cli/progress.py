"""Progress of a study on standard error: bars in a terminal, a line a job elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from trainonce.cli.headway import OVER, Headway
from trainonce.plan.jobs import Job
from trainonce.plan.plan import Plan
from trainonce.report.times import roughly
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
    """A bar for the study as a whole, and one for each run that is training."""
    headway = Headway(plan)
    with _bars(console) as bars:
        whole = bars.add_task("[bold]jobs[/]", total=1.0, note=headway.note)
        tasks: dict[str, TaskID] = {}
        warned: set[str] = set()

        def say_once(text: str) -> None:
            if text not in warned:
                warned.add(text)
                console.print(escape(text), style="yellow", soft_wrap=True, highlight=False)

        def tell(event: Event) -> None:
            job, facts = event.job, event.facts
            headway.take(event)
            bars.update(whole, completed=headway.share, note=headway.note)
            if event.kind == "started" and job.kind in ("train", "state"):
                tasks[job.key] = bars.add_task(_name(job), note="starting")
            if event.kind == "progress" and job.key in tasks:
                note = (
                    f"step {facts['step']:,} of {facts['steps']:,}  loss {facts['loss']:.3f}  "
                    f"{facts['tokens_per_second']:,.0f} tokens/s  "
                    f"{roughly(facts['seconds_left'])} left"
                )
                bars.update(
                    tasks[job.key], completed=facts["step"], total=facts["steps"], note=note
                )
            if event.kind == "warned":
                say_once(facts["warning"])
            if event.kind in (*OVER, "crashed") and job.key in tasks:
                bars.remove_task(tasks.pop(job.key))
            if event.kind == "crashed" and "retry" in facts:
                again = f"begun again from its last state ({facts['retry']} of {facts['retries']})"
                text = f"{job.reason} crashed, and is {again}: {facts['error']}"
                console.print(escape(text), soft_wrap=True, highlight=False)
            if event.kind in ("skipped", "diverged"):
                say_once(facts["why"])
            if event.kind == "done" and not console.is_terminal:
                text = f"{headway.finished}/{headway.jobs} {escape(job.reason)}"
                console.print(text, soft_wrap=True)

        yield tell


def _name(job: Job) -> str:
    return escape(f"{job.label or job.role.value}, seed {job.seed}")
