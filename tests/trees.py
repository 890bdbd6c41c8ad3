"""State trees, compared bit by bit."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor


def assert_same(found: Any, expected: Any, at: str = "") -> None:
    """Compare two trees of dicts, lists and tensors; NaN equals NaN, bit by bit."""
    assert type(found) is type(expected), at
    if isinstance(expected, Tensor):
        assert (found.dtype, found.layout) == (expected.dtype, expected.layout), at
        assert found.shape == expected.shape, at
        assert found.requires_grad == expected.requires_grad, at
        if found.layout is torch.sparse_coo:
            found, expected = found.coalesce(), expected.coalesce()
            assert_same(found.indices(), expected.indices(), at)
            found, expected = found.values(), expected.values()
        assert torch.equal(_bytes(found), _bytes(expected)), at
    elif isinstance(expected, dict):
        assert list(found) == list(expected), at
        for key in expected:
            assert_same(found[key], expected[key], f"{at}[{key!r}]")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), at
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(one, other, f"{at}[{number}]")
    else:
        assert repr(found) == repr(expected), at


def exact(tree: Any) -> str:
    """Return a text that is the same for the same bits alone."""
    if isinstance(tree, Tensor):
        digest = hashlib.sha256(_bytes(tree).numpy().tobytes()).hexdigest()
        return f"{tree.dtype}{list(tree.shape)} {digest}"
    if isinstance(tree, dict):
        return str({key: exact(value) for key, value in tree.items()})
    if isinstance(tree, (list, tuple)):
        return str([exact(value) for value in tree])
    return repr(tree)


def _bytes(value: Tensor) -> Tensor:
    return value.detach().resolve_conj().contiguous().reshape(-1).view(torch.uint8)
