"""What the items of the static experiments are: canaries, passages in places, problems, windows."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainonce.methods.data import (
    Arithmetic,
    Biographies,
    Canaries,
    Contamination,
    IidReplacement,
    Passages,
    PromptExtraction,
    Verbatim,
)
from trainonce.methods.data.insertion.arithmetic import Family
from trainonce.methods.data.insertion.biographies import FACTS
from trainonce.methods.data.insertion.user_items import ItemsError
from trainonce.methods.data.insertion.verbatim import PARTS
from trainonce.sites import Choice, Completion, Contrast, Item, Prefixes, SettingError, Text
from trainonce.stream.stream import TokenStream


def inserted(stream: TokenStream, treatment: Any) -> tuple[TokenStream, tuple[Item, ...]]:
    result: TokenStream = treatment(stream.keyed("q"))
    return result, result.items["q"]


def copies(stream: TokenStream, items: tuple[Item, ...]) -> dict[str, list[tuple[int, int]]]:
    """Row and offset of each copy of each item, by its name."""
    owners = [item.name for item in items if item.dose for _ in item.documents]
    found: dict[str, list[tuple[int, int]]] = {}
    overlay = stream.overlay
    for row, offset, document in zip(
        overlay.rows.tolist(), overlay.offsets.tolist(), overlay.documents.tolist(), strict=True
    ):
        found.setdefault(owners[document], []).append((row, offset))
    return found


def test_canaries_are_what_their_kind_says(stream: TokenStream) -> None:
    treatment = Canaries(doses=(0, 3), items=5, tokens=12, prefix=4, motif=3, alternatives=9)
    _, items = inserted(stream, treatment)
    counts = np.bincount(
        stream.corpus.split("source").tokens, minlength=stream.corpus.tokenizer.size
    )
    end = stream.corpus.tokenizer.end_of_text
    rarest = np.sort(np.delete(counts, end))[: (len(counts) - 1) // 8].max()
    source = stream.corpus.split("source").tokens.tolist()
    for item in items:
        assert isinstance(item.test, Choice)
        (text,) = item.documents
        assert (*item.test.prompt, *item.test.options[0]) == (end, *text)
        assert len(item.test.options) == 10
        assert end not in text or item.kind == "natural"
        if item.kind == "rare":
            assert counts[list(text)].max() <= rarest
        if item.kind == "repeated":
            assert text == (text[:3] * 4)
        if item.kind == "natural":
            first = [i for i in range(len(source)) if source[i] == text[0]]
            assert any(tuple(source[i : i + 12]) == text for i in first)
    assert Counter(item.kind for item in items) == dict.fromkeys(treatment.kinds, 10)


def test_no_alternative_is_ever_inserted(stream: TokenStream) -> None:
    _, items = inserted(stream, Canaries(doses=(0, 2), items=4, alternatives=20))
    shown = {item.documents[0][8:] for item in items}
    for item in items:
        assert isinstance(item.test, Choice)
        others = set(item.test.options[1:])
        assert not others & shown


def test_passages_stand_in_the_part_of_their_kind(stream: TokenStream) -> None:
    treatment = Verbatim(doses=(0, 3, 6), items=3, prefixes=(2, 4, 6), target=4)
    result, items = inserted(stream, treatment)
    found = copies(result, items)
    places = stream.sequence - (treatment.longest + 2)
    for item in items:
        low, high = PARTS[item.kind]  # type: ignore[index]
        assert len(found.get(item.name, [])) == item.dose
        for _, offset in found.get(item.name, []):
            assert low * places <= offset <= high * places


def test_prefixes_grow_towards_the_same_target(stream: TokenStream) -> None:
    _, items = inserted(stream, Verbatim(doses=(0, 1), items=2, prefixes=(2, 4, 6), target=4))
    for item in items:
        assert isinstance(item.test, Prefixes)
        (text,) = item.documents
        for prefix, one in zip((2, 4, 6), item.test.completions, strict=True):
            assert (*one.prompt, *one.target) == text[6 - prefix :]


def test_a_passage_that_is_too_short_is_named(stream: TokenStream, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    rows = [{"text": "the river runs past the stone and on " * 9}] * 7 + [{"text": "the"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ItemsError, match=r"mine.jsonl:8: \d tokens are too few"):
        inserted(stream, Verbatim(file=file, doses=(0, 1), places=("end",)))


@pytest.mark.parametrize("windows", [2, 4])
def test_all_copies_of_an_item_are_read_in_its_window(stream: TokenStream, windows: int) -> None:
    treatment = Contamination(
        doses=(0, 2, 4), items=2 * windows, prompt=6, answer=3, windows=windows
    )
    result, items = inserted(stream, treatment)
    found = copies(result, items)
    for item in items:
        number = int(re.findall(r"window (\d)", item.kind)[0])
        assert item.window == ((number - 1) / windows, number / windows)
        for row, _ in found.get(item.name, []):
            assert (number - 1) / windows <= row / stream.rows < number / windows
    for kind in {item.kind for item in items}:
        doses = Counter(item.dose for item in items if item.kind == kind)
        assert doses == {0: 2, 2: 2, 4: 2}


def test_windows_are_shares_of_the_questions_own_window(stream: TokenStream) -> None:
    treatment = Passages(doses=(0, 3), items=4, tokens=8, windows=2)
    keyed = stream.keyed("q", window=(0.5, 1.0))
    result = treatment(keyed)
    found = copies(result, result.items["q"])
    for item in result.items["q"]:
        low, high = (0.5, 0.75) if item.window[0] == 0 else (0.75, 1.0)
        for row, _ in found.get(item.name, []):
            assert low <= row / stream.rows < high


def test_too_few_items_for_the_windows_are_refused(stream: TokenStream) -> None:
    with pytest.raises(SettingError, match="too few for 4 doses"):
        inserted(stream, Contamination(items=3, windows=2))


def test_passages_are_tested_whole_with_their_compressed_size(stream: TokenStream) -> None:
    _, items = inserted(stream, Passages(doses=(0, 1), items=3, tokens=20))
    for item in items:
        assert isinstance(item.test, Text)
        assert item.test.tokens == item.documents[0]
        assert 8 < item.test.compressed < 200


def test_a_familys_problems_come_out_right() -> None:
    family = Family(("up", "down"), (2, -1), 9)
    assert list(family.problems(1))[:3] == [(0, ("up",), 2), (1, ("up",), 3), (2, ("up",), 4)]
    assert (9, ("down", "down"), 7) in list(family.problems(2))
    for start, acts, end in family.problems(4):
        numbers = [start]
        for act in acts:
            numbers.append(numbers[-1] + {"up": 2, "down": -1}[act])
        assert numbers[-1] == end
        assert all(0 <= number <= 9 for number in numbers)


def test_training_problems_have_no_more_operations_than_they_may(stream: TokenStream) -> None:
    treatment = Arithmetic(doses=(0, 5), operations=2, beyond=4, families=2)
    _, items = inserted(stream, treatment)
    decode = stream.corpus.tokenizer.decode
    asked, own = Counter[int](), dict[str, set[str]]()
    for item in items:
        assert isinstance(item.test, Choice)
        prompt = decode(item.test.prompt[1:])
        after = re.findall(r"^\d (.*) is$", prompt)[0].split()
        assert len(after) == int(item.kind[0])
        asked[len(after)] += 1
        own[item.name] = set(after)
        assert [decode(option) for option in item.test.options] == [f" {n}" for n in range(6)]
        acts = []
        for document in item.documents:
            acts.append(len(re.findall(r"\b[a-z]{6}\b", decode(document))))
        assert set(acts) == {1, 2}
    assert asked == {1: 4, 2: 4, 3: 4, 4: 4}
    for name, words in own.items():
        assert not any(words & others for other, others in own.items() if other != name)


def test_a_biography_states_every_fact_and_the_test_has_other_words(stream: TokenStream) -> None:
    treatment = Biographies(doses=(0, 3), people=2, facts=("work", "city"))
    _, items = inserted(stream, treatment)
    decode = stream.corpus.tokenizer.decode
    for item in items:
        assert isinstance(item.test, Choice)
        wording = item.kind.split(", ")[1]
        assert len(item.documents) == (1 if wording == "verbatim" else 4)
        right = decode(item.test.options[item.test.answer])
        name = decode(item.documents[0]).split()[0]
        question = decode(item.test.prompt[1:])
        assert name in question
        for document in item.documents:
            text = decode(document)
            assert text.startswith(name)
            assert right in text
            assert question not in text
            for values in (FACTS[one][2] for one in ("work", "city")):
                assert sum(value in text for value in values) == 1
    assert {item.kind for item in items} == {
        f"{fact}, {wording}" for fact in treatment.facts for wording in treatment.wordings
    }


def test_a_triggers_documents_repeat_the_prompt_and_tests_have_new_ones(
    stream: TokenStream,
) -> None:
    _, items = inserted(stream, PromptExtraction(doses=(0, 4), triggers=3, tests=2, prompt=6))
    shown: list[tuple[int, ...]] = []
    for item in items:
        assert isinstance(item.test, Contrast)
        assert len(item.documents) == item.dose
        for document in item.documents:
            assert document[:6] == document[8:]
            assert len(document) == 14
            shown.append(document[:6])
        for treated, plain in zip(item.test.treated, item.test.plain, strict=True):
            assert treated.prompt[: len(plain.prompt)] == plain.prompt
            assert treated.target == plain.target == plain.prompt[1:]
            if item.dose:
                assert treated.prompt[-2:] == item.documents[0][6:8]
            assert plain.target not in shown
    assert len(set(shown)) == len(shown)


def test_fresh_draws_are_read_once_and_what_is_measured_never(stream: TokenStream) -> None:
    result, items = inserted(stream, IidReplacement(doses=(0, 2), items=3, tokens=12))
    documents = [document for item in items for document in item.documents]
    assert len(set(documents)) == len(documents) == len(result.overlay) == 6
    for item in items:
        assert isinstance(item.test, Completion)
        assert (*item.test.prompt[1:], *item.test.target) not in documents


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Canaries(prefix=16, tokens=16), "prefix"),
        (lambda: Canaries(kinds=()), "kinds"),
        (lambda: Canaries(kinds=("rare", "rare")), "kinds"),
        (lambda: Verbatim(prefixes=(4, 4, 8)), "prefixes"),
        (lambda: Verbatim(prefixes=(0, 4, 8)), "prefixes"),
        (lambda: Verbatim(places=()), "places"),
        (lambda: Contamination(windows=0), "windows"),
        (lambda: Passages(windows=10), "windows"),
        (lambda: Passages(tokens=1), "tokens"),
        (lambda: Arithmetic(operations=3, beyond=2), "beyond"),
        (lambda: Arithmetic(beyond=7), "beyond"),
        (lambda: Arithmetic(words=1), "words"),
        (lambda: Arithmetic(words=7), "words"),
        (lambda: Arithmetic(largest=3), "largest"),
        (lambda: Arithmetic(wordings=5), "wordings"),
        (lambda: Biographies(facts=()), "facts"),
        (lambda: Biographies(wordings=("verbatim", "verbatim")), "wordings"),
        (lambda: IidReplacement(tokens=1), "tokens"),
        (lambda: PromptExtraction(tests=0), "tests"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(make: Any, field: str) -> None:
    with pytest.raises(SettingError) as error:
        make()
    assert error.value.field == field


@pytest.mark.parametrize(
    "treatment",
    [
        Passages(doses=(0, 2), items=4, tokens=10, windows=2),
        Biographies(doses=(0, 2), people=2, facts=("city",)),
        Contamination(doses=(0, 2), items=4, prompt=4, answer=2, windows=2),
    ],
)
def test_items_do_not_depend_on_how_long_the_run_is(stream: TokenStream, treatment: Any) -> None:
    """What is diluted in a longer run is the same items with the same doses and windows."""
    short, items = inserted(stream, treatment)
    long, same = inserted(replace(stream, rows=5 * stream.rows), treatment)
    assert same == items
    assert len(long.overlay) == len(short.overlay) > 0
