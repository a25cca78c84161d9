"""Text classification: what comes with Python, texts of the user's own, pretrained encoders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from pydantic import TypeAdapter

from trainonce.methods.model.adapters.partial_tuning import PartialTuning
from trainonce.models.encoder import EncoderError, minilm_folder, pretrained_encoder
from trainonce.sites import SettingError
from trainonce.tasks.bundles import texts
from trainonce.tasks.bundles.texts import Texts, labelled
from trainonce.tasks.given import Given, GivenError, Or
from trainonce.tasks.keys import content_hash


def own(file: Path) -> Given:
    found: Given = TypeAdapter(Annotated[Given, Or()]).validate_python(str(file))
    return found


@pytest.fixture
def fruit(tmp_path: Path) -> Given:
    file = tmp_path / "fruit.jsonl"
    lines = [{"text": f"{name} {number}", "label": name} for number in range(20) for name in "ab"]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return own(file)


def test_the_docstrings_have_a_class_for_each_package() -> None:
    found = labelled("docstrings")
    assert len(found.texts) == len(set(found.texts)) == len(found.labels)
    assert set(found.labels.tolist()) == set(range(len(texts.PACKAGES)))
    assert torch.bincount(found.labels).min() > 50


def test_the_same_numbers_twice_and_training_helps(fruit: Given) -> None:
    short, longer = (
        Texts(data=fruit, train=20, batch=10, steps=1),
        Texts(data=fruit, train=20, batch=10, steps=60),
    )
    assert short(1) == short(1)
    assert longer(1)["loss"] < short(1)["loss"]
    assert longer(1)["accuracy"] == 1.0


def test_a_method_says_what_is_trained(fruit: Given) -> None:
    frozen = PartialTuning(trained=("0.bias",))
    assert Texts(data=fruit, train=20, batch=10, steps=1, width=8, method=frozen)(0)["trained"] == 8


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"text": "a"}\n', r"own\.jsonl:1: not .* 'label'"),
        ('{"text": "a", "label": 1}\nnothing\n', r"own\.jsonl:2: not "),
        ('{"text": "a", "label": 1}\n', "at least two labels, not 1"),
    ],
)
def test_texts_that_cannot_be_read_name_the_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(text)
    with pytest.raises(GivenError, match=told):
        labelled(own(file))


@pytest.mark.parametrize(
    ("field", "settings"),
    [("train", {"train": 8}), ("test", {"test": -1}), ("length", {"length": 2})],
)
def test_numbers_that_leave_nothing_are_refused(field: str, settings: dict[str, int]) -> None:
    with pytest.raises(SettingError) as raised:
        Texts(**settings)  # type: ignore[arg-type]
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("field", "settings", "reason"),
    [
        ("length", {"length": 64}, "left at 32 with `bag`, which reads whole texts, not 64"),
        ("width", {"width": 8, "encoder": "minilm"}, "left at 64 with a pretrained encoder"),
    ],
)
def test_what_an_encoder_does_not_look_at_is_refused(
    field: str, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SettingError, match=reason) as raised:
        Texts(**settings)
    assert raised.value.field == field
    Texts(width=8)
    Texts(length=64, encoder="minilm")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT of two narrow layers and its tokenizer, as Hugging Face writes them."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", *map(str, range(20))]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


def test_an_embedding_is_the_mean_over_a_text_and_not_its_padding(tiny: str) -> None:
    encoder, tokenizer = pretrained_encoder(tiny)
    tokens, mask = tokenizer(["a 1 2 3", "b"], 8)
    assert mask.sum(1).tolist() == [6, 3]
    alone = encoder(*tokenizer(["b"], 8))
    assert torch.allclose(encoder(tokens, mask)[1:], alone, atol=1e-5)
    hidden = encoder.inner(input_ids=tokens[:1]).last_hidden_state
    assert torch.allclose(encoder(tokens, mask)[:1], hidden.mean(1), atol=1e-5)


def test_a_pretrained_encoder_is_trained_from_what_it_was(tiny: str, fruit: Given) -> None:
    task = Texts(
        data=fruit,
        train=20,
        batch=10,
        steps=2,
        encoder=Given(name=tiny, fingerprint=content_hash(Path(tiny))),
        length=6,
    )
    before = {k: v.clone() for k, v in texts._pretrained(task.encoder)[0].state_dict().items()}
    first = task(0)
    after = texts._pretrained(task.encoder)[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert task(0) == first
    assert first["trained"] == sum(
        one.numel() for one in texts._pretrained(task.encoder)[0].parameters()
    )


def test_an_encoder_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="cannot load the encoder"):
        pretrained_encoder(str(tmp_path))


def test_a_real_encoder_knows_what_is_alike() -> None:
    try:
        minilm_folder()
    except EncoderError as error:
        pytest.skip(str(error))
    pytest.importorskip("transformers")
    encoder, tokenizer = pretrained_encoder("minilm")
    with torch.no_grad():
        found = encoder(*tokenizer(["a cat", "a kitten", "stock markets"], 16))
    near, far = torch.cosine_similarity(found[:1], found[1:])
    assert near > 0.5 > far
