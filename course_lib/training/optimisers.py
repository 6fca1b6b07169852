"""The optimisers of lesson 01, written out: SGD with momentum, Adam and AdamW, step for step those of torch.optim.

The training loop of the course uses torch's own, which update all tensors in one fused pass; these are for reading.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from course_lib.errors import InputError


class SGD:
    """Stochastic gradient descent: a step against the gradient, or against a running sum of gradients.

    With weights w, gradient g, rate η and momentum μ: v ← μ v + g, w ← w - η v. Weight decay λ adds λ w to g.

    Args:
        parameters: the tensors to train.
        learning_rate: η; may be changed between steps (`optimiser.learning_rate = ...`).
        momentum: μ, from 0 (none) to less than 1.
        weight_decay: λ.

    Raises:
        InputError: nothing to train, or a number out of range.

    Source: Robbins and Monro, 1951; Polyak, 1964, for momentum; Sutskever et al., 2013, equations 1 and 2.
    """

    @torch.no_grad()
    def step(self) -> None:
        """Moves every parameter that has a gradient."""
        for index, parameter in enumerate(self.parameters):
            if parameter.grad is None:
                continue
            gradient = parameter.grad + self.weight_decay * parameter
            velocity = self.momentum * self.velocity[index] + gradient
            self.velocity[index] = velocity
            parameter -= self.learning_rate * velocity

    def zero_grad(self) -> None:
        """Forgets the gradients; `backward` would add to them."""
        forget(self.parameters)

    def __init__(
        self, parameters: Iterable[Tensor], learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0
    ):
        self.parameters = trainable(parameters)
        check_rates(learning_rate, weight_decay, momentum=momentum)
        self.learning_rate, self.momentum, self.weight_decay = learning_rate, momentum, weight_decay
        self.velocity = [torch.zeros_like(parameter) for parameter in self.parameters]


class Adam:
    """Adam: each number has a step size of its own, the rate divided by how large its gradients usually are.

    With g the gradient: m ← β₁ m + (1 - β₁) g, v ← β₂ v + (1 - β₂) g², both divided by 1 - βᵗ because they start
    from 0 (t counts steps from 1), and w ← w - η m̂ / (√v̂ + ε). Weight decay λ adds λ w to g, and is then divided
    like any gradient: what AdamW mends.

    Args:
        parameters: the tensors to train.
        learning_rate: η, about the length of a step in each number; may be changed between steps.
        betas: β₁ and β₂.
        eps: ε, which keeps a number without gradients from a division by 0.
        weight_decay: λ.

    Raises:
        InputError: nothing to train, or a number out of range.

    Source: Kingma and Ba, Adam, algorithm 1.
    """

    @torch.no_grad()
    def step(self) -> None:
        """Moves every parameter that has a gradient."""
        for index, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                self.move(index, parameter, parameter.grad + self.weight_decay * parameter)

    def move(self, index: int, parameter: Tensor, gradient: Tensor) -> None:
        """One step of one tensor: the same for Adam and AdamW."""
        (beta1, beta2), steps = self.betas, self.steps[index] + 1
        mean = beta1 * self.mean[index] + (1 - beta1) * gradient
        square = beta2 * self.square[index] + (1 - beta2) * gradient**2
        self.mean[index], self.square[index], self.steps[index] = mean, square, steps
        size = (square / (1 - beta2**steps)).sqrt() + self.eps
        parameter -= self.learning_rate * (mean / (1 - beta1**steps)) / size

    def zero_grad(self) -> None:
        """Forgets the gradients; `backward` would add to them."""
        forget(self.parameters)

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        self.parameters = trainable(parameters)
        check_rates(learning_rate, weight_decay, beta1=betas[0], beta2=betas[1])
        self.learning_rate, self.betas, self.eps, self.weight_decay = learning_rate, betas, eps, weight_decay
        self.mean = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.square = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = [0] * len(self.parameters)


class AdamW(Adam):
    """Adam with decoupled weight decay: the weights shrink by η λ of themselves, past the division that Adam makes.

    Args: as `Adam`.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, algorithm 2.
    """

    @torch.no_grad()
    def step(self) -> None:
        """Shrinks, then moves every parameter that has a gradient."""
        for index, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                parameter *= 1 - self.learning_rate * self.weight_decay
                self.move(index, parameter, parameter.grad)


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """The length of all gradients taken as one long vector: the root of the sum of all squares.

    Raises:
        InputError: nothing to train.
    """
    gradients = [parameter.grad for parameter in trainable(parameters) if parameter.grad is not None]
    return torch.stack([gradient.square().sum() for gradient in gradients] or [torch.zeros(())]).sum().sqrt()


def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scales the gradients down, all by one factor, if together they are longer than `max_norm`.

    Returns:
        Their length before, a scalar.

    Raises:
        InputError: nothing to train, or a length that is not positive.

    Source: Pascanu et al., On the difficulty of training recurrent neural networks, algorithm 1.
    """
    if not max_norm > 0:
        raise InputError(f"max_norm is {max_norm}; it should be above 0")
    parameters = trainable(parameters)
    norm = gradient_norm(parameters)
    factor = min(1.0, max_norm / (norm.item() + 1e-6))
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_(factor)
    return norm


def trainable(parameters: Iterable[Tensor]) -> list[Tensor]:
    """The parameters as a list.

    Raises:
        InputError: there are none, or one is no tensor that takes a gradient.
    """
    if isinstance(parameters, Tensor):
        raise InputError("parameters is one tensor; give a list of tensors, such as model.parameters()")
    parameters = list(parameters)
    if not parameters:
        raise InputError("there is nothing to train: the list of parameters is empty (was a generator used twice?)")
    for parameter in parameters:
        if not isinstance(parameter, Tensor) or not parameter.requires_grad:
            raise InputError(
                f"a parameter is a {type(parameter).__name__} without a gradient: give tensors with requires_grad=True"
            )
    return parameters


def check_rates(learning_rate: float, weight_decay: float, **shares: float) -> None:
    """Raises InputError unless the rate and the decay are finite and not negative, and each share is in [0, 1)."""
    for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
        if not 0 <= value < math.inf:
            raise InputError(f"{name} is {value}; it should be a finite number, 0 or above")
    for name, value in shares.items():
        if not 0 <= value < 1:
            raise InputError(f"{name} is {value}; it should be from 0 to less than 1")


def forget(parameters: list[Tensor]) -> None:
    """Takes every gradient away."""
    for parameter in parameters:
        parameter.grad = None
