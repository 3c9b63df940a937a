"""The variational autoencoder: its components and the draws they make."""

import math

import torch
from torch import Tensor, nn

from skvae.model.backgrounds import BackgroundModule, BackgroundSpec
from skvae.model.context import BuildContext, LinearStart
from skvae.model.decoders import DecoderModule, DecoderSpec
from skvae.model.distributions import LatentDistribution
from skvae.model.draw import LatentDraw
from skvae.model.likelihoods import LikelihoodModule, LikelihoodSpec
from skvae.model.posteriors import PosteriorModule, PosteriorSpec
from skvae.model.priors import PriorModule, PriorSpec

__all__ = ["VAE"]


class VAE(nn.Module):
    r"""A latent-variable density with an encoder.

    .. math:: p(x) = \int p(x \mid z)\, p(z)\, dz, \qquad q(z \mid x) \approx
              p(z \mid x)

    With a background, this is the latent part of a mixture: p(x) is 1 − ε times the
    integral plus ε p₀(x). Draws and their weights are always the latent part's.

    Tensors in, tensors out: rows are in model units (standardised columns), noise
    comes from outside, and nothing here knows how it is trained or scored.

    Parameters
    ----------
    prior : PriorModule
        p(z).
    posterior : PosteriorModule
        q(z | x).
    decoder : DecoderModule
        Latents to raw likelihood parameters.
    likelihood : LikelihoodModule
        p(x | z), given the raw parameters.
    background : BackgroundModule or None, default=None
        ε and p₀.
    """

    def __init__(
        self,
        prior: PriorModule,
        posterior: PosteriorModule,
        decoder: DecoderModule,
        likelihood: LikelihoodModule,
        background: BackgroundModule | None = None,
    ) -> None:
        super().__init__()
        self.prior = prior
        self.posterior = posterior
        self.decoder = decoder
        self.likelihood = likelihood
        self.background = background

    @classmethod
    def build(
        cls,
        context: BuildContext,
        prior: PriorSpec,
        posterior: PosteriorSpec,
        decoder: DecoderSpec,
        likelihood: LikelihoodSpec,
        background: BackgroundSpec | None = None,
    ) -> "VAE":
        """Build the modules of these specs for a table of these sizes."""
        likelihood_module = likelihood.build(context)
        return cls(
            prior.build(context),
            posterior.build(context),
            decoder.build(
                context, likelihood_module.n_parameters, likelihood_module.n_linear
            ),
            likelihood_module,
            None if background is None else background.build(context),
        )

    def initialise(self, start: LinearStart) -> None:
        """Move the components of the latent part to the linear start."""
        self.prior.initialise(start)
        self.posterior.initialise(start)
        self.decoder.initialise(*self.likelihood.initialise(start))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x | z) for rows (B, D) and latents (K, B, L), shape (K, B)."""
        return self.likelihood.log_prob(x, self.decoder(z, x))

    def log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x, z), shape (K, B)."""
        return self.log_likelihood(x, z) + self.prior().log_prob(z)

    def draw(self, x: Tensor, noise: Tensor) -> LatentDraw:
        """Draw latents from the encoder and weigh them.

        Parameters
        ----------
        x : Tensor of shape (B, D)
            Rows.
        noise : Tensor of shape (K, B, noise_dim)
            Standard-normal noise; `noise_dim` is the encoder distribution's.
        """
        return self.draw_from(self.posterior(x), x, noise)

    def draw_from(
        self, proposal: LatentDistribution, x: Tensor, noise: Tensor
    ) -> LatentDraw:
        """Draw latents from any proposal and weigh them."""
        prior = self.prior()
        z, log_q_z = proposal.rsample(noise)
        return LatentDraw(
            z=z,
            log_p_x=self.log_likelihood(x, z),
            log_p_z=prior.log_prob(z),
            log_q_z=log_q_z,
            kl=prior.kl_from(proposal),
        )

    def background_log_share(self, x: Tensor) -> Tensor:
        """Return log ε p₀(x), shape (B,); −inf without a background."""
        if self.background is None:
            return x.new_full((len(x),), -torch.inf)
        return self.background.log_share(x)

    def with_background(self, log_p: Tensor, x: Tensor) -> Tensor:
        """Return log p(x), shape (B,), given log p of the latent part or a bound."""
        if self.background is None:
            return log_p
        return self.background.mix(log_p, self.background.log_share(x))

    def latent_share(self, log_p: Tensor, log_background: Tensor) -> Tensor:
        """Return the probability that a row comes from the latent part, given it.

        Parameters
        ----------
        log_p, log_background : Tensor of shape (B,)
            Log p(x) of the latent part, and `background_log_share`.
        """
        if self.background is None:
            return torch.ones_like(log_p)
        log_latent = log_p + math.log1p(-self.background.weight)
        return (log_latent - log_background).sigmoid()

    def embed(self, x: Tensor) -> Tensor:
        """Return the encoder's mean, (B, D) to (B, L)."""
        return self.posterior(x).mean

    def decode(self, z: Tensor) -> Tensor:
        """Return the decoder's mean, (B, L) to (B, D)."""
        return self.likelihood.mean(self.decoder(z))

    def generate(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw rows from p(x), shape (n_samples, D)."""
        prior = self.prior()
        like = prior.mean
        noise = torch.empty(
            1, n_samples, prior.noise_dim, dtype=like.dtype, device=like.device
        ).normal_(generator=generator)
        z, _ = prior.rsample(noise)
        rows = self.likelihood.sample(self.decoder(z), generator).squeeze(0)
        if self.background is None:
            return rows
        uniform = torch.empty(n_samples, 1, device=rows.device)
        uniform.uniform_(generator=generator)
        others = self.background.sample(n_samples, generator)
        return torch.where(uniform < self.background.weight, others, rows)
