"""Reads a published checkpoint, from the Hugging Face Hub or a folder, and renames its tensors.

A checkpoint is a configuration (JSON) and a state dict: names and tensors. Reading one never runs code from it.

The weights of a large model may fit a machine once and not twice. So each tensor is mapped from its file by itself, is
read when it is first looked at, and is let go of as soon as it was copied to its place in the model, which is made
without weights of its own.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from course_lib.errors import FileError, InputError, OfflineError
from course_lib.files import writing

Model = TypeVar("Model", bound=nn.Module)
LISTED = 10  # problems that a message names one by one


def fetch(source: str | Path, name: str) -> Path | None:
    """One file of a checkpoint.

    Args:
        source: a folder, or an id of the Hub such as "openai/clip-vit-base-patch32".
        name: the file's name in it.

    Returns:
        where it lies on this machine; None if the checkpoint has no such file.

    Raises:
        OfflineError: it has to be downloaded and cannot be.
        InputError: there is no such folder and no such repository.
        FileError: the cache cannot be written.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    try:
        return Path(hf_hub_download(str(source), name))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise OfflineError(
            f"{source} ({name}) needs a network once; run on a machine with one, "
            "or set HF_HOME to a cache that holds it"
        ) from error
    except EntryNotFoundError:
        return None
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise InputError(
            f"there is no folder {str(source)!r} and no public Hub repository of that id; "
            "an id looks like openai/clip-vit-base-patch32, and a private one needs `hf auth login` first"
        ) from error
    except (HfHubHTTPError, httpx.HTTPError) as error:
        raise OfflineError(f"the Hub did not give {source} ({name}): {error}; try again later") from error
    except OSError:
        with writing(Path(name)):  # a full disk, say
            raise


def find(source: str | Path, *names: str) -> Path | None:
    """The first of these files that the checkpoint has; None if it has none of them.

    Without a network a file that is not in the cache may or may not exist, so the others are tried before giving up.

    Raises:
        OfflineError: none is on this machine, and one may be on the Hub.
        InputError: as `fetch`.
    """
    offline = None
    for name in names:
        try:
            if path := fetch(source, name):
                return path
        except OfflineError as error:
            offline = offline or error
    if offline:
        raise offline
    return None


def read_json(path: Path) -> dict:
    """A JSON object from a file.

    Raises:
        FileError: it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileError(f"{path.name} is damaged (it is not JSON): delete {path} and fetch it again") from error
    if not isinstance(content, dict):
        raise FileError(f"{path.name} is damaged (it holds no object): delete {path} and fetch it again")
    return content


def read_config_of(model_type: str, source: str | Path) -> dict:
    """The configuration of a checkpoint in transformers' format, which should be of this type.

    Raises:
        FileError: there is none.
        InputError: it is of another type.
    """
    path = find(source, "config.json")
    if path is None:
        raise FileError(f"{source} holds no checkpoint: config.json is not there")
    config = read_json(path)
    if config.get("model_type") != model_type:
        raise InputError(f"{source} holds a model of type {config.get('model_type')!r}, not {model_type!r}")
    return config


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Keeps transformers from warning: of token ids that a tower without a tokenizer of its own never uses, for one."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def complete(config: dict, config_class: type):
    """A configuration as transformers reads it, with what old files leave out."""
    with without_warnings():
        return config_class.from_dict(config)


def read_state(source: str | Path, stem: str = "model", pickled: str = "pytorch_model.bin") -> dict[str, Tensor]:
    """The tensors of a checkpoint: `{stem}.safetensors`, its shards, or the older pickled file (read, not run).

    Raises:
        FileError: there are none, or they are damaged.
    """
    index = f"{stem}.safetensors.index.json"
    path = find(source, f"{stem}.safetensors", index, pickled)
    if path is None:
        raise FileError(f"{source} holds no weights: neither {stem}.safetensors nor {pickled}")
    if path.name != index:
        return _tensors(path, source)
    state: dict[str, Tensor] = {}
    for shard in sorted(set(read_json(path).get("weight_map", {}).values())):
        part = fetch(source, shard)
        if part is None:
            raise FileError(f"{source} lacks {shard}, which its index names: fetch it again")
        state |= _tensors(part, source)
    return state


def _tensors(path: Path, source: str | Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return _mapped(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError) as error:
        problem = error
    except Exception as error:  # pickle has errors of its own, which share no base with anything
        problem = error
    raise FileError(f"{path.name} of {source} is damaged ({problem}): delete it and fetch it again") from problem


def _mapped(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, each in a mapping of its own: it can be let go of by itself."""
    with safe_open(path, "pt") as file:
        names = list(file.keys())
    state = {}
    for name in names:
        with safe_open(path, "pt") as file:
            state[name] = file.get_tensor(name)
    return state


def rename(state: dict[str, Tensor], rules: list[tuple[str, str]], drop: str = r"$^") -> dict[str, Tensor]:
    """Gives tensors other names.

    Args:
        state: name -> tensor.
        rules: (regular expression, replacement), each applied in turn to every name.
        drop: names that match this whole expression are left out.
    """
    renamed = {}
    for name, tensor in state.items():
        if re.fullmatch(drop, name):
            continue
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def fuse(state: dict[str, Tensor], parts: tuple[str, ...], whole: str) -> dict[str, Tensor]:
    """Stacks tensors that belong to one fused layer: `fuse(state, ("query", "key", "value"), "qkv")`.

    Names `….query.weight`, `….key.weight`, `….value.weight` become one `….qkv.weight`; the same for biases. The parts
    are taken out of `state`, so that memory holds them once.

    Raises:
        FileError: some parts are there and others are not.
    """
    fused, pattern = {}, re.compile(rf"(.*\.){re.escape(parts[0])}\.(weight|bias)")
    others = re.compile(rf".*\.({'|'.join(map(re.escape, parts[1:]))})\.(weight|bias)")
    for name in list(state):
        if match := pattern.fullmatch(name):
            names = [f"{match[1]}{part}.{match[2]}" for part in parts]
            if missing := [part for part in names if part not in state]:
                raise FileError(f"the checkpoint has {name} but not {missing[0]}: fetch it again")
            fused[f"{match[1]}{whole}.{match[2]}"] = torch.cat([state.pop(part) for part in names])
        elif not others.fullmatch(name):
            fused[name] = state[name]
    return fused


def drop_copy(state: dict[str, Tensor], copy: str, original: str) -> dict[str, Tensor]:
    """Leaves out a tensor that is another one under a second name: an embedding table that also makes the logits.

    Raises:
        FileError: the two differ.
    """
    if copy not in state or original not in state:
        return state
    if not torch.equal(state[copy], state[original]):
        raise FileError(f"{copy} and {original} should be one tensor in this model, and they differ")
    return {name: tensor for name, tensor in state.items() if name != copy}


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """Models made in this context have parameters with shapes and without memory: on torch's device "meta".

    Buffers are real: tables that a model computes and no checkpoint holds.
    """
    register = nn.Module.register_parameter

    def empty(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None and not parameter.is_meta:  # one that is there already may be shared, and stays so
            parameter = nn.Parameter(parameter.to("meta"), parameter.requires_grad)
        register(module, name, parameter)

    nn.Module.register_parameter = empty
    try:
        yield
    finally:
        nn.Module.register_parameter = register


def filled(
    make: Callable[[], Model],
    state: dict[str, Tensor],
    source: str | Path = "the state dict",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Model:
    """A model with the weights of a state dict that fits it exactly, in evaluation mode.

    The model is made without weights, and takes each tensor out of `state` as it copies it: at no time does memory hold
    all of them twice.

    Args:
        make: makes the model: `lambda: CLIP(config)`.
        state: every tensor of the model and nothing else; empty afterwards.
        source: what to call it in a message.
        dtype: of the numbers that are not whole: torch.float32, or half of that with torch.bfloat16 or torch.float16.
        device: where the model is to be; the CPU if left out.

    Raises:
        FileError: a tensor is missing, is one too many, or has another shape.
    """
    with without_weights():
        model = make()
    _check_fit(model, state, source)
    mine = {}
    for name in list(state):
        tensor = state.pop(name)
        mine[name] = tensor.to(device or "cpu", dtype if tensor.is_floating_point() else tensor.dtype, copy=True)
    model.load_state_dict(mine, assign=True)
    return model.to(device).eval()  # also the tables that no checkpoint holds


def _check_fit(model: nn.Module, state: dict[str, Tensor], source: str | Path) -> None:
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in state]
    problems += [f"{name} is not part of the model" for name in state if name not in own]
    problems += [
        f"{name} is {tuple(state[name].shape)} and should be {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if problems:
        shown = "; ".join(problems[:LISTED]) + (f" (and {len(problems) - LISTED} more)" if problems[LISTED:] else "")
        raise FileError(
            f"the weights of {source} do not fit their configuration: {shown}; "
            "fetch them again, or check that this is a checkpoint of that model"
        )
