"""RngFence: the global random generators are left as they were found, at little cost."""

from __future__ import annotations

import ctypes
import random
from typing import Any

import numpy as np
import torch

_KEY = 624
"""Words of 32 bits in the state of a Mersenne Twister; a 32-bit position belongs to it."""

_BYTES = 4 * (_KEY + 1)
_PYTHON: Any = random.random.__self__  # type: ignore[attr-defined] # whose methods the module has
_NUMPY: Any = np.random  # whose types lack two of its public functions
_HEAD = object.__basicsize__
"""Bytes of an object before what its class in C adds to it."""


class RngFence:
    """A context that leaves the global CPU generators as it found them.

    The states of Python's and numpy's generators are copied as memory, which takes less than a
    microsecond. ``getstate`` and ``get_state`` make 624 integers one by one, tens of microseconds:
    for a small step as much as all the rest of a batch. They serve where this module finds that
    it does not know the memory.
    """

    __slots__ = ("_numpy", "_python", "_torch")

    def __enter__(self) -> None:
        self._torch = torch.default_generator.get_state()
        self._python = python_state()
        self._numpy = numpy_state()

    def __exit__(self, *error: object) -> None:
        torch.default_generator.set_state(self._torch)
        set_python_state(self._python)
        set_numpy_state(self._numpy)


def python_state() -> Any:
    """Return the state of ``random``, for :func:`set_python_state`."""
    if not _KNOWS_PYTHON:
        return random.getstate(), None
    return ctypes.string_at(id(_PYTHON) + _HEAD, _BYTES), _PYTHON.gauss_next


def set_python_state(state: Any) -> None:
    """Take back what :func:`python_state` returned."""
    content, gauss = state
    if isinstance(content, bytes):
        ctypes.memmove(id(_PYTHON) + _HEAD, content, _BYTES)
        _PYTHON.gauss_next = gauss
    else:
        random.setstate(content)


def numpy_state() -> Any:
    """Return the state of ``numpy.random``, for :func:`set_numpy_state`."""
    generator = _NUMPY.get_bit_generator()
    if not _KNOWS_NUMPY or type(generator) is not np.random.MT19937:
        return generator, np.random.get_state(legacy=False), None
    address = generator.ctypes.state_address
    memory = ctypes.string_at(address, _BYTES)
    # Numpy makes Gaussian numbers in pairs and may keep the second one, outside of the generator.
    # Only get_state tells; but if there is one, drawing it leaves the generator as it was.
    number = np.random.standard_normal()
    if ctypes.string_at(address, _BYTES) == memory:
        return generator, memory, number
    ctypes.memmove(address, memory, _BYTES)
    _NUMPY.set_bit_generator(generator)  # drops the second number of the pair
    return generator, memory, None


def set_numpy_state(state: Any) -> None:
    """Take back what :func:`numpy_state` returned; the generator, too, if it was exchanged."""
    generator, content, number = state
    _NUMPY.set_bit_generator(generator)  # drops a Gaussian number that was kept
    if not isinstance(content, bytes):
        np.random.set_state(content)
        return
    ctypes.memmove(generator.ctypes.state_address, content, _BYTES)
    if number is not None:
        whole: Any = np.random.get_state(legacy=False)
        np.random.set_state({**whole, "has_gauss": 1, "gauss": number})


def knows_numpy() -> bool:
    """Whether a Mersenne Twister's memory, at its public address, is its words and its position.

    Numpy promises the address alone; so it is tried out, reading and writing, on two generators
    that nobody uses.
    """
    try:
        one, other = np.random.MT19937(1), np.random.MT19937(2)
        one.random_raw(5)
        state: Any = one.state["state"]
        memory = ctypes.string_at(one.ctypes.state_address, _BYTES)
        words = np.frombuffer(memory, np.uint32)
        if words.tolist() != [*state["key"].tolist(), state["pos"]]:
            return False
        ctypes.memmove(other.ctypes.state_address, memory, _BYTES)
        return bool((one.random_raw(2 * _KEY) == other.random_raw(2 * _KEY)).all())
    except Exception:  # whatever a numpy without such an address does: the slow way always works
        return False


def knows_python() -> bool:
    """Whether the memory of a ``random.Random``, behind its head, is its position and its words.

    Python promises nothing; so it is tried out, reading and writing, on two that nobody uses.
    """
    try:
        one, other = random.Random(1), random.Random(2)
        if type(_PYTHON) is not random.Random or random.Random.__basicsize__ < _HEAD + _BYTES:
            return False
        one.random()
        memory = ctypes.string_at(id(one) + _HEAD, _BYTES)
        *words, position = one.getstate()[1]
        if np.frombuffer(memory, np.uint32).tolist() != [position, *words]:
            return False
        ctypes.memmove(id(other) + _HEAD, memory, _BYTES)
        return [one.random() for _ in range(_KEY)] == [other.random() for _ in range(_KEY)]
    except Exception:  # another Python: the slow way always works
        return False


_KNOWS_NUMPY, _KNOWS_PYTHON = knows_numpy(), knows_python()
