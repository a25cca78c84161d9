"""Questions about runs in a study file: what they mean, and what each mistake says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from trainonce.models.decoder import SIZES, DecoderSettings
from trainonce.sites import Site
from trainonce.study.load import load
from trainonce.study.problems import StudyError
from trainonce.study.questions import ItemQuestion, RunQuestion, StopEarly
from trainonce.study.schema import Strategy
from trainonce.tasks.specs.runs import Placed
from trainonce.train.schedules import Cosine, WarmupStableDecay

HEAD = """\
study: A title
recipe:
  model: {width: 32, layers: 1, heads: 2}
  optimizer: {lr: 3e-3, weight_decay: 0.2}
  schedule: {name: wsd, warmup: 10%, decay: 20%}
  length: 200 steps
questions:
  - id: q
"""


def study(tmp_path: Path, question: str, head: str = HEAD) -> Path:
    file = tmp_path / "study.yaml"
    file.write_text(head + "".join(f"    {line}\n" for line in question.splitlines()))
    return file


def asked(tmp_path: Path, question: str) -> RunQuestion:
    (found,) = load(study(tmp_path, question)).questions
    assert isinstance(found, RunQuestion)
    return found


def problems(tmp_path: Path, question: str, head: str = HEAD) -> list[tuple[int, str, str]]:
    file = study(tmp_path, question, head)
    with pytest.raises(StudyError) as error:
        load(file)
    for problem in error.value.problems:
        assert str(problem).startswith(f"{file}:{problem.line}: {problem.field}: ")
    return [(p.line, p.field, f"{p.found} {p.right}") for p in error.value.problems]


def test_numbers_of_a_model_that_no_recipe_names_are_those_of_the_default(tmp_path: Path) -> None:
    head = "study: A title\nrecipe: {length: 200 steps}\nquestions:\n  - id: q\n"
    (found,) = load(study(tmp_path, "treatment: {change: {model.layers: 3}}", head)).questions
    assert isinstance(found, RunQuestion)
    (arm,) = found.arms
    assert arm.recipe.model == replace(SIZES["nano"], layers=3)


def test_a_change_is_the_recipe_with_that_value(tmp_path: Path) -> None:
    found = asked(tmp_path, "treatment: {change: {optimizer.lr: 6e-3}}")
    base = load(tmp_path / "study.yaml").recipe
    (arm,) = found.arms
    assert arm.label == "optimizer.lr 6e-3"
    assert (arm.recipe.optimizer.lr, arm.recipe.optimizer.weight_decay) == (6e-3, 0.2)
    assert arm.recipe.schedule == base.schedule
    assert (arm.since, found.late) == (0, False)
    assert (found.outcome.name, found.direction, found.base) == ("heldout_loss", 0, "the base run")


def test_lists_are_arms_side_by_side_and_single_values_are_in_all(tmp_path: Path) -> None:
    found = asked(
        tmp_path,
        "treatment:\n  change: {optimizer.lr: [1e-3, 6e-3], clip: [2, 4], optimizer.eps: 1e-6}",
    )
    assert [(a.recipe.optimizer.lr, a.recipe.clip) for a in found.arms] == [(1e-3, 2), (6e-3, 4)]
    assert {arm.recipe.optimizer.eps for arm in found.arms} == {1e-6}
    assert found.arms[1].label == "optimizer.lr 6e-3, clip 4, optimizer.eps 1e-6"


def test_a_pair_of_betas_is_one_value(tmp_path: Path) -> None:
    one = asked(tmp_path, "treatment: {change: {optimizer.betas: [0.9, 0.99]}}")
    assert [arm.recipe.optimizer.betas for arm in one.arms] == [(0.9, 0.99)]
    two = asked(tmp_path, "treatment: {change: {optimizer.betas: [[0.9, 0.99], [0.8, 0.9]]}}")
    assert [arm.recipe.optimizer.betas for arm in two.arms] == [(0.9, 0.99), (0.8, 0.9)]


def test_another_schedule_keeps_the_warmup_and_another_model_nothing(tmp_path: Path) -> None:
    (arm,) = asked(tmp_path, "treatment: {change: {schedule: cosine}}").arms
    assert arm.recipe.schedule == Cosine(warmup=0.1)
    wide, named = asked(tmp_path, "treatment: {change: {model: [nano, micro]}}").arms
    assert (wide.recipe.model, named.recipe.model) == ("nano", "micro")
    (deep,) = asked(tmp_path, "treatment: {change: {model.layers: 3}}").arms
    assert deep.recipe.model == DecoderSettings(width=32, layers=3, heads=2)


def test_another_objective_is_a_method_with_its_settings(tmp_path: Path) -> None:
    text = "treatment: {change: {objective: [z_loss, label_smoothing]}}"
    first, second = asked(tmp_path, text).arms
    assert first.recipe.objective == Placed(method="z_loss", version=1, settings={"weight": 1e-4})
    assert second.recipe.objective
    assert second.recipe.objective.settings == {"share": 0.1}
    text = "treatment: {change: {objective: z_loss, objective.weight: [1e-3, 1e-2]}}"
    weights = [arm.recipe.objective for arm in asked(tmp_path, text).arms]
    assert [one and one.settings["weight"] for one in weights] == [1e-3, 1e-2]


def test_a_question_acts_at_the_sites_of_what_it_changes(tmp_path: Path) -> None:
    text = "treatment: {change: {model.layers: 3, optimizer.lr: 1, schedule.floor: 0.5}}"
    assert asked(tmp_path, text).sites == (Site.MODEL, Site.OPTIMIZER)
    assert asked(tmp_path, "treatment: {change: {objective: z_loss}}").sites == (Site.OBJECTIVE,)
    assert asked(tmp_path, "treatment: {lengths: [50%]}").sites == (Site.OPTIMIZER,)


def test_a_late_change_begins_at_a_whole_step(tmp_path: Path) -> None:
    for at, step in (("60%", 120), ("0.1%", 1), ("0.999", 199), ("33.3%", 67)):
        found = asked(tmp_path, f"at: {at}\ntreatment: {{change: {{clip: 2}}}}")
        assert found.late
        assert [arm.since for arm in found.arms] == [step]


def test_a_shorter_run_has_the_same_warmup_and_its_own_decay(tmp_path: Path) -> None:
    found = asked(tmp_path, "treatment: {lengths: [25%, 50%]}")
    half, quarter = found.arms  # the shortest is the last one, which decides
    assert (half.label, quarter.label) == ("50% of the length", "25% of the length")
    assert [(arm.recipe.steps, arm.since) for arm in found.arms] == [(100, 80), (50, 40)]
    assert quarter.recipe.schedule == WarmupStableDecay(warmup=0.4, decay=0.2)
    base = load(tmp_path / "study.yaml").recipe
    for arm in found.arms:
        own, whole = arm.recipe, base
        shared = range(arm.since + 1)
        assert [own.schedule(s, own.steps) for s in shared] == pytest.approx(
            [whole.schedule(s, whole.steps) for s in shared]
        )
        assert own.schedule(arm.since + 1, own.steps) < 1
        assert own.schedule(own.steps, own.steps) == 0


def test_a_question_says_how_and_how_not(tmp_path: Path) -> None:
    found = asked(tmp_path, "how: replicate\nnot: fork\ntreatment: {lengths: [50%]}")
    assert (found.how, found.forbidden) == (Strategy.REPLICATE, (Strategy.FORK,))
    text = "window: [50%, 100%]\nhow: fork\ntreatment: {method: memorization, tokens: 16}"
    (items,) = load(study(tmp_path, text)).questions
    assert isinstance(items, ItemQuestion)
    assert (items.window, items.how) == ((0.5, 1.0), Strategy.FORK)


CHANGE = "questions[0].treatment.change"
LENGTHS = "questions[0].treatment.lengths"
BROKEN: dict[str, tuple[str, int, str, str]] = {
    "a key that is not there": (
        "treatment:\n  change:\n    optimizer.lrr: 1",
        11,
        f"{CHANGE}.optimizer.lrr",
        "optimizer has no such key; did you mean 'lr'?",
    ),
    "a section that is not there": (
        "treatment:\n  change:\n    optimiser.lr: 1",
        11,
        f"{CHANGE}.optimiser.lr",
        "no key of the recipe that can be changed; did you mean 'optimizer'?",
    ),
    "a value that cannot be": (
        "treatment:\n  change:\n    optimizer.lr: fast",
        11,
        f"{CHANGE}.optimizer.lr",
        "'fast' input should be a valid number",
    ),
    "one value of a list that cannot be": (
        "treatment:\n  change:\n    optimizer.lr:\n    - 1e-2\n    - -1",
        13,
        f"{CHANGE}.optimizer.lr[1]",
        "-1 input should be greater than 0",
    ),
    "an objective that is not there": (
        "treatment:\n  change:\n    objective: z_los",
        11,
        f"{CHANGE}.objective",
        "did you mean 'z_loss'? (one of cross_entropy, label_smoothing, z_loss)",
    ),
    "a setting that the objective does not have": (
        "treatment:\n  change:\n    objective: z_loss\n    objective.wait: 1",
        12,
        f"{CHANGE}.objective.wait",
        "z_loss has no such setting; did you mean 'weight'?",
    ),
    "a setting that cannot be": (
        "treatment:\n  change:\n    objective: z_loss\n    objective.weight: -1",
        12,
        f"{CHANGE}.objective.weight",
        "a number from 0 on, not -1.0",
    ),
    "a setting of no type": (
        "treatment:\n  change:\n    objective: z_loss\n    objective.weight: much",
        12,
        f"{CHANGE}.objective.weight",
        "input should be a valid number",
    ),
    "settings of cross-entropy": (
        "treatment:\n  change:\n    objective.weight: 1",
        11,
        f"{CHANGE}.objective.weight",
        "cross_entropy has no settings",
    ),
    "keys that do not go together": (
        "treatment:\n  change:\n    schedule.warmup: 90%",
        11,
        f"{CHANGE}.schedule.warmup",
        "warmup and decay together are longer than the run",
    ),
    "a width that its heads do not divide": (
        "treatment:\n  change:\n    model.width: 30\n    model.heads: 4",
        12,
        f"{CHANGE}.model.heads",
        "width 30 must be an even multiple of heads 4",
    ),
    "lists of other lengths": (
        "treatment:\n  change: {optimizer.lr: [1, 2], clip: [1, 2, 3]}",
        10,
        CHANGE,
        "lists are taken side by side and must match: optimizer.lr 2, clip 3",
    ),
    "an empty list": (
        "treatment:\n  change: {clip: []}",
        10,
        f"{CHANGE}.clip",
        "at least one value",
    ),
    "no key": ("treatment:\n  change: {}", 10, CHANGE, "a key of the recipe and its new value"),
    "what the base run has": (
        "treatment:\n  change: {optimizer.lr: [1e-3, 0.003]}",
        10,
        CHANGE,
        "'optimizer.lr 0.003' a value that the base run does not have",
    ),
    "an arm twice": (
        "treatment:\n  change: {clip: [2, 2.0]}",
        10,
        CHANGE,
        "arms that differ: this one is twice",
    ),
    "a mapping": (
        "treatment:\n  change: {optimizer: {lr: 1}}",
        10,
        f"{CHANGE}.optimizer",
        "write `optimizer.lr: ...`",
    ),
    "data": (
        "treatment:\n  change: {data.sequence: 64}",
        10,
        f"{CHANGE}.data.sequence",
        "arms read the same data as the base run",
    ),
    "the batch": (
        "treatment: {change: {batch: 4}}",
        9,
        f"{CHANGE}.batch",
        "with another batch they would not",
    ),
    "the length": (
        "treatment: {change: {length: 9 steps}}",
        9,
        f"{CHANGE}.length",
        "`treatment: {lengths: [25%, 50%]}`",
    ),
    "seeds": ("treatment: {change: {seeds: 9}}", 9, f"{CHANGE}.seeds", "seed by seed"),
    "checkpoints": (
        "treatment: {change: {checkpoints.keep: 9}}",
        9,
        f"{CHANGE}.checkpoints.keep",
        "no result depends on",
    ),
    "allow_changed": (
        "treatment: {change: {allow_changed: 1%}}",
        9,
        f"{CHANGE}.allow_changed",
        "a limit for the study's insertions",
    ),
    "another model late": (
        "treatment: {change: {model: nano}}\nat: 50%",
        9,
        f"{CHANGE}.model",
        "acts from step 0 (leave `at` away)",
    ),
    "a share of the wrong kind": (
        "at: 100%\ntreatment: {change: {clip: 2}}",
        9,
        "questions[0].at",
        "under 100%",
    ),
    "a time where there is none": (
        "at: 50%\ntreatment: {lengths: [50%]}",
        9,
        "questions[0].at",
        "belongs to `treatment: {change: ...}`",
    ),
    "a time for items": (
        "at: 50%\ntreatment: {method: memorization, tokens: 16}",
        9,
        "questions[0].at",
        "items are inserted late with `window: [50%, 100%]`",
    ),
    "a window for runs": (
        "window: [0, 50%]\ntreatment: {lengths: [50%]}",
        9,
        "questions[0].window",
        "belongs to questions that insert items",
    ),
    "a lane for runs": (
        "lane: 1\ntreatment: {lengths: [50%]}",
        9,
        "questions[0].lane",
        "belongs to questions that insert items",
    ),
    "a window the wrong way round": (
        "window: [50%, 20%]\ntreatment: {method: memorization, tokens: 16}",
        9,
        "questions[0].window",
        "the first one below the second",
    ),
    "two treatments": (
        "treatment: {method: memorization, lengths: [50%]}",
        9,
        "questions[0].treatment",
        "one of method, change and lengths",
    ),
    "no treatment": (
        "treatment: {doses: [0, 1]}",
        9,
        "questions[0].treatment",
        "one of method, change and lengths",
    ),
    "a key beside lengths": (
        "treatment: {lengths: [50%], doses: [0, 1]}",
        9,
        "questions[0].treatment.doses",
        "no such key beside change and lengths",
    ),
    "the whole length": (
        "treatment: {lengths: [100%]}",
        9,
        f"{LENGTHS}[0]",
        "the whole length is always among them",
    ),
    "a length twice": (
        "treatment: {lengths: [50%, 0.5]}",
        9,
        f"{LENGTHS}[1]",
        "different shares",
    ),
    "a length that is all warm-up": (
        "treatment: {lengths: [10%, 50%]}",
        9,
        f"{LENGTHS}[0]",
        "'10%' at least 13%: a run of 20 steps would begin its decay after 16",
    ),
    "no lengths": ("treatment: {lengths: []}", 9, LENGTHS, "at least 1 item"),
    "an unknown strategy": (
        "how: forks\ntreatment: {lengths: [50%]}",
        9,
        "questions[0].how",
        "'multiplex', 'fork', 'replicate'",
    ),
    "wanted and forbidden": (
        "how: fork\nnot: [fork]\ntreatment: {lengths: [50%]}",
        9,
        "questions[0].how",
        "`not` holds fork too",
    ),
    "an outcome of items": (
        "outcome: accuracy\ntreatment: {lengths: [50%]}",
        9,
        "questions[0].outcome",
        "one of heldout_loss",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_question_gives_its_message(tmp_path: Path, name: str) -> None:
    question, line, field, message = BROKEN[name]
    found = problems(tmp_path, question)
    assert len(found) == 1, found
    assert found[0][:2] == (line, field)
    assert message in found[0][2]


def test_lengths_need_a_schedule_that_is_stable(tmp_path: Path) -> None:
    wsd = "{name: wsd, warmup: 10%, decay: 20%}"
    for other in ("cosine", "{name: wsd, decay: 0}"):
        head = HEAD.replace(wsd, other)
        ((line, field, message),) = problems(tmp_path, "treatment: {lengths: [50%]}", head)
        assert (line, field) == (9, LENGTHS)
        assert "needs the schedule wsd with a decay" in message


def test_all_that_is_wrong_comes_at_once(tmp_path: Path) -> None:
    question = (
        "lane: 2\nat: 50%\noutcome: score\ntreatment:\n  change:\n    batch: 2\n"
        "    optimizer.lr: [1, 2]\n    clip: [1, 2, 3]"
    )
    assert [(line, field) for line, field, _ in problems(tmp_path, question)] == [
        (9, "questions[0].lane"),
        (11, "questions[0].outcome"),
        (13, CHANGE),
        (14, f"{CHANGE}.batch"),
    ]
    lists = "treatment:\n  change:\n    optimizer.lr: [a, 1, -1]\n    clip: 0"
    assert [field for _, field, _ in problems(tmp_path, lists)] == [
        f"{CHANGE}.optimizer.lr[0]",
        f"{CHANGE}.optimizer.lr[2]",
        f"{CHANGE}.clip",
    ]


def test_a_broken_recipe_is_said_once_and_not_for_every_arm(tmp_path: Path) -> None:
    head = HEAD.replace("lr: 3e-3", "lr: fast")
    ((line, field, _),) = problems(tmp_path, "treatment: {change: {clip: [2, 3]}}", head)
    assert (line, field) == (4, "recipe.optimizer.lr")


def test_the_example_asks_about_runs() -> None:
    found = load(Path(__file__).parents[2] / "examples" / "cooldown.yaml").questions
    assert [question.treated_by for question in found] == ["lengths", "change", "change"]


RATES = "treatment: {change: {optimizer.lr: [1e-3, 6e-3]}}"


def test_losing_arms_may_stop_early(tmp_path: Path) -> None:
    assert asked(tmp_path, RATES).stop is None
    assert asked(tmp_path, f"stop: early\n{RATES}").stop == StopEarly(
        chance=0.05, rungs=(0.25, 0.5)
    )
    own = asked(tmp_path, f"stop: {{early: 20%, rungs: [0.1, 30%]}}\n{RATES}")
    assert own.stop == StopEarly(chance=0.2, rungs=(0.1, 0.3))


@pytest.mark.parametrize(
    ("stop", "line", "field", "says"),
    [
        ("late", 9, "stop", "'late' `early`, or the chance of a wrong stop that is allowed"),
        ("{early: 1%}", 9, "stop.early", "'1%' a chance of a wrong stop from 2% to 50%"),
        ("{early: 60%}", 9, "stop.early", "'60%' a chance of a wrong stop from 2% to 50%"),
        ("{rungs: [50%, 25%]}", 9, "stop.rungs", "ascending shares of the run"),
        ("{rungs: [100%]}", 9, "stop.rungs", "ascending shares of the run"),
        ("{soon: 5%}", 9, "stop.soon", "no such key"),
    ],
)
def test_what_stop_may_say(tmp_path: Path, stop: str, line: int, field: str, says: str) -> None:
    ((found_line, found_field, text),) = problems(tmp_path, f"stop: {stop}\n{RATES}")
    assert (found_line, found_field) == (line, f"questions[0].{field}")
    assert says in text


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("treatment: {change: {optimizer.lr: 6e-3}}", "one arm has no rival; give `change`"),
        ("treatment: {lengths: [40%, 50%]}", "lengths are not rivals"),
        (f"at: 50%\n{RATES}", "an arm that leaves late has no finished curves"),
        ("treatment: {method: memorization, tokens: 16}", "items are no runs"),
        ("treatment: {change: {objective: [z_loss, label_smoothing]}}", "different objectives"),
        ("treatment: {change: {length: [300 steps, 400 steps]}}", "lengths are not rivals"),
        (
            "treatment: {change: {data.mixture: [{a: 1}, {rest: 1}]}}",
            "on different mixtures tell nothing",
        ),
        (f"outcome: heldout_loss/a\n{RATES}", "not on a part of them"),
        (
            "treatment: {change: {model: mini}}\nladder: [13%, 25%, 70%]",
            "with a `ladder` or a `small` run need not be trained",
        ),
    ],
)
def test_stop_is_refused_where_nothing_could_be_stopped(
    tmp_path: Path, question: str, says: str
) -> None:
    head = HEAD.replace("  model", "  data: {corpus: stdlib, parts: {a: a*}}\n  model", 1)
    ((line, field, text),) = problems(tmp_path, f"stop: early\n{question}", head)
    assert (line, field) == (10, "questions[0].stop")
    assert says in text
