"""Puts one question to a learner's answer: the half of checking that may run where nothing can be trusted.

This file needs torch and the standard library only and holds no answer, so a jail can be given this one file. It calls
what the learner wrote and says what came back; what that is worth is judged elsewhere (`practice.judging`), from the
`Outcome` alone. `tree` reduces both to plain values and tensors, which travel as JSON and safetensors.
"""

import contextlib
import io
import linecache
import signal
import threading
import time
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch

Asked = Literal["function", "module", "value"]

# What a learner prints is kept up to here: an endless loop that prints must not fill the memory.
KEPT_CHARACTERS = 2_000
MAX_DEPTH = 20
# The key under which `tree` writes which dataclass a dict was.
TAG = "(kind)"


@dataclass(frozen=True)
class Given:
    """A working part that a question hands to the learner's function: a text encoder, a frozen model.

    It is carried as the source of one class and its weights, and built where it is used, so that any part can be given
    without the asking side knowing it. `torch`, `nn` and `F` are at hand in the source.

    Args:
        source: Python that defines the class `name`; the class needs nothing from outside but those three names.
        name: the class.
        config: keyword arguments to build it with.
        state: what `load_state_dict` is given afterwards; empty where the class holds no weights.
    """

    source: str
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    state: dict[str, torch.Tensor] = field(default_factory=dict)

    def build(self) -> Any:
        """Builds the part. Only for what the course itself made: it runs the source."""
        space: dict[str, Any] = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "__name__": "given"}
        exec(compile(self.source, f"<{self.name}>", "exec"), space)
        part = space[self.name](**copied(self.config))
        if self.state:
            part.load_state_dict(copied(self.state))
            part.eval().requires_grad_(False)
        return part


@dataclass(frozen=True)
class Unknown:
    """Stands for a returned object that is neither a plain value nor a plain tensor; only its type's name is kept."""

    type: str


@dataclass
class Question:
    """What the learner's answer is asked; everything in it may be seen by it.

    Args:
        asked: "function": call it; "module": build it, load `state`, call it; "value": the answer is itself.
        inputs: arguments by name, passed by position (a learner may name parameters otherwise).
        construct: keyword arguments that a module is built with.
        state: weights copied into a module.
        initial: names of a module's parameters whose values right after it was built are reported.
        gradients: also ask for the derivative of the result by every floating tensor given (and by a module's weights).
        seconds: after that long the call is stopped.
        device: where tensors and module are put.
    """

    asked: Asked
    inputs: dict[str, Any] = field(default_factory=dict)
    construct: dict[str, Any] = field(default_factory=dict)
    state: dict[str, torch.Tensor] = field(default_factory=dict)
    initial: tuple[str, ...] = ()
    gradients: bool = False
    seconds: float = 5.0
    device: str = "cpu"


@dataclass
class Outcome:
    """What came of one question.

    Args:
        value: what was returned; tensors detached, on the CPU, of type `torch.Tensor` exactly.
        gradients: by name; None for a tensor that the result does not depend on. None altogether: the result cannot be
            differentiated.
        initial: a module's parameters right after it was built, those that were asked for.
        changed: names of arguments that the call modified.
        error: the type of the exception that ended it ("" if none did); "TimeLimit" if it was stopped.
        message: what the exception said.
        line: the learner's own line where it happened.
        printed: what it wrote to stdout, its beginning.
        device: where a returned tensor lay.
        seconds: how long the call took.
    """

    value: Any = None
    gradients: dict[str, torch.Tensor | None] | None = None
    initial: dict[str, torch.Tensor] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    error: str = ""
    message: str = ""
    line: str = ""
    printed: str = ""
    device: str = ""
    seconds: float = 0.0


class TimeLimit(BaseException):
    """The answer took too long. Not an Exception, so that `except Exception` in it does not swallow this."""


def ask(answer: Any, question: Question) -> Outcome:
    """Calls the answer and returns what came of it; whatever the answer does short of ending the process, it returns.

    The global random state, grad mode and default type are what they were afterwards. Each call starts from seed 0.
    """
    outcome = Outcome()
    inputs = [_ready(value, question) for value in question.inputs.values()]
    before = [copied(value) for value in inputs]
    written = _Kept()
    start = time.perf_counter()
    try:
        with _as_it_was(), contextlib.redirect_stdout(written), contextlib.redirect_stderr(io.StringIO()):
            with _time_limit(question.seconds):
                _call(answer, question, inputs, outcome)
    except TimeLimit:
        outcome.error, outcome.message = "TimeLimit", f"stopped after {question.seconds:g} s"
    except BaseException as error:  # also SystemExit and KeyboardInterrupt: nothing may end the notebook's cell
        outcome.error = type(error).__name__
        outcome.message = _text_of(error)
        outcome.line = _own_line(error, answer)
    outcome.seconds = time.perf_counter() - start
    outcome.printed = written.getvalue()
    if not outcome.error:
        outcome.changed = [
            name for name, old, new in zip(question.inputs, before, inputs, strict=True) if not _same(old, new)
        ]
    return outcome


def _call(answer: Any, question: Question, inputs: list[Any], outcome: Outcome) -> None:
    if question.asked == "value":
        outcome.value = plain(answer)
        return
    leaves: dict[str, torch.Tensor] = {}
    function = answer
    if question.asked == "module":
        if not (isinstance(answer, type) and issubclass(answer, torch.nn.Module)):
            raise TypeError("the answer should be a class that inherits from nn.Module, not an object made from one")
        function = answer(**copied(question.construct))
        own = dict(function.named_parameters())
        outcome.initial = {name: plain(own[name]) for name in question.initial if name in own}
        function.load_state_dict(copied(question.state))
        function.to(question.device).eval()
        if question.gradients:
            leaves |= dict(function.named_parameters())
    if question.gradients:
        for name, value in zip(question.inputs, inputs, strict=True):
            if _is_plain_tensor(value) and value.is_floating_point():
                leaves[name] = value.requires_grad_(True)
    result = function(*inputs)
    if _is_plain_tensor(result):
        outcome.device = result.device.type
    if question.gradients:
        outcome.gradients = _gradients(result, leaves)
        for value in leaves.values():
            value.requires_grad_(False)
    outcome.value = plain(result)


def _gradients(result: Any, leaves: dict[str, torch.Tensor]) -> dict[str, torch.Tensor | None] | None:
    """The derivative of a weighted sum of everything in the result; the weights differ, so that no term cancels."""
    tensors = [t for t in _tensors(result) if t.is_floating_point() and t.requires_grad]
    if not tensors:
        return None
    total = sum(
        (t * torch.linspace(0.5, 1.5, t.numel(), dtype=t.dtype, device=t.device).view(t.shape)).sum() for t in tensors
    )
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {name: plain(gradient) for name, gradient in zip(leaves, found, strict=True)}


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if _is_plain_tensor(value):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)


def copied(value: Any) -> Any:
    """A copy that shares no memory with the original: tensors cloned, containers copied, everything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return type(value)(copied(part) for part in value)
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}
    return value


def _ready(value: Any, question: Question) -> Any:
    """An argument as the learner gets it: a copy, on the device, with parts built."""
    if isinstance(value, Given):
        part = value.build()
        return part.to(question.device) if isinstance(part, torch.nn.Module) else part
    if isinstance(value, torch.Tensor):
        return value.detach().clone().to(question.device)
    if isinstance(value, (list, tuple)):
        return type(value)(_ready(part, question) for part in value)
    if isinstance(value, dict):
        return {key: _ready(part, question) for key, part in value.items()}
    return value


def plain(value: Any, depth: int = 0) -> Any:
    """A value reduced to what an outcome may hold: None, bool, int, float, str, lists, tuples, dicts, exact tensors.

    Everything else becomes `Unknown`. Types are compared exactly, so that an object that pretends to be equal, or a
    subclass of Tensor that does, is not let through.
    """
    kind = type(value)
    if depth > MAX_DEPTH:
        return Unknown("deeply nested structure")
    if value is None or kind in (bool, int, float, str):
        return value
    if _is_plain_tensor(value):
        if value.layout is not torch.strided or value.is_quantized or value.is_meta:
            return Unknown("sparse, quantised or meta tensor")
        return value.detach().clone().resolve_conj().resolve_neg().cpu().contiguous()
    if kind in (list, tuple):
        return kind(plain(part, depth + 1) for part in value)
    if kind is dict:
        return {key if type(key) is str else str(key): plain(part, depth + 1) for key, part in value.items()}
    if isinstance(value, tuple):  # a named tuple
        return tuple(plain(part, depth + 1) for part in tuple.__iter__(value))
    return Unknown(f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."))


def tree(value: Any) -> Any:
    """A `Question` or `Outcome` (or any value of one) as plain values and tensors: what a wire can carry."""
    if isinstance(value, (Given, Unknown, Question, Outcome)):
        return {TAG: type(value).__name__} | {name: tree(part) for name, part in vars(value).items()}
    if type(value) in (list, tuple):
        return type(value)(tree(part) for part in value)
    if type(value) is dict:
        return {key: tree(part) for key, part in value.items()}
    return value


def from_tree(value: Any, depth: int = 0) -> Any:
    """What `tree` was given. It builds and runs nothing, so it may be given what came out of a jail.

    Raises:
        ValueError: this is not what `tree` makes.
    """
    if depth > 3 * MAX_DEPTH:
        raise ValueError("too deeply nested")
    if type(value) in (list, tuple):
        return type(value)(from_tree(part, depth + 1) for part in value)
    if type(value) is not dict:
        return value
    parts = {key: from_tree(part, depth + 1) for key, part in value.items() if key != TAG}
    if TAG not in value:
        return parts
    made = {"Given": Given, "Unknown": Unknown, "Question": Question, "Outcome": Outcome}.get(str(value[TAG]))
    if made is None or set(parts) - {one.name for one in fields(made)}:
        raise ValueError(f"not a {value[TAG]!r:.40}")
    whole = made(**parts)
    if made is Outcome:
        texts = (whole.error, whole.message, whole.line, whole.printed, whole.device)
        gradients = whole.gradients if whole.gradients is not None else {}
        if not (
            all(type(text) is str for text in texts)
            and type(whole.changed) is list
            and all(type(name) is str for name in whole.changed)
            and type(gradients) is dict
            and all(part is None or type(part) is torch.Tensor for part in gradients.values())
            and type(whole.initial) is dict
            and all(type(part) is torch.Tensor for part in whole.initial.values())
            and type(whole.seconds) in (int, float)
        ):
            raise ValueError("not an outcome: a field has the wrong type")
    return whole


def _is_plain_tensor(value: Any) -> bool:
    """Exactly a tensor: a subclass may answer every question as it likes."""
    return type(value) in (torch.Tensor, torch.nn.Parameter)


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, torch.Tensor):
        return (
            isinstance(new, torch.Tensor)
            and old.shape == new.shape
            and old.dtype == new.dtype
            and torch.equal(torch.nan_to_num(old.detach()), torch.nan_to_num(new.detach()))
        )
    if isinstance(old, (list, tuple)):
        return type(old) is type(new) and len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, dict):
        return isinstance(new, dict) and list(old) == list(new) and all(_same(old[key], new[key]) for key in old)
    if old is None or isinstance(old, (bool, int, float, str)):
        return type(old) is type(new) and (old == new or old != old)
    return True  # a given part: not looked into


class _Kept(io.StringIO):
    """Keeps the beginning of what is written to it."""

    def write(self, text: str) -> int:
        room = KEPT_CHARACTERS - self.tell()
        if room > 0:
            super().write(str(text)[:room])
        return len(text)


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Leaves random state, default type, grad mode and warnings as they were, and starts from seed 0.

    One thread: what is asked is small, and threads that wait for each other on a busy machine make it far slower.
    """
    dtype = torch.get_default_dtype()
    state = torch.get_rng_state()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            torch.default_generator.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
        torch.set_default_dtype(dtype)


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeLimit in this thread after so long, as far as the platform lets one.

    A signal stops a sleeping call too, but exists in the main thread of a Unix process only; elsewhere the exception is
    raised when Python runs its next instruction. The signal comes again and again, for an answer that swallows one.
    """
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():

        def stop(*_: Any) -> None:
            raise TimeLimit

        old = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        return

    import ctypes

    over = threading.Event()
    target = ctypes.c_ulong(threading.get_ident())

    def watch() -> None:
        if not over.wait(seconds):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(target, ctypes.py_object(TimeLimit))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()


def _text_of(error: BaseException) -> str:
    """What an exception says; a learner's exception may itself fail to say it."""
    try:
        return str(error)[:1_000]
    except Exception:
        return ""


def _own_line(error: BaseException, answer: Any) -> str:
    """The last line of the learner's own code on the way to the exception."""
    code = _code_of(answer)
    if code is None:
        return ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == code.co_filename]
    if not frames:
        return ""
    text = frames[-1].line or linecache.getline(code.co_filename, frames[-1].lineno or 0)
    return (text or "").strip()[:200]


def _code_of(answer: Any) -> types.CodeType | None:
    found: Callable | None = answer if isinstance(answer, types.FunctionType) else None
    if isinstance(answer, type):
        found = next((m for m in vars(answer).values() if isinstance(m, types.FunctionType)), None)
    return getattr(found, "__code__", None)
