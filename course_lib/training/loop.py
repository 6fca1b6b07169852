"""The training loop that every lesson uses."""

import dataclasses
import hashlib
import io
import time
from collections.abc import Callable
from pathlib import Path

import torch

from course_lib.errors import FileError, InputError
from course_lib.files import write_atomically
from course_lib.runtime import autocast, progress, seed_everything
from course_lib.training.schedules import warmup_cosine


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a run is trained; what is trained, and on what, is the caller's."""

    steps: int
    batch_size: int = 128
    learning_rate: float = 1e-3  # the peak, after the warm-up
    warmup_steps: int = 0
    weight_decay: float = 0.05
    adam_eps: float = 1e-8  # gradients far below it move a weight by less than the learning rate
    clip_norm: float = 1.0  # gradients are scaled down to this length
    seed: int = 0
    save_every: int = 100  # steps between two saved states, when the run can be resumed

    def __post_init__(self):
        for name in ("steps", "batch_size", "learning_rate", "adam_eps", "clip_norm", "save_every"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}; it should be above 0")
        if not 0 <= self.warmup_steps < self.steps:
            raise InputError(
                f"warmup_steps is {self.warmup_steps}; it should be from 0 to less than steps, {self.steps}"
            )


@dataclasses.dataclass
class History:
    """What happened at each step, and how long all of it took."""

    steps: list[int] = dataclasses.field(default_factory=list)
    losses: list[float] = dataclasses.field(default_factory=list)
    learning_rates: list[float] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


def train(
    model: torch.nn.Module,
    batch_loss: Callable[[torch.nn.Module, torch.Generator], torch.Tensor],
    config: TrainingConfig,
    on_step: Callable[[int, float, float], None] | None = None,
    resume_from: str | Path | None = None,
) -> History:
    """Trains the parameters that require a gradient, and leaves the model in evaluation mode.

    AdamW, warm-up and cosine, gradient clipping, mixed precision on a GPU; a progress bar with the loss and the rate.

    Args:
        model: trained in place, on the device it is on. A part of it without trainable parameters stays in evaluation
            mode.
        batch_loss: draws a batch with the generator it is given, and returns its loss, a scalar. Everything random in
            it should come from that generator or from torch: then the same seed gives the same run, also when resumed.
        config: steps, rates, seed.
        on_step: called after each step with its number, counted from 0, its loss and its learning rate.
        resume_from: a file. The state of the run is written there every `save_every` steps; when it is there already,
            the run goes on from it, to the very weights that it would have reached in one go. It is removed at the end.

    Returns:
        The losses and learning rates of all steps, those before a resumption included.

    Raises:
        InputError: nothing to train, or the loss stopped being finite.
        FileError: the file to resume from is damaged, belongs to another run, or cannot be written.
    """
    seed_everything(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    where = next(model.parameters()).device
    optimiser = adamw(model, config)
    # float16 has too few exponents for small gradients: the scaler multiplies the loss by a power of two, and undoes
    # it.
    precision = autocast(where)
    scaler = torch.amp.GradScaler(where.type, enabled=getattr(precision, "fast_dtype", None) == torch.float16)
    history = History()
    run = _Run(model, optimiser, scaler, generator, history, config)
    if resume_from is not None and Path(resume_from).exists():
        run.load(Path(resume_from))

    _training_mode(model)
    earlier, start = history.seconds, time.perf_counter()
    with progress(description="training", total=config.steps) as bar:
        bar.update(len(history.steps))
        for step in range(len(history.steps), config.steps):
            rate = warmup_cosine(step, config.steps, config.warmup_steps, config.learning_rate)
            for group in optimiser.param_groups:
                group["lr"] = rate

            with autocast(where):
                loss = batch_loss(model, generator)
            if not torch.isfinite(loss):
                raise InputError(
                    f"the loss of step {step} is {loss.item()}: lower learning_rate, or look at the batch's values"
                )
            optimiser.zero_grad()
            scaler.scale(loss).backward()
            scaler.unscale_(optimiser)
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            scaler.step(optimiser)
            scaler.update()

            history.steps.append(step)
            history.losses.append(loss.item())
            history.learning_rates.append(rate)
            history.seconds = earlier + time.perf_counter() - start
            bar.set_postfix_str(f"loss {history.losses[-1]:.3f}, rate {rate:.1e}", refresh=False)
            bar.update()
            if on_step is not None:
                on_step(step, history.losses[-1], rate)
            if resume_from is not None and (step + 1) % config.save_every == 0 and step + 1 < config.steps:
                run.save(Path(resume_from))
    if resume_from is not None:
        Path(resume_from).unlink(missing_ok=True)
    model.eval()
    return history


def adamw(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; weight decay only on matrices and kernels.

    Norms, biases and the logit scale have a right size that is not 0, so nothing pulls them there.

    Raises:
        InputError: the model has no trainable parameter.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise InputError("nothing to train: no parameter of the model requires a gradient")
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in trainable)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), eps=config.adam_eps, fused=fused)


def _training_mode(model: torch.nn.Module) -> None:
    """Training mode, but for the frozen parts: their dropout stays off, their running statistics stay as they are."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


@dataclasses.dataclass
class _Run:
    """The state of a run, which goes to a file and comes back: the SHA-256 of the rest, a line end, torch's format."""

    model: torch.nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    generator: torch.Generator
    history: History
    config: TrainingConfig

    def save(self, path: Path) -> None:
        buffer = io.BytesIO()
        torch.save(
            {
                "config": dataclasses.asdict(self.config),
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "scaler": self.scaler.state_dict(),
                "history": dataclasses.asdict(self.history),
                "generator": self.generator.get_state(),
                "torch": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            },
            buffer,
        )
        content = buffer.getvalue()
        write_atomically(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)

    def load(self, path: Path) -> None:
        digest, _, content = path.read_bytes().partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() != digest:
            raise FileError(
                f"{path.name} is damaged and no run can be resumed from it: delete it to start from the beginning"
            )
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        mine = dataclasses.asdict(self.config)
        differ = [
            f"{name} {state['config'].get(name)} there, {mine[name]} here"
            for name in mine
            if state["config"].get(name) != mine[name]
        ]
        if differ:
            raise FileError(
                f"{path.name} is the state of another run ({'; '.join(differ)}): delete it, "
                "or resume with its own configuration"
            )
        try:
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise FileError(
                f"{path.name} is the state of another model: delete it, or resume with the model it belongs to"
            ) from error
        self.scaler.load_state_dict(state["scaler"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])
        for name, value in state["history"].items():
            setattr(self.history, name, value)
