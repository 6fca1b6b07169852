"""What a model is made of, as one forward pass shows it: its boxes, their shapes, and what goes from where to where.

Nothing about a model is typed in here: every tensor of a real forward pass is followed from the inputs through the
modules to the outputs. `course_lib.viz.diagram` draws what was found.
"""

import dataclasses
import inspect
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from course_lib.errors import InputError

# They move numbers about, compare them or ask for shapes; a reader of a diagram misses nothing.
QUIET_OPERATIONS = frozenset(
    """all any arange argmax __bool__ broadcast_to clone contiguous detach dim eq expand expand_as flatten float ge
    __get__ __getitem__ gt __index__ __invert__ is_floating_point isfinite item le __len__ lt masked_fill max min
    movedim mT ne numel permute reshape __setitem__ size squeeze stride t T to tolist transpose tril type_as unflatten
    unsqueeze view""".split()
)
OPERATION_NAMES = {
    **dict.fromkeys(("add", "__add__", "__radd__"), "+"),
    **dict.fromkeys(("sub", "__sub__", "__rsub__"), "−"),
    **dict.fromkeys(("mul", "__mul__", "__rmul__"), "×"),
    **dict.fromkeys(("div", "truediv", "__truediv__"), "÷"),
    **dict.fromkeys(("matmul", "__matmul__"), "@"),
    "cat": "concatenate",
    "normalize": "normalise",
}


@dataclasses.dataclass(eq=False)
class Box:
    """One box of a diagram.

    Attributes:
        path: where the module or parameter is in the model, or the name of an input or output.
        kind: "input", "module", "parameter" or "output".
        what: class of the module, empty otherwise.
        repeats: what repeats in it: "12 × PreNormBlock".
        operations: what is done to its sources on their way into it: "normalise", "concatenate +".
        parameters: how many numbers it learns.
        frozen: it has parameters, and none of them is trained.
        shape: of what comes out of it; "…" where the parts of an output differ.
        sources: the boxes whose output goes into it.
    """

    path: str
    kind: str
    what: str = ""
    repeats: str = ""
    operations: str = ""
    parameters: int = 0
    frozen: bool = False
    shape: tuple[int | str, ...] = ()
    sources: list["Box"] = dataclasses.field(default_factory=list)

    @property
    def name(self) -> str:
        """The last part of the path, readable: "patch embedding"; of a list's third part, "stage 3"."""
        holder, _, last = self.path.rpartition(".")
        if last.isdigit():
            last = f"{holder.rpartition('.')[2].removesuffix('s')} {int(last) + 1}"
        return last.replace("_", " ").strip()

    @property
    def group(self) -> str:
        """The module that holds it, or "" if that is the model itself."""
        return self.path.rsplit(".", 1)[0] if self.kind in ("module", "parameter") and "." in self.path else ""


class _Following(TorchFunctionMode):
    """Remembers which tensors each tensor was computed from, and by what."""

    def __init__(self):
        self.parents: dict[int, tuple[list[int], str]] = {}
        self.alive: list[object] = []  # an id is only good as long as its tensor lives

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        given = [tensor for tensor in _tensors((args, kwargs))]
        self.alive.extend(given)
        for tensor in _tensors(result):
            self.alive.append(tensor)
            sources = [id(other) for other in given if other is not tensor]
            if sources and id(tensor) not in self.parents:
                self.parents[id(tensor)] = (sources, getattr(function, "__name__", ""))
        return result


def _tensors(value) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _tensors(getattr(value, field.name))


def _repeated(module: nn.Module) -> str:
    for part in module.modules():
        children = list(part.children())
        if isinstance(part, (nn.ModuleList, nn.Sequential)) and len(children) > 1:
            kinds = {type(child).__name__ for child in children}
            if len(kinds) == 1:
                return f"{len(children)} × {kinds.pop()}"
    return ""


def _contents(part: nn.Module) -> str:
    """What a sequence of layers holds, those that learn nothing left out: "PatchMerging, 2 × SwinBlock"."""
    kinds = [type(child).__name__ for child in part.children() if any(True for _ in child.parameters())]
    runs = [(kind, kinds.count(kind)) for kind in dict.fromkeys(kinds)]
    return ", ".join(kind if number == 1 else f"{number} × {kind}" for kind, number in runs)


def _boxes(model: nn.Module, depth: int, path: str = "") -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    for name, parameter in model.named_parameters(recurse=False):
        yield path + name, parameter
    for name, child in model.named_children():
        repeated = isinstance(child, (nn.ModuleList, nn.Sequential))
        if isinstance(child, nn.ModuleList) and all(isinstance(stage, nn.Sequential) for stage in child):
            repeated = False  # a list of stages: each has a size of its own, so each is a box
        if depth > 1 and any(True for _ in child.children()) and not repeated:
            yield from _boxes(child, depth - 1, f"{path}{name}.")
        else:
            yield path + name, child


def _outputs(result) -> dict[str, torch.Tensor | Mapping]:
    if isinstance(result, torch.Tensor):
        return {"output": result}
    if dataclasses.is_dataclass(result):
        result = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    if isinstance(result, (list, tuple)):
        result = {f"output {index + 1}": value for index, value in enumerate(result)}
    return {str(name): value for name, value in result.items() if next(_tensors(value), None) is not None}


def _shape(output: torch.Tensor | Mapping) -> tuple[int | str, ...]:
    """Of a tensor; of several under one name, what their shapes have in common."""
    shapes = [tuple(tensor.shape) for tensor in _tensors(output)]
    if len({len(shape) for shape in shapes}) > 1:
        return ("…",)
    return tuple(sizes[0] if len({*sizes}) == 1 else "…" for sizes in zip(*shapes, strict=True))


@torch.no_grad()
def trace(model: nn.Module, *inputs: torch.Tensor, depth: int = 2, **more: torch.Tensor) -> list[Box]:
    """Watches one forward pass and tells which boxes ran, with what shapes, and what went from where to where.

    Args:
        model: run in evaluation mode; left as it was.
        inputs: what its `forward` takes; one example each is enough, of different batch sizes where the code allows it.
        depth: how deep boxes are opened; 1 shows the model's own children, 2 theirs too.
        more: inputs by name.

    Returns:
        The boxes, sources before what they feed: inputs, modules, parameters and outputs. Modules that did not run are
        left out.

    Raises:
        InputError: no inputs, or a depth below 1.
    """
    if not inputs and not more:
        raise InputError("a diagram is drawn from a forward pass: give the model's inputs too")
    if depth < 1:
        raise InputError(f"depth is {depth}; it should be 1 or more")
    names = [name for name in inspect.signature(model.forward).parameters if name != "self"]
    given = dict(zip(names, inputs, strict=False)) | more
    given = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}

    following = _Following()
    owner: dict[int, Box] = {}
    received: dict[Box, list[int]] = {}
    found: list[Box] = []
    for name, tensor in given.items():
        box = Box(name, "input", shape=tuple(tensor.shape))
        owner[id(tensor)] = box
        found.append(box)
    handles = []
    busy: list[Box] = []
    for path, part in list(_boxes(model, depth)):
        if isinstance(part, nn.Parameter):
            owner[id(part)] = Box(
                path, "parameter", parameters=part.numel(), frozen=not part.requires_grad, shape=tuple(part.shape)
            )
            continue
        learned = list(part.parameters())
        box = Box(
            path,
            "module",
            (_contents(part) if isinstance(part, nn.Sequential) else "") or type(part).__name__,
            _repeated(part),
            parameters=sum(each.numel() for each in learned),
            frozen=bool(learned) and not any(each.requires_grad for each in learned),
        )

        def before(module, args, kwargs, box=box):
            received.setdefault(box, []).extend(id(tensor) for tensor in _tensors((args, kwargs)))
            following.alive.extend(_tensors((args, kwargs)))
            busy.append(box)

        def after(module, args, kwargs, result, box=box):
            busy.remove(box)
            if busy:
                return
            if {id(tensor) for tensor in _tensors(result)} <= set(received[box]):
                return  # it hands on what it was given (dropout in evaluation mode): there is nothing to draw
            if box not in found:
                found.append(box)
            tensors = list(_tensors(result))
            for tensor in tensors:
                owner[id(tensor)] = box
                following.alive.append(tensor)
            if tensors and (not box.shape or box.what == "ModuleList"):  # of a list, what its last member gives
                box.shape = tuple(tensors[0].shape)

        parts = part if isinstance(part, nn.ModuleList) else [part]
        for each in parts:
            handles.append(each.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(each.register_forward_hook(after, with_kwargs=True))
    training = model.training
    model.eval()
    try:
        with following:
            result = model(*inputs, **more)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()

    outputs = _outputs(result)
    results: list[Box] = []
    for name, output in outputs.items():
        keys = [id(tensor) for tensor in _tensors(output)]
        box = Box(name, "output", shape=_shape(output))
        ends = [owner[key] for key in keys if key in owner]
        if ends and ends[0].kind in ("output", "input"):
            continue
        if ends:  # a module's own output: the box of the result hangs from it
            box.sources = [ends[0]]
        else:
            received[box] = keys
        results.append(box)
    taken = {key: box for box in results if box in received for key in received[box]}

    def sources(start: Iterable[int], of: Box) -> tuple[list[Box], list[str]]:
        queue, seen, boxes, operations = list(start), set(), [], []
        while queue:
            key = queue.pop(0)
            if key in seen:
                continue
            seen.add(key)
            ending = owner.get(key) or (taken.get(key) if taken.get(key) is not of else None)
            if ending is not None:
                if ending is not of and ending not in boxes:
                    boxes.append(ending)
                continue
            above, operation = following.parents.get(key, ([], ""))
            if above and operation not in QUIET_OPERATIONS:
                operations.append(OPERATION_NAMES.get(operation, operation.strip("_")))
            queue.extend(above)
        return boxes, list(dict.fromkeys(reversed(operations)))

    for box in [*found, *results]:
        if box in received:
            boxes, operations = sources(received[box], box)
            box.sources = boxes
            box.operations = "  ".join(operations) if len(operations) <= 4 else ""
    merged: list[Box] = []
    for box in results:
        twin = next((other for other in box.sources if other.kind == "output"), None)
        if len(box.sources) == 1 and twin is not None and not box.operations:  # a transpose of another output
            twin.path = f"{twin.path}, {box.path}"
        else:
            merged.append(box)
    everything = list(found)
    while merged:  # an output may be computed from another one
        ready = next((box for box in merged if not any(other in box.sources for other in merged)), merged[0])
        merged.remove(ready)
        everything.append(ready)
    used = [source for box in everything for source in box.sources if source.kind == "parameter"]
    return [*dict.fromkeys(used), *everything]
