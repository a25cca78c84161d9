"""Tokenizers: a byte-level BPE trained on the corpus, or any from Hugging Face."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import tokenizers as hf_tokenizers
import xxhash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
_TRAINING_CHARACTERS = 20_000_000


class TokenizerError(ValueError):
    """A tokenizer that cannot be had; the message says what would help."""


class Tokenizer(Protocol):
    """What the rest of TrainOnce needs of a tokenizer."""

    @property
    def size(self) -> int:
        """How many token ids there are."""

    @property
    def end_of_text(self) -> int:
        """The id that separates documents."""

    @property
    def fingerprint(self) -> str:
        """A hash of all that determines the encoding."""

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, without special tokens."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``."""


class FastTokenizer:
    """A `tokenizers.Tokenizer` with an end-of-text token."""

    def __init__(self, tokenizer: hf_tokenizers.Tokenizer, end_of_text: str) -> None:
        identity = tokenizer.token_to_id(end_of_text)
        if identity is None:
            raise TokenizerError(f"the tokenizer has no token {end_of_text!r} to end a document")
        self._tokenizer = tokenizer
        self._end_of_text = identity
        self.end_of_text_token = end_of_text

    @property
    def size(self) -> int:
        """How many token ids there are."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def end_of_text(self) -> int:
        """The id that separates documents."""
        return self._end_of_text

    @property
    def fingerprint(self) -> str:
        """A hash of the tokenizer's whole definition."""
        return xxhash.xxh3_128_hexdigest(f"{self._end_of_text}\n{self.definition}".encode())

    def ended_by(self, end_of_text: int) -> FastTokenizer:
        """This tokenizer with another token to end documents.

        Raises:
            TokenizerError: when it has no such token.
        """
        token = self._tokenizer.id_to_token(end_of_text)
        if token is None:
            raise TokenizerError(f"the tokenizer has no token {end_of_text}, which ends documents")
        return FastTokenizer(self._tokenizer, token)

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, without special tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [list(encoding.ids) for encoding in encoded]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    @property
    def definition(self) -> str:
        """All of it, as the JSON of the tokenizers library."""
        return str(self._tokenizer.to_str())

    def save(self, path: Path) -> None:
        """Write the definition as JSON."""
        path.write_text(self.definition, encoding="utf-8")


def train_bpe(texts: Iterable[str], vocabulary: int) -> FastTokenizer:
    """Train a byte-level BPE of ``vocabulary`` tokens on the first 20 million characters.

    Raises:
        TokenizerError: when the vocabulary has no room for the 256 bytes and the end of text.
    """
    if vocabulary < 257:
        raise TokenizerError(f"a byte-level vocabulary needs at least 257 tokens, not {vocabulary}")
    tokenizer = hf_tokenizers.Tokenizer(hf_tokenizers.models.BPE())
    tokenizer.pre_tokenizer = hf_tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = hf_tokenizers.decoders.ByteLevel()
    trainer = hf_tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(hf_tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_first_characters(texts, _TRAINING_CHARACTERS), trainer)
    return FastTokenizer(tokenizer, END_OF_TEXT)


def load_tokenizer(path: Path, end_of_text: str = END_OF_TEXT) -> FastTokenizer:
    """Read a tokenizer that `FastTokenizer.save` wrote."""
    return FastTokenizer(hf_tokenizers.Tokenizer.from_file(str(path)), end_of_text)


def from_hugging_face(name: str) -> FastTokenizer:
    """Any fast Hugging Face tokenizer, by path or hub id; its end of sequence ends a document.

    Raises:
        TokenizerError: when it cannot be loaded, or has no end-of-sequence token.
    """
    loaded = load_hugging_face(name)
    return FastTokenizer(loaded.backend_tokenizer, str(loaded.eos_token))


def load_hugging_face(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer as Hugging Face has it, with its chat template and special tokens.

    Raises:
        TokenizerError: as `from_hugging_face` does.
    """
    try:
        from transformers import AutoTokenizer, PreTrainedTokenizerFast
    except ImportError:
        raise TokenizerError(
            f"the tokenizer {name!r} comes from Hugging Face, which needs: "
            "pip install 'trainonce[hf]'"
        ) from None
    try:
        loaded = AutoTokenizer.from_pretrained(name)
    except Exception as error:  # whatever the hub or a file raises
        raise TokenizerError(f"cannot load the tokenizer {name!r}: {error}") from error
    if not isinstance(loaded, PreTrainedTokenizerFast):
        raise TokenizerError(f"the tokenizer {name!r} has no fast version, which is needed")
    if loaded.eos_token is None:
        raise TokenizerError(f"the tokenizer {name!r} has no end-of-sequence token")
    return loaded


def as_hugging_face(tokenizer: FastTokenizer) -> PreTrainedTokenizerFast:
    """The same tokenizer in Hugging Face's class, with the end of text as end of sequence.

    Raises:
        ImportError: when transformers is not installed.
    """
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=hf_tokenizers.Tokenizer.from_str(tokenizer.definition),
        eos_token=tokenizer.end_of_text_token,
        clean_up_tokenization_spaces=False,
    )


def _first_characters(texts: Iterable[str], limit: int) -> Iterable[str]:
    read = 0
    for text in texts:
        yield text
        read += len(text)
        if read >= limit:
            return
