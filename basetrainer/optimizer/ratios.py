"""ratios: the learning rates of parameter groups over that of the optimizer."""

from __future__ import annotations

from torch.optim import Optimizer


def ratios(optimizer: Optimizer) -> list[float]:
    """Return each group's initial learning rate over the optimizer's."""
    for group in optimizer.param_groups:
        if "initial_lr" not in group:
            group["initial_lr"] = float(group["lr"])
    initial = [float(group["initial_lr"]) for group in optimizer.param_groups]
    # What only looks like an optimizer of torch's need not have defaults.
    default = float(getattr(optimizer, "defaults", {}).get("lr", 0.0))
    reference = default if default in initial else max(initial)
    return [lr / reference if reference > 0 else 1.0 for lr in initial]
