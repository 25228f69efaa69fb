"""How many parameters a method trains, beside those it keeps frozen: M-FLAG's claim of 78 % fewer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class ParameterReport:
    """Parameters of the trained module and of the frozen language model beside it.

    Args:
        trainable: Those that get a gradient.
        total: All, the frozen text encoder's included.
    """

    trainable: int
    total: int

    @property
    def frozen_share(self) -> float:
        """Share of all parameters that is not trained, 0 to 1."""
        return 1 - self.trainable / self.total

    def __str__(self) -> str:
        return f"{self.trainable / 1e6:.2f} M trainable of {self.total / 1e6:.2f} M parameters ({self.frozen_share:.1%} frozen)"


def parameter_report(method: nn.Module, text_encoder_parameters: int = 0) -> ParameterReport:
    """Count parameters.

    Args:
        method: The module that is trained.
        text_encoder_parameters: Those of a frozen text encoder, which is no part of the method.
    """
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in method.parameters()]
    trainable = sum(count for count, trained in counts if trained)
    return ParameterReport(trainable, sum(count for count, _ in counts) + text_encoder_parameters)
