"""freeze: keep parts of a model as they are while the rest is trained."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence

from torch import nn

from basetrainer._names import matches
from basetrainer._wrappers import unwrap
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)


def freeze(model: nn.Module, patterns: str | Sequence[str]) -> list[str]:
    """Exclude parameters from training by their names, and keep their BatchNorms in eval mode.

    ``"layer1"`` is everything below ``layer1``; ``*``, ``?`` and ``[12]`` are as in file names, so
    ``["conv1", "bn1", "layer[12]"]`` is the first half of a ResNet. A frozen BatchNorm uses its
    running statistics and leaves them alone, also after ``model.train()``. Make the optimizer
    afterwards: :func:`~basetrainer.optimizer.build_optimizer.get_optimizer` leaves out what is
    frozen.

    Args:
        model: The model.
        patterns: One pattern or several.

    Returns:
        The names of the frozen parameters.

    Raises:
        ConfigError: If a pattern matches nothing.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    model = unwrap(model)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    modules = dict(model.named_modules(remove_duplicate=False))
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise ConfigError(f"freeze: {pattern!r} is no name. Write one, such as 'layer1'.")
        if not any(matches(name, [pattern]) for name in [*parameters, *modules]):
            raise ConfigError(
                f"Nothing to freeze matches {pattern!r}. The model has "
                f"{', '.join(name for name, _ in model.named_children())}."
            )
    frozen = [name for name in parameters if matches(name, patterns)]
    for name in frozen:
        parameters[name].requires_grad_(False)
    num_norms = 0
    for name, module in modules.items():
        own = [one for one, _ in module.named_parameters(prefix=name, recurse=False)]
        is_frozen = matches(name, patterns) or (own and set(own) <= set(frozen))
        if isinstance(module, nn.modules.batchnorm._NormBase) and is_frozen:
            num_norms += 1
            module.eval()
            # Of the instance, since a class of its own would not be what it says; a partial of a
            # function of this module, since it must pickle and copy.
            module.train = functools.partial(_stay_in_eval, module)  # type: ignore[assignment,method-assign]
    logger.info("frozen: %d parameters, %d BatchNorms stay in eval mode", len(frozen), num_norms)
    return frozen


def _stay_in_eval(module: nn.Module, mode: bool = True) -> nn.Module:
    """Take the place of a frozen BatchNorm's ``train``."""
    return nn.Module.train(module, False)
