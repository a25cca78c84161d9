"""Trackers, called through Accelerate: off unless asked for, and offline unless set otherwise.

No result depends on them, and none of them can end a run.
"""

from __future__ import annotations

import importlib.util
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainonce.study.trackers import Tracker
from trainonce.train.journal import StepFacts, Track


class TrackerError(RuntimeError):
    """A tracker that is not installed; the message says what installs it."""


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """What to track a study's runs with.

    Attributes:
        trackers: any of TensorBoard, Weights & Biases, MLflow, trackio.
        project: the study, as trackers group its runs.
        folder: where those that keep files keep them.
        plan: hash of the plan that the runs are for, which each of them notes.
    """

    trackers: tuple[Tracker, ...]
    project: str
    folder: Path
    plan: str = ""

    @classmethod
    def of(cls, study: str, trackers: Sequence[Tracker], home: Path, plan: str = "") -> Tracking:
        """The trackers of a study by its title, which may hold what a tracker's name may not."""
        project = re.sub(r"[^A-Za-z0-9]+", "-", study).strip("-").lower()[:100] or "study"
        once = tuple(dict.fromkeys(trackers))
        return cls(trackers=once, project=project, folder=home / "tracking", plan=plan)


def refuse_missing(trackers: Sequence[Tracker]) -> None:
    """Say what is not installed, before anything is trained.

    Raises:
        TrackerError: with the line that installs it.
    """
    needed = ["accelerate", *trackers] if trackers else []
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        asked = ", ".join(trackers)
        raise TrackerError(f"tracking with {asked} needs: pip install {' '.join(missing)}")


@contextmanager
def tracked(tracking: Tracking, job: str) -> Iterator[Track]:
    """What takes the steps of a job; its trackers begin with the first of them.

    A tracker that fails is named in a warning and left alone from there on.

    Args:
        tracking: with what.
        job: the job's key, which names the run; a job that goes on goes on in the same run.
    """
    started: dict[Tracker, Any] = {}
    failed: set[Tracker] = set()

    def attempt(name: Tracker, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # whatever a tracker raises must not end a run
            failed.add(name)
            warnings.warn(f"tracking with {name.value} ended: {error}", stacklevel=2)

    def begin_and_log(name: Tracker, steps: Sequence[StepFacts]) -> None:
        if name not in started:
            started[name] = _START[name](tracking, job, steps[0].step)
            started[name].start()
            _note_plan(name, started[name], tracking.plan, steps[0].step)
        for facts in steps:
            values = asdict(facts)
            started[name].log(values, step=values.pop("step"))

    def track(steps: Sequence[StepFacts]) -> None:
        for name in tracking.trackers:
            if name not in failed:
                attempt(name, lambda name=name: begin_and_log(name, steps))  # type: ignore[misc]

    try:
        yield track
    finally:
        for name, tracker in started.items():
            attempt(name, tracker.finish)


def _note_plan(name: Tracker, tracker: Any, plan: str, step: int) -> None:
    """Say beside a run which plan it is for; a job that goes on may by now be for another one."""
    if name is Tracker.TENSORBOARD:
        tracker.log({"plan": plan}, step=step)  # as hyperparameters it would be a run of its own
        return
    with suppress(Exception):  # some let nothing be said twice, and keep what was said first
        tracker.store_init_configuration({"plan": plan})


def _tensorboard(tracking: Tracking, job: str, step: int) -> Any:
    from accelerate.tracking import TensorBoardTracker

    folder = tracking.folder / "tensorboard" / tracking.project
    return TensorBoardTracker(job, folder, purge_step=step)


def _wandb(tracking: Tracking, job: str, step: int) -> Any:  # noqa: ARG001
    from accelerate.tracking import WandBTracker

    os.environ.setdefault("WANDB_MODE", "offline")
    folder = tracking.folder / "wandb"
    folder.mkdir(parents=True, exist_ok=True)
    return WandBTracker(tracking.project, id=job, name=job, resume="allow", dir=str(folder))


def _mlflow(tracking: Tracking, job: str, step: int) -> Any:  # noqa: ARG001
    import mlflow
    from accelerate.tracking import MLflowTracker

    folder = tracking.folder / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    before = mlflow.search_runs(
        experiment_names=[tracking.project],
        filter_string=f"attributes.run_name = '{job}'",
        output_format="list",
    )
    own = before[0].info.run_id if before else None
    return MLflowTracker(tracking.project, run_id=own, run_name=job)


def _trackio(tracking: Tracking, job: str, step: int) -> Any:  # noqa: ARG001
    from accelerate.tracking import TrackioTracker

    os.environ.setdefault("TRACKIO_DIR", str(tracking.folder / "trackio"))
    return TrackioTracker(tracking.project, name=job, resume="allow")


_START: dict[Tracker, Callable[[Tracking, str, int], Any]] = {
    Tracker.TENSORBOARD: _tensorboard,
    Tracker.WANDB: _wandb,
    Tracker.MLFLOW: _mlflow,
    Tracker.TRACKIO: _trackio,
}
