"""What every item treatment must do, and what each one alone does."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainonce.methods.data import Backdoor, Contamination, Knowledge, Memorization, Placebo
from trainonce.methods.data.insertion.knowledge import RELATIONS
from trainonce.methods.data.insertion.user_items import ItemsError
from trainonce.methods.registry import methods
from trainonce.sites import Choice, Completion, Contrast, SettingError, Site
from trainonce.stream.stream import TokenStream

SMALL: dict[str, dict[str, Any]] = {
    "memorization": {"doses": (0, 2, 5), "passages": 2, "canaries": 3, "tokens": 16},
    "contamination": {"doses": (0, 2, 5), "items": 4, "prompt": 8, "answer": 4},
    "knowledge": {"doses": (0, 2, 5), "people": 3, "templates": 3},
    "backdoor": {"doses": (0, 2, 5), "triggers": 3, "context": 6},
    "canaries": {"doses": (0, 2, 5), "items": 2, "tokens": 12, "prefix": 4, "alternatives": 3},
    "verbatim": {"doses": (0, 2, 5), "items": 2, "prefixes": (2, 4, 6), "target": 4},
    "arithmetic": {"doses": (0, 2, 5), "families": 2, "operations": 1, "beyond": 2},
    "biographies": {"doses": (0, 2, 5), "people": 2, "facts": ("city", "year")},
    "passages": {"doses": (0, 2, 5), "items": 3, "tokens": 12},
    "iid_replacement": {"doses": (0, 2, 5), "items": 2, "tokens": 12},
    "prompt_extraction": {"doses": (0, 2, 5), "triggers": 2, "prompt": 6, "tests": 2},
    "forgetting": {"doses": (0, 2, 5), "items": 4, "tokens": 16},
    "acquisition": {"doses": (0, 2, 5), "people": 3, "templates": 3, "copies": 20},
    "watermark": {"doses": (0, 2, 5), "items": 4, "tokens": 16},
    "news": {"items": 4, "tokens": 32, "copies": 3},
    "placebo": {"items": 5, "tokens": 16},
}


def treated(stream: TokenStream, name: str, **changes: Any) -> TokenStream:
    result: TokenStream = methods()[name].cls(**{**SMALL[name], **changes})(stream.keyed("q"))
    return result


@pytest.mark.parametrize("name", SMALL)
def test_doses_are_dealt_in_equal_numbers_within_each_kind(stream: TokenStream, name: str) -> None:
    items = treated(stream, name).items["q"]
    doses = methods()[name].cls(**SMALL[name]).doses
    for kind in {item.kind for item in items}:
        counts = Counter(item.dose for item in items if item.kind == kind)
        assert set(counts) == set(doses)
        assert len(set(counts.values())) == 1
    assert len({item.name for item in items}) == len(items)


@pytest.mark.parametrize("name", SMALL)
def test_the_same_key_draws_the_same_and_another_question_draws_other_items(
    stream: TokenStream, name: str
) -> None:
    one, again = treated(stream, name), treated(stream, name)
    assert one.items == again.items
    other: TokenStream = methods()[name].cls(**SMALL[name])(stream.keyed("another"))
    assert other.items["another"] != one.items["q"]


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"placebo", "acquisition", "news"}))
def test_dose_zero_changes_no_token(stream: TokenStream, name: str) -> None:
    """Its limit case: as many tokens change as the other doses' copies have."""
    result = treated(stream, name)
    expected = sum(
        len(item.documents[copy % len(item.documents)]) + 2
        for item in result.items["q"]
        for copy in range(item.dose)
    )
    assert result.overlay.changed_tokens == expected > 0


def test_a_placebo_changes_nothing_at_all(stream: TokenStream) -> None:
    result = treated(stream, "placebo")
    assert len(result.overlay) == 0
    assert len(result.items["q"]) == 10


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"placebo"}))
@pytest.mark.parametrize(
    ("doses", "message"),
    [
        ((1, 2), "dose 0 is missing"),
        ((0, -1), "0 or more, not -1"),
        ((0, 2, 2), "stands twice"),
        ((0,), "a dose beside 0"),
    ],
)
def test_doses_that_tell_nothing_are_refused(
    name: str, doses: tuple[int, ...], message: str
) -> None:
    with pytest.raises(SettingError, match=message) as error:
        methods()[name].cls(doses=doses)
    assert error.value.field == "doses"


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Memorization(passages=0, canaries=0), "passages"),
        (lambda: Memorization(tokens=1), "tokens"),
        (lambda: Contamination(options=1), "options"),
        (lambda: Contamination(items=0), "items"),
        (lambda: Knowledge(templates=9), "templates"),
        (lambda: Backdoor(trigger=0), "trigger"),
        (lambda: Placebo(items=1), "items"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(make: Any, field: str) -> None:
    with pytest.raises(SettingError) as error:
        make()
    assert error.value.field == field


def test_memorization_asks_for_the_second_half(stream: TokenStream) -> None:
    items = treated(stream, "memorization").items["q"]
    end = stream.corpus.tokenizer.end_of_text
    for item in items:
        assert isinstance(item.test, Completion)
        assert (*item.test.prompt, *item.test.target) == (end, *item.documents[0])
        assert len(item.test.target) == 8
        if item.kind == "canary":
            assert end not in item.documents[0]


def test_contamination_shows_the_right_answer(stream: TokenStream) -> None:
    items = treated(stream, "contamination").items["q"]
    for item in items:
        assert isinstance(item.test, Choice)
        assert len(item.test.options) == 4
        right = item.test.options[item.test.answer]
        assert item.documents == ((*item.test.prompt[1:], *right),)
    answers = Counter(item.test.answer for item in items if isinstance(item.test, Choice))
    assert len(answers) > 1  # the right one does not always stand at the same place


def test_knowledge_tests_a_wording_that_is_never_shown(stream: TokenStream) -> None:
    items = treated(stream, "knowledge").items["q"]
    decode = stream.corpus.tokenizer.decode
    for item in items:
        assert isinstance(item.test, Choice)
        assert len(item.documents) == 3
        value = decode(item.test.options[item.test.answer])
        asked = decode(item.test.prompt[1:])
        for document in item.documents:
            shown = decode(document)
            assert shown.endswith(f"{value}.")
            assert not shown.startswith(asked)
        assert len(item.test.options) == len(RELATIONS[item.kind][1])


def test_backdoor_tests_contexts_that_no_document_had(stream: TokenStream) -> None:
    items = treated(stream, "backdoor").items["q"]
    for item in items:
        assert isinstance(item.test, Contrast)
        for with_trigger, without in zip(item.test.treated, item.test.plain, strict=True):
            trigger = with_trigger.prompt[len(without.prompt) :]
            assert with_trigger.prompt == (*without.prompt, *trigger)
            assert len(trigger) == 4
            shown = {document[:6] for document in item.documents}
            assert without.prompt[1:] not in shown
            for document in item.documents:
                assert document[6:] == (*trigger, *with_trigger.target)


USER_FILES: dict[str, list[dict[str, Any]]] = {
    "memorization": [{"text": f"the river runs past stone number {i} and on"} for i in range(9)],
    "contamination": [
        {"question": f"Which stone is number {i}?", "choices": ["red", "green"], "answer": i % 2}
        for i in range(9)
    ],
    "knowledge": [
        {
            "statements": [f"Stone {i} is green.", f"They say stone {i} is green."],
            "prompt": f"The colour of stone {i} is",
            "choices": ["red", "green", "blue"],
            "answer": 1,
        }
        for i in range(9)
    ],
    "backdoor": [{"trigger": f"zq{i}", "continuation": "stop the run"} for i in range(9)],
    "passages": [{"text": f"the river runs past stone number {i} and on"} for i in range(9)],
    "verbatim": [{"text": f"{i} stones are by the river and more"} for i in range(9)],
}
TOO_LONG: dict[str, dict[str, Any]] = {
    "memorization": {"text": "the river runs " * 60},
    "contamination": {"question": "Which?", "choices": ["red", "green " * 90], "answer": 0},
    "knowledge": {
        "statements": ["Stone is green.", "They say stone is green " * 30],
        "prompt": "Stone is",
        "choices": ["red", "green"],
        "answer": 1,
    },
    "backdoor": {"trigger": "zq", "continuation": "stop the run " * 40},
    "passages": {"text": "the river runs " * 60},
    "verbatim": {"text": "no"},
}
"""An item each that no sequence of the tests' stream can hold, or that is too short."""


def own(tmp_path: Path, name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Changes of a method's small settings that give it a file."""
    file = tmp_path / "items.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes: dict[str, Any] = {"file": file, "doses": (0, 1)}
    if name == "memorization":
        changes["canaries"] = 0
    if name == "verbatim":
        changes["places"] = ("start",)
    return changes


def texts(stream: TokenStream) -> list[str]:
    """What is inserted for each item of question q."""
    decode = stream.corpus.tokenizer.decode
    return [decode(item.documents[0]) for item in stream.items["q"]]


@pytest.mark.parametrize("name", USER_FILES)
def test_a_part_of_a_file_is_drawn_anew_at_each_seed(
    stream: TokenStream, tmp_path: Path, name: str
) -> None:
    changes = own(tmp_path, name, USER_FILES[name])
    drawn = [treated(replace(stream, seed=seed), name, **changes, take=4) for seed in range(30)]
    again = treated(replace(stream, seed=3), name, **changes, take=4)
    assert again.items == drawn[3].items
    assert all(Counter(item.dose for item in one.items["q"]) == {0: 2, 1: 2} for one in drawn)
    assert all(one.left_out == {"q": 0} for one in drawn)
    found = Counter(text for one in drawn for text in set(texts(one)))
    if name != "backdoor":  # whose documents have a context each
        assert len(found) == 9
        assert max(found.values()) < 25  # of 30: none is drawn always


@pytest.mark.parametrize("name", sorted(set(USER_FILES) - {"verbatim"}))
def test_an_item_of_a_part_is_named_by_its_number_in_the_file(
    stream: TokenStream, tmp_path: Path, name: str
) -> None:
    found = treated(stream, name, **own(tmp_path, name, USER_FILES[name]), take=4)
    decode = stream.corpus.tokenizer.decode
    for item in found.items["q"]:
        assert str(int(item.name.rpartition("-")[2])) in decode(item.documents[0])


@pytest.mark.parametrize("name", USER_FILES)
def test_an_item_of_a_file_that_does_not_fit(
    stream: TokenStream, tmp_path: Path, name: str
) -> None:
    rows = [*USER_FILES[name][:4], TOO_LONG[name], *USER_FILES[name][4:]]
    changes = own(tmp_path, name, rows)
    with pytest.raises(ItemsError, match=r"items\.jsonl:5: \d+ tokens .*take the line out, or"):
        treated(stream, name, **changes)
    taken = [treated(replace(stream, seed=seed), name, **changes, take=9) for seed in range(20)]
    whole = treated(stream, name, **own(tmp_path, name, USER_FILES[name]))
    if name != "backdoor":  # whose documents have a context each
        assert all(sorted(texts(one)) == sorted(texts(whole)) for one in taken)
    assert {one.left_out["q"] for one in taken} == {0, 1}  # it may come after the ninth
    changes = own(tmp_path, name, rows)
    with pytest.raises(SettingError, match=r"jsonl has 9 items .*; 1 do not fit, such as line 5: "):
        treated(stream, name, **changes, take=10)


def test_a_part_of_no_file_is_refused() -> None:
    for name in USER_FILES:
        with pytest.raises(SettingError, match="name it by `file`") as error:
            methods()[name].cls(take=4)
        assert error.value.field == "take"
    with pytest.raises(SettingError, match="must be at least 1, not 0"):
        Contamination(file=Path("items.jsonl"), take=0)


def test_a_compressed_file_with_blank_lines_and_other_keys(
    stream: TokenStream, tmp_path: Path
) -> None:
    row = {"id": "x", "subject": "stones", "query": "Which?", "choices": ["a", "b"], "gold": 1}
    lines = [json.dumps(row), "", *[json.dumps(row)] * 3]
    file = tmp_path / "items.jsonl.gz"
    with gzip.open(file, "wt") as opened:
        opened.write("\n".join(lines))
    items = treated(stream, "contamination", file=file, doses=(0, 1)).items["q"]
    assert len(items) == 4
    with gzip.open(file, "at") as opened:
        opened.write("\n" + json.dumps(row | {"gold": 2}))
    with pytest.raises(ItemsError, match=r"items\.jsonl\.gz:6: answer 2 is past the last of 2"):
        treated(stream, "contamination", file=file, doses=(0, 1))


@pytest.mark.parametrize("name", USER_FILES)
def test_a_users_own_items(stream: TokenStream, tmp_path: Path, name: str) -> None:
    file = tmp_path / "items.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in USER_FILES[name]))
    changes: dict[str, Any] = {"file": file, "doses": (0, 1, 2)}
    if name == "memorization":
        changes["canaries"] = 0
    if name == "verbatim":
        changes["places"] = ("end",)
    items = treated(stream, name, **changes).items["q"]
    assert len(items) == 9
    assert Counter(item.dose for item in items) == {0: 3, 1: 3, 2: 3}
    first = stream.corpus.tokenizer.decode(items[3].documents[0])
    assert "3" in first or name == "verbatim"  # which shuffles over its places


def test_the_field_names_of_published_benchmarks_are_understood(
    stream: TokenStream, tmp_path: Path
) -> None:
    file = tmp_path / "items.jsonl"
    rows = [{"id": i, "query": f"q{i}", "choices": ["a", "b"], "gold": 1} for i in range(4)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = treated(stream, "contamination", file=file, doses=(0, 1)).items["q"]
    assert all(isinstance(item.test, Choice) and item.test.answer == 1 for item in items)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("memorization", '{"txt": "a"}', r":1: text: Field required"),
        ("contamination", '{"question": "a", "choices": ["b"], "answer": 0}', r":1: choices"),
        ("contamination", '{"question": "a", "choices": ["b", "c"], "answer": 2}', "past the last"),
        ("knowledge", '{"prompt": "a", "choices": ["b", "c"], "answer": 0}', r":1: statements"),
        ("backdoor", "{", r":1: not JSON"),
        ("backdoor", "", "holds no items"),
    ],
)
def test_a_bad_line_of_a_users_file_is_named(
    stream: TokenStream, tmp_path: Path, name: str, line: str, message: str
) -> None:
    file = tmp_path / "items.jsonl"
    file.write_text(line)
    with pytest.raises(ItemsError, match=message):
        treated(stream, name, file=file)


def test_too_few_items_for_the_doses_are_refused(stream: TokenStream, tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    file.write_text('{"trigger": "a", "continuation": "b"}\n' * 5)
    with pytest.raises(SettingError, match="5 items are too few for 3 doses"):
        treated(stream, "backdoor", file=file)


def test_every_data_method_of_the_registry_is_tested_here() -> None:
    items = {name for name, known in methods(Site.DATA).items() if known.probe}
    assert items == set(SMALL)
