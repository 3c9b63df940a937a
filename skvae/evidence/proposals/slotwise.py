"""A proposal for codes: slot by slot, all codes of a slot are tried."""

import math

import torch
from torch import Tensor

from skvae.evidence.noise import RowNoise
from skvae.evidence.proposals._base import Proposal
from skvae.model import VAE
from skvae.model.cell_noise import CellNoise
from skvae.model.distributions import (
    CombinationDistribution,
    LatentDistribution,
    MixtureOfDistributions,
    SlotDistribution,
    numbers_of,
    vectors_of,
)
from skvae.model.spec import positive_int

__all__ = ["SlotwiseProposal"]

N_ENCODER, N_PRIOR = 24, 8  # combinations at which chains may begin
AT_ONCE = 64  # combinations of a row that are decoded at a time
# Of the proposal: the best combinations that were seen, the posteriors of slots at the
# ends of the chains, the encoder, the prior.
SHARES = (0.4, 0.2, 0.3, 0.1)
N_KEPT = 256  # best combinations
LEAST_MASS = 1e-3  # of each slot's posterior, spread over all codes


class SlotwiseProposal(Proposal):
    r"""The exact posterior of each slot's code, given those of the other slots.

    .. math:: p(c_m \mid x, c_{-m}) \propto p(x \mid c)\, p(c)

    Chains begin at the best of some draws from encoder and prior, and visit slot after
    slot: all codes of a slot are weighed, and one is drawn (Gibbs sampling). Half of
    the proposal are the best combinations of all that were weighed. Where they are most
    of the posterior, hardly anything is left to chance. The rest are the posteriors of
    the slots at the ends of the chains, the encoder, and the prior, so that every
    weight has a bound.

    It is for a `CodebookPrior` with more combinations than a sum would take.

    Parameters
    ----------
    n_sweeps : int, default=2
        How often a chain visits every slot; the last visits choose the best code.
    n_chains : int, default=2
        Number of chains.

    References
    ----------
    S. Geman and D. Geman, 1984. Stochastic relaxation, Gibbs distributions, and the
    Bayesian restoration of images.

    T. Hesterberg, 1995. Weighted average importance sampling and defensive mixture
    distributions.
    """

    alias = "slotwise"

    def __init__(self, n_sweeps: int = 2, n_chains: int = 2) -> None:
        self.n_sweeps = n_sweeps
        self.n_chains = n_chains

    @property
    def n_rows(self) -> tuple[int, int]:
        """Few, since a row takes thousands of evaluations."""
        return 32, 4

    def prepare(self, model: VAE, x: Tensor, noise: RowNoise) -> LatentDistribution:
        """Search for the combinations of each row, and return the mixture."""
        n_sweeps = positive_int(self.n_sweeps, "n_sweeps of SlotwiseProposal")
        n_chains = positive_int(self.n_chains, "n_chains of SlotwiseProposal")
        encoder, prior = model.encode(x), model.prior()
        if not (
            isinstance(encoder, SlotDistribution)
            and isinstance(prior, SlotDistribution)
        ):
            raise ValueError(
                "SlotwiseProposal is for a CodebookPrior with more combinations than "
                "a sum would take. Use proposal=None."
            )
        search = _Search(model, x, encoder, prior, noise)
        state = search.begin(n_chains)
        for sweep in range(n_sweeps):
            state, log_mass = search.sweep(state, sweep, last=sweep == n_sweeps - 1)
        best = CombinationDistribution(prior.codes, *search.best())
        ends = _mixed_with_uniform(log_mass)
        chains = [SlotDistribution(prior.codes, logits) for logits in ends.unbind(0)]
        kept, of_chains, of_encoder, of_prior = SHARES
        each = [of_chains / n_chains] * n_chains
        weight = x.new_tensor([kept, *each, of_encoder, of_prior])
        parts = (best, *chains, encoder, prior)
        return MixtureOfDistributions(weight.log(), parts)


class _Search:
    """Chains of combinations for the rows of one block.

    Parameters
    ----------
    model : VAE
        The density.
    x : Tensor of shape (B, columns)
        Rows, in model units.
    encoder, prior : SlotDistribution
        q(c | x) and p(c).
    noise : RowNoise
        The rows' noise.
    """

    def __init__(
        self,
        model: VAE,
        x: Tensor,
        encoder: SlotDistribution,
        prior: SlotDistribution,
        noise: RowNoise,
    ) -> None:
        self.model, self.x, self.encoder, self.prior = model, x, encoder, prior
        self.noise = noise
        self.codes = prior.codes
        self.numbers: list[Tensor] = []  # all that were weighed, (n, B, M) each
        self.log_joint: list[Tensor] = []

    def begin(self, n_chains: int) -> Tensor:
        """Return the best of some combinations (S, B, M) of each row."""
        n_slots = len(self.codes)
        drawn = [numbers_of(self.codes, self.encoder.mode)[None]]
        for number, (part, n_draws) in enumerate(
            ((self.encoder, N_ENCODER - 1), (self.prior, N_PRIOR))
        ):
            stream = self.noise.stream(1 + number)
            points = stream.points(n_slots, 0, n_draws, like=self.x)
            drawn.append(part.draw(points)[0])
        first = torch.cat(drawn)
        value = self._weigh(first)
        # Chains that began at one and the same combination would all find its mode.
        distinct = _first_of_its_kind(first)
        value = value.where(distinct, -torch.inf)
        order = value.argsort(dim=0, descending=True, stable=True)[:n_chains]
        order = order[torch.arange(n_chains, device=order.device) % len(order)]
        return first.gather(0, order[..., None].expand(-1, -1, n_slots))

    def sweep(self, state: Tensor, sweep: int, *, last: bool) -> tuple[Tensor, Tensor]:
        """Visit every slot of chains (S, B, M).

        Returns
        -------
        state : Tensor of shape (S, B, M)
            Where the chains are now: at the best code of every slot if it is the last
            sweep, at one drawn from its posterior else.
        log_mass : Tensor of shape (S, B, M, C)
            The posteriors of the slots.
        """
        n_slots, n_codes, _ = self.codes.shape
        n_chains, n_rows, _ = state.shape
        points = self.noise.stream(3).points(
            n_slots * n_chains, sweep, sweep + 1, like=self.x
        )
        uniform = torch.special.ndtr(points).view(n_rows, n_slots, n_chains)
        every = torch.arange(n_codes, device=state.device)
        log_mass = []
        for m in range(n_slots):
            tried = state.expand(n_codes, -1, -1, -1).clone()
            tried[..., m] = every[:, None, None]
            value = self._weigh(tried.flatten(0, 1)).view(n_codes, n_chains, n_rows)
            of_slot = value.log_softmax(0)
            log_mass.append(of_slot.permute(1, 2, 0))
            if last:
                chosen = value.argmax(0)
            else:
                edges = log_mass[-1].exp().cumsum(-1)
                where = uniform[:, m].T.to(edges)[..., None].contiguous()
                chosen = torch.searchsorted(edges.contiguous(), where).squeeze(-1)
                chosen = chosen.clamp(max=n_codes - 1)
            state = state.clone()
            state[..., m] = chosen
        return state, torch.stack(log_mass, 2).to(self.x)

    def best(self) -> tuple[Tensor, Tensor]:
        """Return the best combinations (B, A, M) seen, and their log p(x, c) (B, A)."""
        numbers, value = torch.cat(self.numbers), torch.cat(self.log_joint)
        # A chain is at the same combination when it visits the next slot.
        n_kept = min(len(value), 2 * N_KEPT)
        value, index = value.topk(n_kept, 0)
        kept = numbers.gather(0, index[..., None].expand(-1, -1, numbers.shape[-1]))
        return kept.transpose(0, 1), value.T

    def _weigh(self, numbers: Tensor) -> Tensor:
        """Return log p(x, c) of combinations (n, B, M), float64, and remember them."""
        value = torch.cat(
            [
                self.model.log_likelihood(
                    self.x, vectors_of(self.codes, part), self._cells()
                ).double()
                + self.prior.log_mass(part)
                for part in numbers.split(AT_ONCE)
            ]
        ).nan_to_num(nan=-torch.inf)
        self.numbers.append(numbers)
        self.log_joint.append(value)
        return value

    def _cells(self) -> CellNoise:
        return self.noise.stream(4).cells(len(self.numbers))


def _first_of_its_kind(numbers: Tensor) -> Tensor:
    """Return which combinations (n, B, M) of a row are equal to no earlier one."""
    same = (numbers[:, None] == numbers).all(-1)
    earlier = torch.ones(same.shape[:2], dtype=torch.bool, device=same.device).tril(-1)
    return ~(same & earlier[..., None]).any(1)


def _mixed_with_uniform(log_mass: Tensor) -> Tensor:
    """Return log-masses (..., C), each mixed with a small share of equal masses."""
    least = math.log(LEAST_MASS / log_mass.shape[-1])
    floor = torch.full_like(log_mass, least)
    return torch.logaddexp(log_mass.log_softmax(-1) + math.log1p(-LEAST_MASS), floor)
