"""Codes whose masses are found after the training, as published for VQ-VAEs."""

import torch
from numpy.typing import NDArray
from torch import Tensor

from skvae import CodebookPrior, VAEDensity
from skvae.model import VAE, BuildContext, LinearStart
from skvae.model.distributions import SlotDistribution, numbers_of
from skvae.model.priors.codebook import CodebookPriorModule, SlotPriorModule

__all__ = ["EqualMasses", "fit_masses"]

N_ITERATIONS = 100  # of expectation maximisation
# Of maximum likelihood by gradients: draws of each row's codes, steps, rows, rate.
N_DRAWS, N_STEPS, BATCH, RATE = 8, 500, 1024, 2e-2
LEAST_ROWS = 0.1  # that a combination is taken to have explained
ROWS_AT_ONCE = 512


class EqualMasses(CodebookPrior):
    """A codebook whose codes have equal masses during the training."""

    def build(self, context: BuildContext) -> CodebookPriorModule | SlotPriorModule:
        """Return the module, with masses that are not trained."""
        module = super().build(context)
        sizes = module.n_codes, module.n_slots, context.n_components
        if isinstance(module, CodebookPriorModule):
            return EqualTable(*sizes)
        return EqualSlots(*sizes)


class EqualTable(CodebookPriorModule):
    """One weight for all combinations."""

    def __init__(self, n_codes: int, n_slots: int, n_components: int) -> None:
        super().__init__(n_codes, n_slots, n_components)
        self.logit.requires_grad_(False)

    def _share_mass(self, slot: int, source: int, target: int) -> None:
        pass

    def initialise(self, start: LinearStart) -> None:
        """Move the vectors alone."""
        self._start_codes(start)


class EqualSlots(SlotPriorModule):
    """One weight for all codes of a slot."""

    def __init__(self, n_codes: int, n_slots: int, n_components: int) -> None:
        super().__init__(n_codes, n_slots, n_components)
        for parameter in (self.bias, *self.tables.parameters()):
            parameter.requires_grad_(False)

    def _share_mass(self, slot: int, source: int, target: int) -> None:
        super()._share_mass(slot, source, target)
        self.bias.zero_()

    def initialise(self, start: LinearStart) -> None:
        """Move the vectors alone."""
        self._start_codes(start)


def fit_masses(density: VAEDensity, rows: NDArray) -> None:
    """Find the masses of a fitted density's codes, all else as it is."""
    model = density.model_
    x = torch.from_numpy(density.columns_.to_model(rows)[0])
    if isinstance(model.prior, EqualTable):
        _by_expectation_maximisation(model, x)
    else:
        _by_gradients(model, x)


@torch.no_grad()
def _by_expectation_maximisation(model: VAE, x: Tensor) -> None:
    parts = []
    for block in x.split(ROWS_AT_ONCE):
        posterior, log_p = model.encode(block), model.exact_log_prob(block)
        parts.append(posterior.log_weight + log_p[:, None])
    prior = model.prior()
    log_likelihood = torch.cat(parts) - prior.log_weight
    closed_form, log_mass = model.closed_form(x), prior.log_weight
    for _ in range(N_ITERATIONS):
        log_joint = log_likelihood + log_mass
        log_p = log_joint.logsumexp(1)
        share = closed_form.latent_share(log_p)
        count = ((log_joint - log_p[:, None]).exp() * share[:, None]).sum(0)
        log_mass = (count + LEAST_ROWS).log().log_softmax(0)
    model.prior.logit.copy_(log_mass)


def _by_gradients(model: VAE, x: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        encoder = model.encode(x)
        noise = torch.empty(N_DRAWS, len(x), encoder.noise_dim, dtype=x.dtype)
        z, _ = encoder.rsample(noise.normal_(generator=generator))
        numbers = numbers_of(model.prior.codes, z).flatten(0, 1)
    parameters = [model.prior.bias, *model.prior.tables.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.Adam(parameters, RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, N_STEPS)
    for _ in range(N_STEPS):
        chosen = torch.randint(len(numbers), (BATCH,), generator=generator)
        prior = SlotDistribution(
            model.prior.codes.detach(), model.prior.bias, model.prior.tables()
        )
        loss = -prior.log_mass(numbers[None, chosen]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
