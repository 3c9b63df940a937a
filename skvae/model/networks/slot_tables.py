"""How codes depend on those of earlier slots: a table for each pair of slots."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from skvae.model.dtype import BUILD_DTYPE
from skvae.model.memory import check_weights
from skvae.model.networks._base import Network

__all__ = ["SlotTables"]


class SlotTables(Network):
    """Log-odds of the codes of a slot by the code of each earlier slot, zero at first.

    Parameters
    ----------
    n_codes, n_slots : int
        Numbers of codes of a slot, C, and of slots, M.

    References
    ----------
    B. J. Frey, G. E. Hinton and P. Dayan, 1996. Does the wake-sleep algorithm produce
    good density estimators? (Logistic autoregressive networks.)
    """

    mask: Tensor

    def __init__(self, n_codes: int, n_slots: int) -> None:
        super().__init__(dropout=0.0)
        self.n_codes = n_codes
        size = n_codes * n_slots
        check_weights(size**2, f"Tables of {n_codes} codes in {n_slots} slots")
        slot = torch.arange(n_slots).repeat_interleave(n_codes)
        earlier = (slot[:, None] < slot).to(BUILD_DTYPE)
        self.register_buffer("mask", earlier, persistent=False)
        self.weight = nn.Parameter(torch.zeros_like(earlier))

    @torch.no_grad()
    def copy_code(self, slot: int, source: int, target: int) -> None:
        """Let a code of a slot depend on others, and they on it, as another one."""
        first = slot * self.n_codes
        self.weight[first + target] = self.weight[first + source]
        self.weight[:, first + target] = self.weight[:, first + source]

    def decayed(self) -> Iterator[nn.Parameter]:
        """Return the tables."""
        yield self.weight

    def forward(self) -> Tensor:
        """Return the tables (M C, M C), as `SlotDistribution` takes them."""
        return self.weight * self.mask
