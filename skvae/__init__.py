"""Densities of tables by variational autoencoders, at home in scikit-learn."""

from skvae.classification import DensityClassifier
from skvae.committee import OutlierCommittee
from skvae.comparison import DensityComparison, compare_densities
from skvae.conditional import ConditionalVAEDensity
from skvae.density import VAEDensity
from skvae.diagnostics import Diagnosis
from skvae.display import (
    CalibrationDisplay,
    ComparisonDisplay,
    DensityDisplay,
    DependenceDisplay,
    EvidenceDisplay,
    ExplanationDisplay,
    LatentDisplay,
    ScoreDisplay,
    TrainingDisplay,
)
from skvae.distillation import DistilledDensity
from skvae.drift import DriftAlarm
from skvae.evidence import (
    Bounds,
    DefensiveProposal,
    EncoderProposal,
    Evidence,
    PriorProposal,
    Proposal,
    QuadratureProposal,
    RefinedProposal,
)
from skvae.imputation import DensityImputer
from skvae.model.backgrounds import (
    BackgroundSpec,
    IndependentBackground,
    MixedBackground,
    StudentTBackground,
)
from skvae.model.companions import (
    CompanionSpec,
    GaussianMixtureCompanion,
    TreeCompanion,
)
from skvae.model.decoders import AutoregressiveDecoder, DecoderSpec, MLPDecoder
from skvae.model.likelihoods import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    GaussianLikelihood,
    LikelihoodSpec,
    LogisticMixtureLikelihood,
    MixedLikelihood,
    MixtureLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    StudentTLikelihood,
)
from skvae.model.posteriors import (
    DiagonalPosterior,
    FlowPosterior,
    FullPosterior,
    ImplicitPosterior,
    LadderPosterior,
    PosteriorSpec,
)
from skvae.model.priors import (
    CodebookPrior,
    FlowPrior,
    LadderPrior,
    MixturePrior,
    NormalPrior,
    PriorSpec,
    VampPrior,
)
from skvae.outliers import DensityOutlierDetector
from skvae.persistence import load, save
from skvae.stacking import StackedDensity
from skvae.tables.batches import Batches
from skvae.training.objectives import (
    ELBO,
    IWAE,
    DReG,
    InfoObjective,
    ObjectiveSpec,
    StickingTheLanding,
)

__version__ = "0.1.0"

__all__ = [
    "ELBO",
    "IWAE",
    "AutoregressiveDecoder",
    "BackgroundSpec",
    "Batches",
    "BernoulliLikelihood",
    "Bounds",
    "CalibrationDisplay",
    "CategoricalLikelihood",
    "CodebookPrior",
    "CompanionSpec",
    "ComparisonDisplay",
    "ConditionalVAEDensity",
    "DReG",
    "DecoderSpec",
    "DefensiveProposal",
    "DensityClassifier",
    "DensityComparison",
    "DensityDisplay",
    "DensityImputer",
    "DensityOutlierDetector",
    "DependenceDisplay",
    "Diagnosis",
    "DiagonalPosterior",
    "DistilledDensity",
    "DriftAlarm",
    "EncoderProposal",
    "Evidence",
    "EvidenceDisplay",
    "ExplanationDisplay",
    "FlowPosterior",
    "FlowPrior",
    "FullPosterior",
    "GaussianLikelihood",
    "GaussianMixtureCompanion",
    "ImplicitPosterior",
    "IndependentBackground",
    "InfoObjective",
    "LadderPosterior",
    "LadderPrior",
    "LatentDisplay",
    "LikelihoodSpec",
    "LogisticMixtureLikelihood",
    "MLPDecoder",
    "MixedBackground",
    "MixedLikelihood",
    "MixtureLikelihood",
    "MixturePrior",
    "NegativeBinomialLikelihood",
    "NormalPrior",
    "ObjectiveSpec",
    "OutlierCommittee",
    "PoissonLikelihood",
    "PosteriorSpec",
    "PriorProposal",
    "PriorSpec",
    "Proposal",
    "QuadratureProposal",
    "RefinedProposal",
    "ScoreDisplay",
    "StackedDensity",
    "StickingTheLanding",
    "StudentTBackground",
    "StudentTLikelihood",
    "TrainingDisplay",
    "TreeCompanion",
    "VAEDensity",
    "VampPrior",
    "compare_densities",
    "load",
    "save",
]
