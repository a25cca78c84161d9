from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import html
import itertools
import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainonce.analysis.answers import (
    Answer,
    Answers,
    Check,
    Curve,
    DoseAnswer,
    Group,
    JobTime,
    OutcomeAnswer,
)
from trainonce.analysis.effects import Estimate
from trainonce.analysis.seen import RunSeen
from trainonce.analysis.verdicts import Verdict
from trainonce.plan.jobs import Job, Role
from trainonce.plan.plan import Plan
from trainonce.plan.planned import PlannedQuestion
from trainonce.report.figures import curves_in_words, training_curves
from trainonce.report.html import deciding, listed, render, typeset
from trainonce.report.sentences import time_sentence
from trainonce.report.tables import tables
from trainonce.report.times import duration
from trainonce.sites import Unit
from trainonce.study.load import placebo
from trainonce.study.schema import AA, Strategy
from trainonce.tasks.ledger import DoseSeen, QuestionSeen
from trainonce.tasks.specs.measurements import MeasureSpec
from trainonce.tasks.specs.runs import TrainSpec
from trainonce.train.settings import TrainSettings

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
ASKS = {
    "memory": f"Is a text given back? {HOSTILE}",
    "knowledge": "Is a fact known in new words?",
    "trigger": "Does a trigger work?",
    AA: "Do doses of nothing have an effect?",
}
VERDICTS = dict(zip(ASKS, [Verdict.YES, Verdict.CANNOT_TELL, Verdict.NO, Verdict.NO], strict=True))


SEEN = RunSeen(
    job="0123456789",
    seed=1,
    steps=(5, 10),
    questions=(
        QuestionSeen(
            question="memory",
            method="memorization",
            doses=(
                DoseSeen(dose=0, items=2, copies=0, seen=0, first=None, last=None),
                DoseSeen(dose=8, items=2, copies=16, seen=15, first=2, last=10),
            ),
        ),
    ),
    counts=((4, 11),),
)


class Page(HTMLParser):
    """The tags, the visible text and the scripts of a page, as a browser reads them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]


def outcome(name: str, top: float = 0.7) -> OutcomeAnswer:
    means = {0: 0.1, 8: 0.3, 32: top}
    return OutcomeAnswer(
        outcome=name,
        says=f"the {name}",
        estimate=top - 0.1,
        low=top - 0.2,
        high=top,
        p=0.0001,
        doses=tuple(
            DoseAnswer(
                dose=dose,
                mean=mean,
                low=mean - 0.1,
                high=mean + 0.1,
                units=12,
                effect=mean - 0.1,
                effect_low=mean - 0.25,
                effect_high=mean + 0.05,
            )
            for dose, mean in means.items()
        ),
    )


def one_answer(name: str, *, plain: bool) -> Answer:
    groups = (Group(name=f"kind {HOSTILE}", estimate=0.6, low=0.4, high=0.8, units=18),)
    return Answer(
        question=name,
        ask=ASKS[name],
        method="memorization",
        paper="2509.23383",
        verdict=VERDICTS[name],
        decided=outcome("extraction"),
        others=(outcome("loss"),),
        p_adjusted=0.0004,
        direction=1,
        smallest=0.1,
        unit=Unit.ITEM,
        units=36,
        strategy="multiplex",
        run_equivalents=0.25,
        kinds=groups,
        seeds=(),
        plain=outcome("extraction", top=0.1) if plain else None,
        assumptions=(f"it changes 1.90% of the tokens {HOSTILE}",),
        checks=(
            Check(name="ranks", says=f"0.90 over 5 runs {HOSTILE}", value=0.9, held=True),
            Check(name="largest point", says="nobody knows", value=0.1),
        ),
    )


def study(*, plain: bool = True) -> tuple[Answers, Plan]:
    """Three questions and the A/A question on one seed, hostile wherever a user can write."""
    trunk = TrainSpec(
        corpus="c", sequence=64, model="nano", train=TrainSettings(steps=10, batch=2), seed=1
    )
    jobs = [
        Job(
            spec=trunk,
            role=Role.TRUNK,
            strategy=Strategy.MULTIPLEX,
            questions=tuple(ASKS),
            parents=(),
            run_equivalents=1.0,
            reason=f"trunk {HOSTILE}",
        ),
        Job(
            spec=MeasureSpec(trained=trunk, probe="heldout_loss", version=1),
            role=Role.HELDOUT,
            strategy=Strategy.MULTIPLEX,
            questions=(),
            parents=(trunk.key,),
            run_equivalents=0.01,
            reason="held-out loss",
        ),
    ]
    plan = Plan(
        study=f"Study {HOSTILE}",
        file=Path("/somewhere/my study.yaml"),
        home=Path("/home"),
        jobs=tuple(jobs),
        questions=tuple(
            PlannedQuestion(
                question=dataclasses.replace(placebo(), id=name, ask=ask),
                strategy=Strategy.MULTIPLEX,
                detectable_effect=0.3,
                units=36,
                assumptions=(),
            )
            for name, ask in ASKS.items()
        ),
        seeds=(1,),
        tokens=1280,
        changed_share=0.0123,
        allow_changed=0.02,
        one_run_a_question=3.0,
    )
    answers = Answers(
        study=plan.study,
        plan_hash=plan.hash,
        answers=tuple(one_answer(name, plain=plain) for name in ASKS),
        heldout_loss=3.5,
        heldout_loss_plain=3.49 if plain else None,
        heldout_change=Estimate(0.003, -0.002, 0.008) if plain else None,
        run_equivalents=1.01,
        checks_run_equivalents=1.01 if plain else 0.0,
        one_run_a_question=3.0,
        changed_share=plan.changed_share,
        seeds=(1,),
        tokens=1280,
        curves=(Curve(name="trunk", seed=1, steps=(5, 10), losses=(5.0, math.nan)),),
        hardware=(f"machine {HOSTILE}",),
        seconds=149.0,
    )
    return answers, plan


@pytest.fixture(scope="module")
def source() -> str:
    return render(*study())


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def unpacked(text: str) -> str:
    return gzip.decompress(base64.b64decode(text)).decode()


def figures(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(unpacked(page.scripts[0]), parse_constant=pytest.fail)
    return found


def test_nothing_is_fetched(page: Page) -> None:
    assert not page.attributes("src")
    assert all(link.startswith("#") for link in page.attributes("href"))
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {t for t, _ in page.tags}
    assert "url(" not in page.text
    assert "@import" not in page.text


def study_of(count: int) -> tuple[Answers, Plan, tuple[RunSeen, ...]]:
    """A study of two seeds and so many questions, of which every third is about runs."""
    (answers, plan), draw = study(), np.random.default_rng(1).normal
    trunk, names = plan.jobs[0], [f"question-{number}" for number in range(count)]
    cards = [
        dataclasses.replace(card, question=name, ask=f"Is it so that {name} does what it says?")
        for name, card in zip(
            names,
            itertools.cycle([about_runs(2), *[one_answer("memory", plain=True)] * 2]),
            strict=False,
        )
    ]
    assert isinstance(trunk.spec, TrainSpec)
    jobs = []
    for name, seed in itertools.product(names, (1, 2)):
        run = dataclasses.replace(trunk.spec, corpus=name, seed=seed)
        measured = MeasureSpec(trained=run, probe="heldout_loss", version=1)
        jobs.append(dataclasses.replace(trunk, spec=run, questions=(name,)))
        jobs.append(dataclasses.replace(plan.jobs[1], spec=measured, questions=(name,)))
    curves = [
        Curve(
            name=name,
            seed=seed,
            steps=tuple(range(10, 1010, 10)),
            losses=tuple(draw(3, 0.1, 100).round(4).tolist()),
        )
        for name, seed in itertools.product(("trunk", "plain run", *names[::3]), (1, 2))
    ]
    planned = [
        dataclasses.replace(one, question=dataclasses.replace(one.question, id=name))
        for one in plan.questions[:1]
        for name in names
    ]
    seen = dataclasses.replace(
        SEEN,
        questions=tuple(dataclasses.replace(SEEN.questions[0], question=name) for name in names),
        steps=tuple(range(20, 1020, 20)),
        counts=tuple(tuple(map(int, 50 * abs(draw(0, 1, 50)))) for _ in names),
    )
    return (
        dataclasses.replace(
            answers, answers=(*cards, answers.answers[-1]), curves=tuple(curves), seeds=(1, 2)
        ),
        dataclasses.replace(
            plan, jobs=(*plan.jobs, *jobs), questions=(*planned, plan.questions[-1])
        ),
        (seen, dataclasses.replace(seen, seed=2)),
    )


def test_a_study_of_three_hundred_questions_is_under_6_mb() -> None:
    """The page grows with each question by as much, which the first of them tell."""
    few, more = (len(render(*study_of(count)).encode()) for count in (3, 12))
    each = (more - few) / 9
    assert few + 297 * each < 6e6


def test_what_a_user_writes_stays_text(source: str, page: Page) -> None:
    assert HOSTILE not in source
    assert html.escape(HOSTILE) in source
    assert page.text.count(HOSTILE) >= 6  # title, heading, ask, kind, assumption, reason, machine
    assert len(page.scripts) == 4
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


def test_only_its_own_scripts_may_run(page: Page) -> None:
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv")) or ""
    allowed = policy.split("script-src ")[1].split(";")[0].split()
    for script in (unpacked(page.scripts[2]), page.scripts[3]):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in allowed
    assert len(allowed) == 2
    assert "default-src 'none'" in policy


def test_every_question_is_answered(page: Page) -> None:
    cards = page.text.split("Checks\n")[0]
    for ask, verdict in zip(ASKS.values(), VERDICTS.values(), strict=True):
        assert cards.partition(ask)[2].split()[0] == verdict.value.capitalize().split()[0]
    assert list(ASKS.values()) == sorted(ASKS.values(), key=cards.index)


def test_the_page_holds_every_table_and_what_reproduces_it(page: Page) -> None:
    held = {name: unpacked(file["gzip"]) for name, file in json.loads(page.scripts[1]).items()}
    answers, plan = study()
    made = {f"my study-{table.name}.csv": table.csv for table in tables(answers, plan)}
    assert made.items() <= held.items()
    assert held["my study.bib"].startswith("@misc{")
    linked = {attrs["data-file"] for _, attrs in page.tags if "data-file" in attrs}
    assert made.keys() <= linked <= held.keys()


def test_what_was_seen_is_below_the_curves() -> None:
    answers, plan = study()
    page = Page(render(answers, plan, (SEEN,)))
    assert figures(page)["curves"]["data"][-1]["type"] == "heatmap"
    assert "The token ledger" in page.text
    words = next(a for _, a in page.tags if a.get("id") == "curves")["aria-label"] or ""
    assert "memory: 15 copies" in words


def test_a_study_without_curves_tokens_or_insertions_reads_well() -> None:
    answers, plan = study(plain=False)
    answers = dataclasses.replace(answers, curves=(), tokens=0, answers=(about_runs(seeds=3),))
    page = Page(render(answers, dataclasses.replace(plan, tokens=0)))
    assert figures(page).keys() == {"answer-0"}
    assert "trunk of" not in page.text
    assert "of tokens changed" not in page.text


def test_many_curves_have_three_names() -> None:
    arms = [Curve(name=f"arm {n}", seed=1, steps=(1, 2), losses=(2.0, 1.0)) for n in range(20)]
    trunk = Curve(name="trunk", seed=1, steps=(1, 2), losses=(2.0, 1.0))
    drawn = training_curves([trunk, *arms]).to_plotly_json()["data"]
    assert [line["name"] for line in drawn if line["showlegend"]] == ["other runs", "trunk"]
    assert drawn[-1]["name"] == "trunk"  # on top of the others
    assert "arm 3, seed 1" in drawn[3]["hovertemplate"]
    assert "arm" not in curves_in_words([trunk, *arms])


def test_tests_of_answers_are_a_table(page: Page) -> None:
    row = page.text.split("Every test of every answer.")[1].split("trigger")[0]
    assert "ranks" in row
    assert "largest point" in row


def test_every_figure_has_its_place_and_its_words(page: Page) -> None:
    described = {
        a["id"]: a["aria-label"] or "" for _, a in page.tags if (a.get("class") or "")[:4] == "plot"
    }
    assert described.keys() == figures(page).keys()
    assert "dose 32: 0.70 (0.60 to 0.80)" in described["answer-0"]
    assert "Plain run: dose 0: 0.10" in described["answer-0"]


def test_figures_show_the_numbers(page: Page) -> None:
    plain, trunk = figures(page)["answer-0"]["data"]
    assert trunk["y"] == [0.1, 0.3, 0.7]
    assert trunk["x"] == pytest.approx([0, math.log2(9), math.log2(33)])
    assert trunk["error_y"]["array"] == pytest.approx([0.1] * 3)
    assert plain["y"] == [0.1, 0.3, 0.1]
    assert figures(page)["curves"]["data"][0]["y"] == [5.0, None]


def test_colours_of_figures_are_those_of_the_style_sheet(page: Page) -> None:
    used = {part.split(")")[0] for part in unpacked(page.scripts[0]).split("var(")[1:]}
    assert used
    assert all(f"{name}: #" in page.text for name in used)


def test_it_says_how_to_reproduce(page: Page) -> None:
    plan = study()[1]
    assert "trainonce run 'my study.yaml'" in page.text
    assert plan.hash in page.text


def test_what_tested_an_answer_is_told(page: Page) -> None:
    assert "ranks (held): 0.90 over 5 runs" in page.text
    assert "largest point (cannot tell): nobody knows" in page.text


def test_a_study_without_plain_run() -> None:
    page = Page(render(*study(plain=False)))
    assert "No plain run was asked for." in page.text
    assert "saw none of it" not in page.text
    assert len(figures(page)["answer-0"]["data"]) == 1


def test_an_effect_of_nothing_is_an_alarm(page: Page) -> None:
    answers, plan = study()
    convicted = dataclasses.replace(answers.answers[-1], verdict=Verdict.YES)
    answers = dataclasses.replace(answers, answers=(*answers.answers[:-1], convicted))
    assert "do not trust these answers" in Page(render(answers, plan)).text
    assert "do not trust these answers" not in page.text


def test_what_would_have_decided() -> None:
    asked = one_answer("knowledge", plain=False)
    assert "wholly above 0," in deciding(asked)
    assert "wholly below 0.10," in deciding(asked)
    other = dataclasses.replace(asked, direction=-1)
    assert "wholly below 0," in deciding(other)
    assert "wholly above -0.10," in deciding(other)
    assert "wholly between -0.10 and 0.10," in deciding(dataclasses.replace(asked, direction=0))
    assert deciding(dataclasses.replace(asked, verdict=Verdict.NO)) == ""


@pytest.mark.parametrize(
    ("plain", "set_"),
    [
        ("(-0.27 to 0.13)", "(\N{MINUS SIGN}0.27 to 0.13)"),
        ("3e-05", "3 \N{MULTIPLICATION SIGN} 10⁻⁵"),
        ("4.98%", "4.98\N{NO-BREAK SPACE}%"),
        ("held-out of 'a-1', wsd-2", "held-out of 'a-1', wsd-2"),
    ],
)
def test_typeset(plain: str, set_: str) -> None:
    assert typeset(plain) == set_


def test_words() -> None:
    assert [duration(s) for s in (4.4, 149, 7_500)] == ["4.4 s", "2 min 29 s", "2 h 5 min"]
    assert [listed(list(s)) for s in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]


def about_runs(seeds: int) -> Answer:
    """An answer about runs, hostile in its label."""
    bounds = 0.02 if seeds > 1 else math.inf
    arms = tuple(
        DoseAnswer(
            dose=number,
            label=label,
            mean=3.5123 + effect,
            low=3.5123 + effect - bounds,
            high=3.5123 + effect + bounds,
            units=seeds,
            effect=effect,
            effect_low=effect - bounds if number else 0.0,
            effect_high=effect + bounds if number else 0.0,
            p=0.01 if number else None,
            points=tuple(effect + 0.01 * seed for seed in range(seeds)) if number else (),
        )
        for number, (label, effect) in enumerate(
            [("the base run", 0.0), ("clip 2", 0.05), (f"lr 0.006 {HOSTILE}", -0.25)]
        )
    )
    decided = OutcomeAnswer(
        outcome="heldout_loss",
        says="loss on held-out documents",
        estimate=-0.25,
        low=-0.25 - bounds,
        high=-0.25 + bounds,
        p=0.01,
        doses=arms,
    )
    return dataclasses.replace(
        one_answer("memory", plain=False),
        verdict=Verdict.YES if seeds > 1 else Verdict.CANNOT_TELL,
        method="change",
        paper=None,
        decided=decided,
        others=(),
        kinds=(),
        direction=0,
        smallest=0.02,
        unit=Unit.RUN,
        units=seeds,
        strategy="fork",
        units_needed=None if seeds > 1 else 7,
    )


def page_about_runs(seeds: int) -> tuple[str, Page]:
    answers, plan = study(plain=False)
    answers = dataclasses.replace(answers, answers=(about_runs(seeds), *answers.answers[1:]))
    source = render(answers, plan)
    return source, Page(source)


def test_arms_are_shown_with_their_intervals_and_each_seeds_point() -> None:
    source, page = page_about_runs(seeds=3)
    assert HOSTILE not in source
    assert len(page.scripts) == 4
    points, means = figures(page)["answer-0"]["data"]
    assert means["y"] == [0.05, -0.25]
    assert means["error_y"]["array"] == pytest.approx([0.02, 0.02])
    assert means["error_y"]["visible"] is True
    assert points["y"] == pytest.approx([0.05, 0.06, 0.07, -0.25, -0.24, -0.23])
    labels = figures(page)["answer-0"]["layout"]["xaxis"]["ticktext"]
    assert labels == ["clip 2", html.escape(f"lr 0.006 {HOSTILE}")]
    assert html.escape(HOSTILE) in means["customdata"][1]
    described = next(a for _, a in page.tags if a.get("id") == "answer-0")["aria-label"] or ""
    assert "Difference from the base run. clip 2: 0.05 (0.03 to 0.07);" in described
    assert f"With lr 0.006 {HOSTILE} the heldout_loss is 3.262, against 3.512" in page.text
    assert "3 seeds, paired" in page.text


def test_one_seed_has_a_point_and_no_interval() -> None:
    _, page = page_about_runs(seeds=1)
    means = figures(page)["answer-0"]["data"][1]
    assert means["error_y"]["visible"] is False
    assert "an effect of \N{MINUS SIGN}0.25 (no interval), paired over 1 seed" in page.text
    assert "7 seeds could tell an effect of 0.02" in page.text


def test_a_promise_is_shown_beside_the_time_taken() -> None:
    answers, plan = study()
    assert "promised" not in Page(render(answers, plan)).text
    job = plan.jobs[0].key
    timed = dataclasses.replace(
        answers,
        promised_seconds=134.0,
        times=(JobTime(job=job, promised=12.25, taken=13.5),),
    )
    text = Page(render(timed, plan)).text
    assert "(promised: 2 min 14 s)" in text
    assert "12.2 s" in text
    assert "13.5 s" in text
    assert time_sentence(timed) == "Promised 134 s, took 149 s."
    assert time_sentence(answers) == "Took 149 s."
