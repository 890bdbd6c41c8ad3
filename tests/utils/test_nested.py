"""map_tensors and move_to_device: a batch keeps its type, and all of its tensors move."""

from __future__ import annotations

import dataclasses
from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, namedtuple
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
import torch
from easydict import EasyDict
from torch.nn.utils.rnn import pack_sequence

from basetrainer.errors import UsageError
from basetrainer.utils.torch_tools import map_tensors, move_to_device

Named = namedtuple("Named", "x name")


@dataclasses.dataclass
class Plain:
    x: torch.Tensor
    later: Any = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.later = [self.x + 1]


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: torch.Tensor
    name: str = "a"


class Attrs:
    """As attrs makes frozen classes: slots, and a mark."""

    __slots__ = ("__weakref__", "x")
    __attrs_attrs__ = ()

    def __init__(self, x: torch.Tensor) -> None:
        object.__setattr__(self, "x", x)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("frozen")


class Keyed(dict[str, Any]):
    def __init__(self, needed: int, x: Any) -> None:
        super().__init__(x=x)
        self.needed = needed


class Items(list[Any]):
    name = ""


class Couple(tuple[Any, ...]):
    def __new__(cls, x: Any, y: Any) -> Couple:
        return super().__new__(cls, (x, y))


class Graphs:
    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    def to(self, device: Any) -> Graphs:
        return Graphs(self.x.to(device))


class InPlace(UserDict[str, Any]):
    def to(self, device: Any) -> None:
        self.data = {key: value.to(device) for key, value in self.data.items()}


BATCHES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "OrderedDict": (lambda x: OrderedDict(x=x), lambda b: b["x"]),
    "defaultdict": (lambda x: defaultdict(list, x=x), lambda b: b["x"]),
    "EasyDict": (lambda x: EasyDict(x=x), lambda b: b.x),
    "UserDict": (lambda x: UserDict(x=x), lambda b: b["x"]),
    "MappingProxyType": (lambda x: MappingProxyType({"x": x}), lambda b: b["x"]),
    "a dict with arguments": (lambda x: Keyed(3, x), lambda b: b["x"]),
    "named tuple": (lambda x: Named(x, "a"), lambda b: b.x),
    "tuple with arguments": (lambda x: Couple(x, 1), lambda b: b[0]),
    "list": (lambda x: Items([x, "a"]), lambda b: b[0]),
    "max": (lambda x: x.max(0), lambda b: b.indices),
    "dataclass": (Plain, lambda b: b.later[0]),
    "frozen dataclass": (Frozen, lambda b: b.x),
    "attrs": (Attrs, lambda b: b.x),
    "PackedSequence": (lambda x: pack_sequence([x, x[:1]]), lambda b: b.data),
    "object with to()": (Graphs, lambda b: b.x),
    "object that moves in place": (lambda x: InPlace(x=x), lambda b: b["x"]),
}


@pytest.mark.parametrize("kind", BATCHES)
def test_a_batch_keeps_its_type_and_its_tensors_move(kind):
    make, inside = BATCHES[kind]
    batch = make(torch.ones(2, 3))
    for moved in (
        move_to_device(batch, "meta"),
        move_to_device({"deep": [batch]}, "meta")["deep"][0],
    ):
        assert type(moved) is type(batch)
        assert inside(moved).device.type == "meta"
    if "to()" not in kind and "in place" not in kind:
        assert inside(batch).device.type == "cpu"  # the batch itself is as it was


def test_what_else_a_batch_carries_comes_along():
    items = Items([torch.ones(1)])
    items.name = "b"
    assert move_to_device(items, "meta").name == "b"
    assert move_to_device(Keyed(3, torch.ones(1)), "meta").needed == 3
    assert move_to_device(defaultdict(list, x=torch.ones(1)), "meta")["new"] == []
    assert move_to_device(Frozen(torch.ones(1), "c"), "meta").name == "c"
    packed = move_to_device(pack_sequence([torch.ones(3), torch.ones(2)]), "meta")
    assert packed.batch_sizes.device.type == "cpu"


@pytest.mark.parametrize(
    "part",
    [Counter("aab"), UserList([1]), Frozen, "text", None, 3, torch.Size([2]), torch.device("cpu")],
)
def test_what_holds_no_tensors_is_the_same_object(part):
    assert move_to_device([part], "meta")[0] is part


def test_on_the_device_already_nothing_is_copied():
    batch = Frozen(torch.ones(2))
    assert move_to_device(batch, "cpu") is batch
    tensor = torch.ones(2)
    assert move_to_device({"x": [tensor]}, "cpu")["x"][0] is tensor


def test_a_mapping_that_cannot_be_made_anew_is_refused_in_words():
    class Odd(UserDict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            raise KeyError("read only")

    odd = Odd()
    odd.data["x"] = torch.ones(1)
    with pytest.raises(UsageError, match=r"holds a Odd, which cannot be made anew.*to\(device\)"):
        map_tensors(odd, lambda tensor: tensor + 1)


def test_channels_last_is_for_images_alone():
    def is_last(tensor: torch.Tensor) -> bool:
        moved = move_to_device(tensor, "cpu", channels_last=True)
        return bool(moved.is_contiguous(memory_format=torch.channels_last))

    assert is_last(torch.ones(2, 3, 4, 4))
    assert is_last(torch.ones(2, 3, 4, 4, dtype=torch.uint8))
    assert not is_last(torch.ones(2, 5, 4, 4, dtype=torch.int64))
    assert not is_last(torch.ones(2, 5, 4, 4, dtype=torch.bool))
