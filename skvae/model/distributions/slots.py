"""Distributions over combinations of codes, too many to be listed."""

from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from skvae.model.distributions._base import LatentDistribution
from skvae.model.distributions.fixed_noise import mean_over_fixed_noise

__all__ = ["CombinationDistribution", "SlotDistribution", "numbers_of", "vectors_of"]

# Given the number of a slot and the log-masses (…, C) of its codes: chosen ones (…).
Choice: TypeAlias = Callable[[int, Tensor], Tensor]
# An odd number, near 2⁶⁴ over the golden ratio.
HASH_FACTOR = -7046029254386353131


def vectors_of(codes: Tensor, numbers: Tensor) -> Tensor:
    """Return the vectors (..., L) of combinations of codes (..., M).

    Parameters
    ----------
    codes : Tensor of shape (M, C, L / M)
        Vectors of the codes of each slot.
    numbers : int Tensor of shape (..., M)
        Numbers of codes, from 0 to C − 1.
    """
    slots = torch.arange(len(codes), device=numbers.device)
    return codes[slots, numbers].flatten(-2)


def numbers_of(codes: Tensor, z: Tensor) -> Tensor:
    """Return the numbers (..., M) of the codes nearest to vectors (..., L)."""
    n_slots, _, width = codes.shape
    parts = z.detach().reshape(-1, n_slots, width).transpose(0, 1)
    # Without a matrix product: the distance of a code from itself is zero then.
    distance = torch.cdist(
        parts.contiguous(),
        codes.detach(),
        compute_mode="donot_use_mm_for_euclid_dist",
    )
    return distance.argmin(-1).T.reshape(*z.shape[:-1], n_slots)


class SlotDistribution(LatentDistribution):
    r"""One of C codes in each of M slots, each given the codes of earlier slots.

    .. math:: p(c) = \prod_m \operatorname{softmax}\Bigl(a_m
              + \sum_{l<m} T_{lm}[c_l]\Bigr)_{c_m}

    Log-densities are log-masses: with respect to counting the combinations.

    Parameters
    ----------
    codes : Tensor of shape (M, C, L / M)
        Vectors of the codes of each slot.
    logits : Tensor of shape (M, C) or (B, M, C)
        a, the same for all rows or a row's own.
    tables : Tensor of shape (M C, M C) or None, default=None
        T, with a row for each code of a slot and a column for each code of a later
        slot; zero elsewhere. None for slots that are independent.
    """

    def __init__(
        self, codes: Tensor, logits: Tensor, tables: Tensor | None = None
    ) -> None:
        self.codes, self.logits, self.tables = codes, logits, tables
        self.noise_dim = len(codes)

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Turn noise (K, B, M) into numbers of codes (K, B, M) and log-masses (K, B).

        Gradients reach the log-masses, but not the choice.
        """
        with torch.no_grad():
            uniform = torch.special.ndtr(noise)
            numbers = self.chosen(lambda m, log_p: _invert(log_p, uniform[..., m]))
        numbers = numbers.expand(*noise.shape[:2], -1)
        return numbers, self.log_mass(numbers)

    def log_mass(self, numbers: Tensor) -> Tensor:
        """Return the log-mass (K, B) of combinations (K, B, M)."""
        logits = self.logits
        if self.tables is not None:
            logits = logits + self._from_earlier(numbers)
        log_p = logits.log_softmax(-1).expand(*numbers.shape, -1)
        return log_p.gather(-1, numbers[..., None]).squeeze(-1).sum(-1)

    def _from_earlier(self, numbers: Tensor) -> Tensor:
        """Return Σ T_lm[c_l], shape (K, B, M, C)."""
        assert self.tables is not None
        n_slots, n_codes, _ = self.codes.shape
        place = numbers + n_codes * torch.arange(n_slots, device=numbers.device)
        total = F.embedding_bag(place.flatten(0, -2), self.tables, mode="sum")
        return total.view(*numbers.shape, n_codes)

    def chosen(self, choose: Choice) -> Tensor:
        """Choose the code of each slot, (…, M), given those of the earlier ones."""
        n_slots, n_codes, _ = self.codes.shape
        chosen: list[Tensor] = []
        shift = torch.zeros((), dtype=self.logits.dtype, device=self.logits.device)
        for m in range(n_slots):
            logit = self.logits[..., m, :]
            if self.tables is not None and m:
                logit = logit + shift[..., :n_codes]
            chosen.append(choose(m, logit.log_softmax(-1)))
            if self.tables is not None:
                later = self.tables[:, (m + 1) * n_codes :]
                shift = shift[..., n_codes:] if m else shift
                shift = shift + later[m * n_codes + chosen[-1]]
        return torch.stack(chosen, -1)

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Choose codes; gradients reach their vectors, and their mass."""
        numbers, log_mass = self.draw(noise)
        return vectors_of(self.codes, numbers), log_mass

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-mass of vectors of codes, −inf elsewhere."""
        numbers = numbers_of(self.codes, z)
        is_point = (vectors_of(self.codes, numbers) == z).all(-1)
        return self.log_mass(numbers).where(is_point, -torch.inf)

    @property
    def mean(self) -> Tensor:
        """The mean; of slots that depend on others, over 128 fixed draws."""
        if self.tables is None:
            mass = self.logits.softmax(-1)
            return torch.einsum("...mc,mcw->...mw", mass, self.codes).flatten(-2)
        n_rows = len(self.logits) if self.logits.ndim > 2 else 1
        mean = mean_over_fixed_noise(
            lambda noise: self.rsample(noise)[0], self.noise_dim, n_rows, self.logits
        )
        return mean if self.logits.ndim > 2 else mean.squeeze(0)

    @property
    def mode(self) -> Tensor:
        """The most probable code of each slot, given those of the earlier ones."""
        return vectors_of(self.codes, self.chosen(lambda _, log_p: log_p.argmax(-1)))

    def select(self, rows: Tensor) -> "SlotDistribution":
        """Return the distributions of some rows."""
        if self.logits.ndim == 2:
            return self
        return SlotDistribution(self.codes, self.logits[rows], self.tables)

    def second_moment(self) -> Tensor | None:
        """E[z²], where slots are independent."""
        if self.tables is not None:
            return None
        mass = self.logits.softmax(-1)
        return torch.einsum("...mc,mcw->...mw", mass, self.codes.square()).flatten(-2)


def _invert(log_mass: Tensor, uniform: Tensor) -> Tensor:
    """Return codes (K, B) at quantiles, by log-masses (C,), (B, C) or (K, B, C)."""
    edges = log_mass.exp().cumsum(-1)
    last = edges.shape[-1] - 1
    if edges.ndim == 3:
        chosen = torch.searchsorted(edges, uniform[..., None].contiguous()).squeeze(-1)
    elif edges.ndim == 2:
        edges = edges.expand(uniform.shape[1], -1).contiguous()
        chosen = torch.searchsorted(edges, uniform.T.contiguous()).T
    else:
        chosen = torch.searchsorted(edges, uniform.contiguous())
    # Rounding can leave the last edge below one.
    return chosen.clamp(max=last)


class CombinationDistribution(LatentDistribution):
    """A few combinations of codes for each row, with a probability each.

    Parameters
    ----------
    codes : Tensor of shape (M, C, L / M)
        Vectors of the codes of each slot.
    numbers : int Tensor of shape (B, A, M)
        Combinations; those of a row that are equal, or whose hashes are, count once.
    log_weight : Tensor of shape (B, A)
        Log-weights, up to a constant.
    """

    noise_dim = 1

    def __init__(self, codes: Tensor, numbers: Tensor, log_weight: Tensor) -> None:
        key, order = _hash(numbers).contiguous().sort(dim=1, stable=True)
        numbers = numbers.gather(1, order[..., None].expand_as(numbers))
        log_weight = log_weight.gather(1, order)
        again = F.pad(key[:, 1:] == key[:, :-1], (1, 0))
        log_mass = log_weight.masked_fill(again, -torch.inf).log_softmax(1)
        self.codes, self.numbers, self.key = codes, numbers, key
        self.log_mass = log_mass.to(codes.dtype)

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Choose combinations."""
        uniform = torch.special.ndtr(noise.squeeze(-1))
        index = _invert(self.log_mass, uniform).T
        numbers = self.numbers.gather(
            1, index[..., None].expand(-1, -1, self.numbers.shape[-1])
        )
        z = vectors_of(self.codes, numbers.transpose(0, 1))
        return z, self.log_mass.gather(1, index).T

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-mass of vectors of codes, −inf of all but the few."""
        numbers = numbers_of(self.codes, z).transpose(0, 1)
        index = torch.searchsorted(self.key, _hash(numbers).contiguous())
        index = index.clamp(max=self.key.shape[1] - 1)
        found = self.numbers.gather(1, index[..., None].expand_as(numbers))
        is_one = (found == numbers).all(-1)
        is_one &= (vectors_of(self.codes, numbers) == z.transpose(0, 1)).all(-1)
        return self.log_mass.gather(1, index).where(is_one, -torch.inf).T

    @property
    def mean(self) -> Tensor:
        """Mean of the combinations' vectors."""
        vectors = vectors_of(self.codes, self.numbers)
        return torch.einsum("ba,bal->bl", self.log_mass.exp(), vectors)

    def select(self, rows: Tensor) -> "CombinationDistribution":
        """Return the combinations of some rows."""
        return CombinationDistribution(
            self.codes, self.numbers[rows], self.log_mass[rows]
        )


def _hash(numbers: Tensor) -> Tensor:
    """Return a whole number for each combination (..., M), hardly ever one of two."""
    key = torch.zeros_like(numbers[..., 0])
    for number in numbers.unbind(-1):
        key = (key ^ (number + 1)) * HASH_FACTOR  # modulo 2⁶⁴
        key = key ^ (key >> 29)
    return key
