"""freeze and thaw: keep parts of a model as they are for a while, or for good."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence

from torch import nn

from basetrainer._names import did_you_mean, matches
from basetrainer._wrappers import unwrap
from basetrainer.errors import ConfigError

logger = logging.getLogger(__name__)


def freeze(model: nn.Module, patterns: str | Sequence[str]) -> list[str]:
    """Exclude parameters from training by their names, and keep their BatchNorms in eval mode.

    ``"layer1"`` is everything below ``layer1``; ``*``, ``?`` and ``[12]`` are as in file names, so
    ``["conv1", "bn1", "layer[12]"]`` is the first half of a ResNet. A frozen BatchNorm uses its
    running statistics and leaves them alone, also after ``model.train()``. Make the optimizer
    afterwards: :func:`~basetrainer.optimizer.build_optimizer.get_optimizer` leaves out what is
    frozen. :class:`~basetrainer.callbacks.unfreeze.Unfreeze` thaws it in a run.

    Args:
        model: The model.
        patterns: One pattern or several.

    Returns:
        The names of the frozen parameters.

    Raises:
        ConfigError: If a pattern matches nothing.
    """
    model = unwrap(model)
    patterns = checked_patterns(model, patterns, "freeze")
    parameters = dict(model.named_parameters(remove_duplicate=False))
    modules = dict(model.named_modules(remove_duplicate=False))
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


def thaw(model: nn.Module, patterns: str | Sequence[str]) -> list[str]:
    """Undo :func:`freeze` for what matches: train the parameters, and let BatchNorms learn again.

    The optimizer must be given the parameters, too; in a run
    :class:`~basetrainer.callbacks.unfreeze.Unfreeze` does both.

    Args:
        model: The model.
        patterns: One pattern or several, as for :func:`freeze`.

    Returns:
        The names of the parameters that are trained now and were not before.

    Raises:
        ConfigError: If a pattern matches nothing.
    """
    model = unwrap(model)
    patterns = checked_patterns(model, patterns, "thaw")
    parameters = dict(model.named_parameters(remove_duplicate=False))
    thawed = [
        name
        for name, one in parameters.items()
        if matches(name, patterns) and not one.requires_grad
    ]
    for name in thawed:
        parameters[name].requires_grad_(True)
    for name, module in model.named_modules(remove_duplicate=False):
        own = [one for one, _ in module.named_parameters(prefix=name, recurse=False)]
        is_thawed = matches(name, patterns) or (own and all(matches(one, patterns) for one in own))
        replaced = module.__dict__.get("train")
        if is_thawed and getattr(replaced, "func", None) is _stay_in_eval:
            del module.__dict__["train"]
            module.train(model.training)
    return thawed


def checked_patterns(model: nn.Module, patterns: str | Sequence[str], purpose: str) -> list[str]:
    """Return the patterns as a list; each names something of the model.

    Args:
        model: The user's own network.
        patterns: One pattern or several.
        purpose: What is done to what matches, for the message.

    Raises:
        ConfigError: If a pattern is no text or matches nothing; names the nearest.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    names += [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise ConfigError(f"{purpose}: {pattern!r} is no name. Write one, such as 'layer1'.")
        if not any(matches(name, [pattern]) for name in names):
            children = ", ".join(name for name, _ in model.named_children())
            raise ConfigError(
                f"Nothing to {purpose} matches {pattern!r}.{did_you_mean(pattern, names)} "
                f"The model has {children}."
            )
    return patterns


def _stay_in_eval(module: nn.Module, mode: bool = True) -> nn.Module:
    """Take the place of a frozen BatchNorm's ``train``."""
    return nn.Module.train(module, False)
