"""RngFence: the global random generators are left as they were found, at little cost."""

from __future__ import annotations

import ctypes
import functools
import random
import struct
from typing import Any

import numpy as np
import torch

_KEY = 624
"""Words of 32 bits in the state of a Mersenne Twister; a 32-bit position belongs to it."""

_BYTES = 4 * (_KEY + 1)
_PYTHON: Any = random.random.__self__  # type: ignore[attr-defined] # whose methods the module has
_NUMPY: Any = np.random  # whose types lack two of its public functions
_NUMPYS: Any = getattr(np.random.get_state, "__self__", None)
_GAUSS_BYTES = 16
_HEAD = object.__basicsize__
"""Bytes of an object before what its class in C adds to it."""


class RngFence:
    """A context that leaves the global CPU generators as it found them.

    The states of Python's and numpy's generators are copied as memory, which takes about a
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
    return _PYTHON_MEMORY.raw, _PYTHON.gauss_next


def set_python_state(state: Any) -> None:
    """Take back what :func:`python_state` returned."""
    content, gauss = state
    if isinstance(content, bytes):
        _PYTHON_MEMORY.raw = content
        _PYTHON.gauss_next = gauss
    else:
        random.setstate(content)


def numpy_state() -> Any:
    """Return the state of ``numpy.random``, for :func:`set_numpy_state`."""
    generator = _NUMPY.get_bit_generator()
    if _GAUSS is None or type(generator) is not np.random.MT19937:
        return generator, np.random.get_state(legacy=False), None
    return generator, _memory_of(generator).raw, _GAUSS_MEMORY.raw


def set_numpy_state(state: Any) -> None:
    """Take back what :func:`numpy_state` returned; the generator, too, if it was exchanged."""
    generator, content, gauss = state
    if _NUMPY.get_bit_generator() is not generator:
        _NUMPY.set_bit_generator(generator)
    if gauss is None:
        np.random.set_state(content)
        return
    _memory_of(generator).raw = content
    _GAUSS_MEMORY.raw = gauss


@functools.lru_cache(maxsize=2)
def _memory_of(generator: Any) -> Any:
    """Return the memory of a Mersenne Twister of numpy's."""
    return (ctypes.c_char * _BYTES).from_address(generator.ctypes.state_address)


def place_of_gauss() -> int | None:
    """Return where a ``numpy.random.RandomState`` keeps the second of two Gaussian numbers.

    Numpy makes them in pairs: an integer says whether there is one, a double behind it which. And
    it promises no more of a generator's memory than its address. So both are tried out, reading
    and writing, on two that nobody uses. None where they are not as this module knows them.
    """
    try:
        kind = np.random.RandomState
        if type(_NUMPYS) is not kind:
            return None
        generators = [np.random.MT19937(seed) for seed in (1, 2)]
        one, other = map(kind, generators)
        one.standard_normal()
        state: Any = one.get_state(legacy=False)
        memory = ctypes.string_at(generators[0].ctypes.state_address, _BYTES)
        words = np.frombuffer(memory, np.uint32).tolist()
        if words != [*state["state"]["key"].tolist(), state["state"]["pos"]]:
            return None
        whole = ctypes.string_at(id(one), kind.__basicsize__)
        place = whole.find(struct.pack("d", state["gauss"])) - 8
        if place < 0 or _flag(one, place) != 1 or _flag(other, place) != 0:
            return None
        ctypes.memmove(id(other) + place, whole[place:], _GAUSS_BYTES)
        ctypes.memmove(generators[1].ctypes.state_address, memory, _BYTES)
        is_same = other.standard_normal(2 * _KEY + 1) == one.standard_normal(2 * _KEY + 1)
        return place if is_same.all() and _flag(other, place) == 0 else None
    except Exception:  # another numpy: the slow way always works
        return None


def _flag(one: Any, place: int) -> int:
    return ctypes.c_int.from_address(id(one) + place).value


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


_GAUSS, _KNOWS_PYTHON = place_of_gauss(), knows_python()
_GAUSS_MEMORY: Any = (ctypes.c_char * _GAUSS_BYTES).from_address(id(_NUMPYS) + (_GAUSS or 0))
_PYTHON_MEMORY: Any = (ctypes.c_char * _BYTES).from_address(id(_PYTHON) + _HEAD)
"""Not read unless the memory is known."""
