"""Parts and mixtures in a study file: what they mean, and what each mistake says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.study.test_changes import problems, study
from trainonce.study.load import load
from trainonce.study.questions import RunQuestion
from trainonce.study.schema import Strategy

HEAD = """\
study: A title
recipe:
  data:
    sequence: 64
    parts: {code: [encodings/*, json/*], help: topics/*}
  length: 200 steps
questions:
  - id: q
"""
MIX = "treatment: {change: {data.mixture: {code: 1}}}"


def asked(tmp_path: Path, question: str, head: str = HEAD) -> RunQuestion:
    (found,) = load(study(tmp_path, question, head)).questions
    assert isinstance(found, RunQuestion)
    return found


def test_a_mixture_of_the_recipe_is_what_is_read_of_each_part(tmp_path: Path) -> None:
    head = HEAD.replace("    parts", "    mixture: {help: 25%, code: 0.75}\n    parts")
    recipe = load(study(tmp_path, MIX, head)).recipe
    assert recipe.parts == {"code": ("encodings/*", "json/*"), "help": ("topics/*",)}
    assert recipe.mixture == (("code", 3), ("help", 1))
    assert load(study(tmp_path, MIX, HEAD)).recipe.mixture is None


def test_arms_are_mixtures_early_or_late(tmp_path: Path) -> None:
    mixtures = "[{code: 1}, {help: 50%, code: 50%}, {code: 0.25, rest: 0.75}]"
    found = asked(tmp_path, f"treatment: {{change: {{data.mixture: {mixtures}}}}}")
    assert [arm.recipe.mixture for arm in found.arms] == [
        (("code", 1),),
        (("code", 1), ("help", 1)),
        (("code", 1), ("rest", 3)),
    ]
    assert [arm.label for arm in found.arms] == [
        "100% code",
        "50% code + 50% help",
        "25% code + 75% rest",
    ]
    assert not found.late
    assert found.check == 2
    late = asked(tmp_path, f"at: 60%\ncheck: 0\n{MIX}")
    assert late.arms[0].since == 120
    assert late.check == 0


def test_an_outcome_is_of_all_documents_or_of_one_part(tmp_path: Path) -> None:
    assert asked(tmp_path, MIX).part is None
    found = asked(tmp_path, f"outcome: heldout_loss/help\n{MIX}")
    assert (found.part, found.outcome.name) == ("help", "heldout_loss/help")
    assert "held-out documents of the part 'help'" in found.outcome.says
    other = "outcome: heldout_loss/rest\ntreatment: {change: {optimizer.lr: 1e-3}}"
    assert asked(tmp_path, other).part == "rest"


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "message"),
    [
        ("code: [", "rest: [", 5, "recipe.data.parts", "another name than 'rest'"),
        ("code: [", "Code: [", 5, "recipe.data.parts", "pattern"),
        ("help: topics/*", "help: []", 5, "recipe.data.parts.help", "at least 1 item"),
        (
            "    parts",
            "    mixture: {codes: 1}\n    parts",
            5,
            "recipe.data.mixture",
            "there is no part 'codes'; did you mean 'code'? (one of code, help, rest)",
        ),
        (
            "    parts",
            "    mixture: {code: 50%, help: 0.4}\n    parts",
            5,
            "recipe.data.mixture",
            "shares that sum to 1, and these sum to 0.9",
        ),
        (
            "    parts: {code: [encodings/*, json/*], help: topics/*}",
            "    mixture: {code: 1}",
            5,
            "recipe.data.mixture",
            "needs `recipe.data.parts`",
        ),
    ],
)
def test_mistakes_in_parts_say_what_is_right(
    tmp_path: Path, old: str, new: str, line: int, field: str, message: str
) -> None:
    head = HEAD.replace(old, new)
    question = "treatment: {change: {optimizer.lr: 1e-3}}"
    found = [told for told in problems(tmp_path, question, head) if told[1].startswith("recipe")]
    ((at, place, said),) = found
    assert (at, place) == (line, field) or place.startswith(field)
    assert message in said


@pytest.mark.parametrize(
    ("question", "line", "field", "message"),
    [
        (
            "treatment:\n  change:\n    data.mixture:\n      - {code: 1}\n      - {cod: 1}",
            13,
            "questions[0].treatment.change.data.mixture[1]",
            "there is no part 'cod'; did you mean 'code'?",
        ),
        (
            "treatment: {change: {data.mixture: {code: 0.5}}}",
            9,
            "questions[0].treatment.change.data.mixture",
            "shares that sum to 1, and these sum to 0.5",
        ),
        (
            "treatment: {change: {data.heldout: 20%}}",
            9,
            "questions[0].treatment.change.data.heldout",
            "the same data as the base run, but for `data.mixture`",
        ),
        (
            "treatment: {change: {data.mixture: [{code: 1}, {code: 100%}]}}",
            9,
            "questions[0].treatment.change",
            "this one is twice",
        ),
        (
            f"outcome: heldout_loss/cod\n{MIX}",
            9,
            "questions[0].outcome",
            "did you mean 'heldout_loss/code'?",
        ),
        (
            "check: 3\ntreatment: {change: {optimizer.lr: 1e-3}}",
            9,
            "questions[0].check",
            "belongs to questions about mixtures",
        ),
    ],
)
def test_mistakes_in_questions_say_what_is_right(
    tmp_path: Path, question: str, line: int, field: str, message: str
) -> None:
    ((at, place, said),) = problems(tmp_path, question, HEAD)
    assert (at, place) == (line, field)
    assert message in said


def test_the_example_asks_for_averages() -> None:
    (found,) = load(Path(__file__).parents[2] / "examples" / "mixtures.yaml").questions
    assert isinstance(found, RunQuestion)
    assert (len(found.arms), found.part, found.check) == (9, "tables", 6)
    assert found.how is Strategy.AVERAGE
