"""Proposals: where the latents of the importance sampler come from."""

from skvae.evidence.proposals._base import Proposal
from skvae.evidence.proposals.defensive import DefensiveProposal
from skvae.evidence.proposals.encoder import EncoderProposal
from skvae.evidence.proposals.prior import PriorProposal
from skvae.evidence.proposals.quadrature import QuadratureProposal
from skvae.evidence.proposals.refined import RefinedProposal, search_from_prior
from skvae.evidence.proposals.slotwise import SlotwiseProposal

__all__ = [
    "DefensiveProposal",
    "EncoderProposal",
    "PriorProposal",
    "Proposal",
    "QuadratureProposal",
    "RefinedProposal",
    "SlotwiseProposal",
    "search_from_prior",
]
