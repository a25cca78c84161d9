"""What goes from the cache, and what never does."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.run.finished_jobs import FORK, MEASURE, STATE, TRUNK, age, checkpoint, finish
from trainonce.run.cache import JobCache
from trainonce.run.entries import Uses, entries, leftovers, running
from trainonce.run.prune import Pruning, Wish, drop, drop_work, prunable

OTHER = replace(TRUNK, seed=9)
ALL = Wish(older=-1.0)


def planned(cache: JobCache, wish: Wish, known: Uses | None = None) -> Pruning:
    known = known or Uses()
    found, left = entries(cache, known), leftovers(cache)
    return prunable(found, left, known, running(cache), wish, time.time())


def keys(pruning: Pruning) -> set[str]:
    return {entry.key for entry in pruning.jobs}


def test_jobs_are_listed_with_what_they_are(tmp_path: Path) -> None:
    cache = finish(tmp_path, STATE, FORK, MEASURE)
    age(cache, FORK.key, 3)
    known = Uses(
        True,
        studies={MEASURE.key: {"One", "Two"}},
        questions={MEASURE.key: {"memory"}},
        used={STATE.key: time.time() + 60},
    )
    found = entries(cache, known)
    assert [entry.key for entry in found] == [STATE.key, MEASURE.key, FORK.key]
    state, measure, fork = found
    assert [entry.kind for entry in found] == ["state", "measure", "train"]
    assert (measure.studies, measure.questions) == (("One", "Two"), ("memory",))
    assert fork.state == STATE.key
    assert fork.seconds == 2.0
    assert state.size == sum(file.stat().st_size for file in cache.folder(STATE.key).iterdir())


def test_what_was_not_used_for_a_while_goes(tmp_path: Path) -> None:
    cache = finish(tmp_path, TRUNK, MEASURE, OTHER)
    age(cache, TRUNK.key, 40)
    age(cache, OTHER.key, 40)
    week = Wish(older=7 * 86400.0)
    assert keys(planned(cache, week)) == {TRUNK.key, OTHER.key}
    used = Uses(True, used={OTHER.key: time.time()})
    assert keys(planned(cache, week, used)) == {TRUNK.key}


def test_the_least_recently_used_go_until_the_rest_fits(tmp_path: Path) -> None:
    cache = finish(tmp_path, TRUNK, OTHER, MEASURE)
    for days, key in enumerate((MEASURE.key, OTHER.key, TRUNK.key)):
        age(cache, key, days)
    sizes = {entry.key: entry.size for entry in entries(cache, Uses())}
    room = sum(sizes.values()) - sizes[TRUNK.key]
    assert keys(planned(cache, Wish(to=room))) == {TRUNK.key}
    assert keys(planned(cache, Wish(to=room - 1))) == {TRUNK.key, OTHER.key}
    assert keys(planned(cache, Wish(to=sum(sizes.values())))) == set()
    assert keys(planned(cache, Wish(larger=sizes[TRUNK.key], to=0))) == {MEASURE.key}


def test_what_no_study_wants_any_more_goes(tmp_path: Path) -> None:
    cache = finish(tmp_path, TRUNK, OTHER)
    known = Uses(True, wanted=frozenset([TRUNK.key]))
    assert keys(planned(cache, Wish(unused=True), known)) == {OTHER.key}


def test_a_state_stays_while_a_fork_has_tensors_in_it(tmp_path: Path) -> None:
    cache = finish(tmp_path, STATE, FORK)
    age(cache, STATE.key, 40)
    pruning = planned(cache, Wish(older=7 * 86400.0))
    assert not pruning.jobs
    assert pruning.kept == {STATE.key: f"it holds tensors of {FORK.key}"}

    both = planned(cache, ALL)
    assert [entry.key for entry in both.jobs] == [FORK.key, STATE.key]  # never a fork without it
    drop(cache, both.jobs[0].key)
    assert keys(planned(cache, Wish(older=7 * 86400.0))) == {STATE.key}


def test_a_state_stays_while_a_fork_of_it_is_unfinished(tmp_path: Path) -> None:
    cache = finish(tmp_path, STATE)
    checkpoint(cache, FORK)
    pruning = planned(cache, ALL)
    assert not pruning.jobs
    assert pruning.kept == {STATE.key: f"{FORK.key}, which is not finished, began with it"}

    unwanted = Uses(True)
    with_work = planned(cache, replace(ALL, work=True), unwanted)
    assert keys(with_work) == {STATE.key}
    assert [one.jobs for one in with_work.work] == [(FORK.key,)]


def test_what_an_unfinished_job_of_a_plan_is_made_from_stays(tmp_path: Path) -> None:
    cache = finish(tmp_path, TRUNK, OTHER)
    known = Uses(True, parents={MEASURE.key: {TRUNK.key}, TRUNK.key: set()})
    pruning = planned(cache, ALL, known)
    assert keys(pruning) == {OTHER.key}
    assert "is made from it" in pruning.kept[TRUNK.key]
    finish(tmp_path, MEASURE)
    assert keys(planned(cache, ALL, known)) == {TRUNK.key, OTHER.key, MEASURE.key}


def test_nothing_goes_that_is_running_or_that_what_runs_may_begin_with(tmp_path: Path) -> None:
    cache = finish(tmp_path, TRUNK, STATE, MEASURE)
    with cache.lock(FORK.key):
        assert running(cache) == {FORK.key}
        assert keys(planned(cache, ALL)) == {MEASURE.key}
    with cache.lock(MEASURE.key):
        assert planned(cache, ALL).kept[MEASURE.key] == "it is running"
        assert not drop(cache, MEASURE.key)
        assert cache.done(MEASURE.key)
    assert drop(cache, MEASURE.key)
    assert not cache.done(MEASURE.key)
    assert not list((tmp_path / "trash").iterdir())


def test_runs_of_a_stack_that_is_training_stay(tmp_path: Path) -> None:
    member = replace(TRUNK, stack="together")
    cache = finish(tmp_path, member)
    with cache.lock("together"):
        assert planned(cache, ALL).kept == {member.key: "it is running"}


def test_only_leftovers_that_nobody_goes_on_with_go(tmp_path: Path) -> None:
    cache = finish(tmp_path, OTHER)
    checkpoint(cache, TRUNK)
    checkpoint(cache, FORK)
    checkpoint(cache, OTHER)
    cache.work("nothing-saved").mkdir()
    wish = Wish(work=True)
    finished_or_empty = {OTHER.key, "nothing-saved"}
    assert {one.key for one in planned(cache, wish).work} == finished_or_empty
    wanted = Uses(True, wanted=frozenset([TRUNK.key]))
    assert {one.key for one in planned(cache, wish, wanted).work} == {FORK.key, *finished_or_empty}
    with cache.lock(FORK.key):
        (held,) = [one for one in leftovers(cache) if one.key == FORK.key]
        assert not drop_work(cache, held)
        assert held not in planned(cache, wish, wanted).work
    assert drop_work(cache, held)
    assert not cache.work(FORK.key).exists()
    assert cache.work(TRUNK.key).exists()


def test_a_leftover_whose_newest_checkpoint_is_damaged_is_still_known(tmp_path: Path) -> None:
    cache = JobCache(tmp_path)
    first = checkpoint(cache, FORK)
    second = first.with_name("step-000000009")
    shutil.copytree(first, second)
    (second / "state.json").write_text("{")
    (left,) = leftovers(cache)
    assert (left.jobs, left.state) == ((FORK.key,), STATE.key)


def test_a_result_that_cannot_be_read_is_listed_and_can_go(tmp_path: Path) -> None:
    cache = finish(tmp_path, TRUNK)
    (cache.folder(TRUNK.key) / "result.json").write_text("{")
    (entry,) = entries(cache, Uses())
    assert entry.kind == "damaged"
    assert keys(planned(cache, ALL)) == {TRUNK.key}


@pytest.mark.parametrize("dropped", [FORK, STATE])
def test_what_stays_can_be_read(tmp_path: Path, dropped: object) -> None:
    """A fork that stays gives its weights after everything else that can go went."""
    cache = finish(tmp_path, STATE, FORK, OTHER)
    before = cache.weights(FORK.key)
    keep_fork = Uses(True, wanted=frozenset([FORK.key]))
    for entry in planned(cache, Wish(unused=True), keep_fork).jobs:
        drop(cache, entry.key)
    after = cache.weights(FORK.key)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not cache.done(OTHER.key)
