"""One of the processes that train a job together; torchrun starts them.

Two ways in: the executor starts ``python -m trainonce.run.rank --job FILE`` on this machine (see
`trainonce.run.launch`), and a user starts ``-m trainonce.run.rank STUDY`` with a torchrun line of
their own, on one machine or several. SIGTERM or SIGINT to any rank saves the state and ends all.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

Tell = Callable[..., None]
_PATIENCE_SECONDS = 60.0


def main() -> None:
    """Train a job, or all train jobs of a study, with the other ranks."""
    parser = argparse.ArgumentParser(prog="python -m trainonce.run.rank", description=__doc__)
    parser.add_argument("study", nargs="?", type=Path, help="a study file, for your own torchrun")
    parser.add_argument("--job", type=Path, help="a job's file, as the executor writes it")
    given = parser.parse_args()
    if (given.study is None) == (given.job is None):
        parser.error("either a study file or --job")
    try:
        code = _of_study(given.study) if given.study else _of_job(given.job)
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # gloo's threads may outlive the interpreter, and would abort it


def _stop_when_told() -> threading.Event:
    """What a signal sets from now on; before the ranks have met, it ends a rank at once."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _signal, _frame: stopping.set())
    return stopping


def _of_job(file: Path) -> int:
    """Train the job in ``file``, telling of it in lines of JSON, until standard input closes."""
    from pydantic import TypeAdapter

    from trainonce.run.cache import JobCache
    from trainonce.run.execute import train_job
    from trainonce.run.tracking import Tracking
    from trainonce.tasks.specs.runs import StateSpec, TrainSpec
    from trainonce.train.clock import Progress
    from trainonce.train.distributed.ranks import Ranks
    from trainonce.train.settings import CheckpointSettings

    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not end up between the events
    message = json.loads(file.read_text(encoding="utf-8"))
    adapter: TypeAdapter[TrainSpec | StateSpec] = TypeAdapter(TrainSpec | StateSpec)
    spec = adapter.validate_python(message["spec"])
    run = spec.trained
    settings = TypeAdapter(CheckpointSettings).validate_python(message["checkpoints"])
    tracking = TypeAdapter(Tracking | None).validate_python(message["tracking"])
    assert run.processes is not None
    ranks = Ranks(run.processes, run.device, run.seed)
    stopping = _stop_when_told()
    threading.Thread(target=_listen, args=(stopping,), daemon=True).start()

    def tell(event: str, **facts: Any) -> None:
        if ranks.rank == 0:
            print(json.dumps({"event": event, **facts}), file=events, flush=True)

    def report(progress: Progress) -> None:
        tell("progress", **vars(progress))

    cache = JobCache(Path(message["home"]))
    own = None if ranks.rank else tracking
    lock = cache.lock(f"{spec.key}.ranks")  # ranks whose executor was killed may still be saving
    ranks.once(partial(lock.acquire, timeout=_PATIENCE_SECONDS))
    train = partial(
        train_job, spec, cache, settings, report, stopping.is_set, own, ranks, message["noted"]
    )
    _ended(train, tell)
    return 0  # torchrun starts a rank anew that ends otherwise


def _of_study(file: Path) -> int:
    """Train the jobs of ``file`` that are not finished, in the order of its plan."""
    import torch
    from pydantic import TypeAdapter

    from trainonce.plan.planner import plan
    from trainonce.run.cache import JobCache
    from trainonce.run.execute import train_job
    from trainonce.run.tracking import Tracking
    from trainonce.stream.home import home
    from trainonce.study.load import load
    from trainonce.tasks.specs.runs import StateSpec, TrainSpec
    from trainonce.train.clock import Progress
    from trainonce.train.distributed.ranks import Ranks

    definition = load(file)
    if definition.recipe.processes is None:
        print(f"{file}: recipe.processes is missing, so its runs are of one process")
        return 1
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ranks = Ranks(definition.recipe.processes, device, definition.recipe.seeds[0])
    stopping = _stop_when_told()
    with ranks.in_turn():
        planned = plan(definition, home())  # each machine prepares its own copy of the data
    jobs = {j.key: j.spec for j in planned.jobs if isinstance(j.spec, (TrainSpec, StateSpec))}
    cache = JobCache(planned.home)
    adapter = TypeAdapter(dict[str, TrainSpec | StateSpec])
    missing = {key: spec for key, spec in jobs.items() if not cache.done(key)}
    # What the first rank plans holds for all: machines may differ in cores.
    missing = adapter.validate_python(ranks.told(adapter.dump_python(missing, mode="json")))

    def tell(event: str, **facts: Any) -> None:
        if ranks.rank == 0:
            print(event, *(f"{name} {value}" for name, value in facts.items()), flush=True)

    def report(progress: Progress) -> None:
        tell(f"step {progress.step} of {progress.steps}:", loss=f"{progress.loss:.4f}")

    tracking = None
    if planned.tracking and ranks.rank == 0:
        about = (planned.study, planned.tracking, planned.home, planned.hash)
        tracking = Tracking.of(*about)
    for key, spec in missing.items():
        tell(f"job {key}")
        lock = cache.lock(key)
        ranks.once(partial(lock.acquire, timeout=0))
        noted = {"plan": planned.hash}
        told = (planned.checkpoints, report, stopping.is_set, tracking, ranks, noted)
        train = partial(train_job, spec, cache, *told)
        try:
            if not _ended(train, tell):
                return 1
        finally:
            lock.release()
    tell(f"all runs are trained; next: trainonce run {file}")
    return 0


def _listen(stopping: threading.Event) -> None:
    for _line in sys.stdin:
        pass
    stopping.set()


def _ended(train: Callable[[], None], tell: Tell) -> bool:
    """Whether ``train`` came to its end. Errors that a restart would meet again are told."""
    from trainonce.train.checkpoints import SaveError
    from trainonce.train.guard import DivergedError
    from trainonce.train.loop import StoppedError

    try:
        train()
    except StoppedError as stopped:
        tell("stopped", why=str(stopped))
    except (DivergedError, SaveError, ValueError) as error:
        traceback.print_exc()
        tell("failed", error=f"{type(error).__name__}: {error}")
    else:
        return True
    return False


if __name__ == "__main__":
    main()
