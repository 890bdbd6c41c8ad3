"""SharedFlag: something any rank may ask for and all ranks do at the same step."""

from __future__ import annotations

import torch
import torch.distributed as dist

from basetrainer.distributed.context import DistContext


class SharedFlag:
    """A flag that any rank may raise and that all ranks read alike, without a wait per step.

    Each call of :meth:`poll` starts a reduction and reads the one that the call before started,
    so a flag raised at one step is seen by every rank at the next.
    """

    def __init__(self, context: DistContext) -> None:
        self._context = context
        self._work: dist.Work | None = None
        self._box = torch.zeros(1, dtype=torch.int32)

    def poll(self, mine: bool) -> bool:
        """Return whether any rank's flag was up at the last poll; every rank must call it."""
        if self._context.world_size == 1:
            return mine
        raised = self._finish()
        self._box = torch.tensor([int(mine)], dtype=torch.int32, device=self._device())
        self._work = dist.all_reduce(self._box, op=dist.ReduceOp.MAX, async_op=True)
        return raised

    def settle(self, mine: bool) -> bool:
        """Return whether any rank's flag is up now, waiting for all; every rank must call it."""
        if self._context.world_size == 1:
            return mine
        earlier = self._finish()
        now = self._context.sum(torch.tensor([int(mine or earlier)], dtype=torch.int32))
        return bool(now.item())

    def _finish(self) -> bool:
        """Return what the running reduction found."""
        if self._work is None:
            return False
        self._work.wait()
        self._work = None
        return bool(self._box.item())

    def _device(self) -> torch.device:
        """The CPU if the group can reduce there: reading it then costs no device a sync."""
        has_cpu = "cpu:" in str(dist.get_backend_config())
        return torch.device("cpu") if has_cpu else self._context.device
