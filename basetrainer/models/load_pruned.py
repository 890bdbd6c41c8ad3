"""load_pruned: from a file of pruned weights to the network, without what pruned it."""

from __future__ import annotations

import os

from torch import nn

from basetrainer._wrappers import unwrap
from basetrainer.errors import CheckpointError
from basetrainer.models.finetune import named_like, read_state
from basetrainer.models.rebuild import apply_structure
from basetrainer.models.structure import structure_in


def load_pruned(path: str | os.PathLike[str], model: nn.Module | None = None) -> nn.Module:
    """Rebuild a pruned network from a file of its weights; neither NNI nor torch-pruning is needed.

    Any file does that holds the network's ``state_dict()``, such as ``best_model_*.pth``: torch
    keeps the structure with it. It is read with ``weights_only=True``.

    Args:
        path: The file.
        model: The full network, freshly built, which is changed in place. By default the one that
            :func:`~basetrainer.models.build_models.get_models` made and the file names.

    Returns:
        The network, on the CPU and in evaluation mode; or ``model``, in its own mode.

    Raises:
        ConfigError: If there is no such file.
        CheckpointError: If it cannot be read, holds no structure, or is of another network.
    """
    state = read_state(path)
    structure = structure_in(state)
    if not structure:
        raise CheckpointError(
            f"{path} holds no structure, so it is not of a pruned network. Load it with "
            f"model.load_state_dict(torch_tools.load_state_dict({str(path)!r}))."
        )
    if model is None:
        if structure.get("network") is None:
            raise CheckpointError(
                f"{path} does not say which network was pruned, since get_models() did not make "
                f"it. Build the full network, and call load_pruned({str(path)!r}, model)."
            )
        from basetrainer.models.build_models import get_models

        model = get_models(**structure["network"], is_train=False, pretrained=False)
    apply_structure(model, structure)
    try:
        network = unwrap(model)
        network.load_state_dict(named_like(network.state_dict(), state))
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit {type(model).__name__}: {error}") from error
    return model
