"""SharedFlag: something any rank may ask for and all ranks do at the same step."""

from __future__ import annotations

import itertools

import torch
import torch.distributed as dist

from basetrainer._torch_private import default_store
from basetrainer.distributed.context import DistContext

_numbers = itertools.count()


class SharedFlag:
    """A level that any rank may raise and that all ranks read alike, without a wait per step.

    Each call of :meth:`poll` starts a reduction and reads the one that the call before started,
    so a level raised at one step is seen by every rank at the next. The highest one counts; 0 is
    nothing. Every rank makes its flags in the same order.
    """

    def __init__(self, context: DistContext) -> None:
        self._context = context
        self._work: dist.Work | None = None
        self._box = torch.zeros(1, dtype=torch.int32)
        self._key = f"basetrainer/flag{next(_numbers)}"
        self._called = 0

    def poll(self, mine: int) -> int:
        """Return the highest level of any rank at the last poll; every rank must call it."""
        if self._context.world_size == 1:
            return mine
        raised = self._finish()
        self._box = self._boxed(mine)
        self._work = dist.all_reduce(self._box, op=dist.ReduceOp.MAX, async_op=True)
        return raised

    def settle(self, mine: int) -> int:
        """Return the highest level of any rank now, waiting for all; every rank must call it."""
        if self._context.world_size == 1:
            return mine
        box = self._boxed(max(mine, self._finish()))
        dist.all_reduce(box, op=dist.ReduceOp.MAX)
        return int(box.item())

    def call(self, mine: int) -> int:
        """Return the highest level that any rank called out; not collective, and no promise.

        It is for loops of unlike lengths, such as tests, before whose end nobody can poll. It asks
        the store that the processes met at, so do it by the clock. :meth:`settle` must follow.
        """
        if self._context.world_size == 1:
            return mine
        store = default_store()
        if store is None:
            return mine
        if mine > self._called:
            self._called = mine
            store.set(self._key, str(mine))
        if not store.check([self._key]):
            return mine
        return max(mine, int(store.get(self._key)))

    def _finish(self) -> int:
        """Return what the running reduction found."""
        if self._work is None:
            return 0
        self._work.wait()
        self._work = None
        return int(self._box.item())

    def _boxed(self, level: int) -> torch.Tensor:
        """Return it on the CPU if the group can reduce there: reading it then syncs no device."""
        has_cpu = "cpu:" in str(dist.get_backend_config())
        device = torch.device("cpu") if has_cpu else self._context.device
        return torch.full((1,), level, dtype=torch.int32, device=device)
