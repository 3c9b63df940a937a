"""Pictures of densities and of what they say, as scikit-learn's displays."""

from skvae.display.calibration import CalibrationDisplay
from skvae.display.comparison import ComparisonDisplay
from skvae.display.density import DensityDisplay
from skvae.display.dependence import DependenceDisplay
from skvae.display.evidence import EvidenceDisplay
from skvae.display.explanation import ExplanationDisplay
from skvae.display.latent import LatentDisplay
from skvae.display.scores import ScoreDisplay
from skvae.display.training import TrainingDisplay

__all__ = [
    "CalibrationDisplay",
    "ComparisonDisplay",
    "DensityDisplay",
    "DependenceDisplay",
    "EvidenceDisplay",
    "ExplanationDisplay",
    "LatentDisplay",
    "ScoreDisplay",
    "TrainingDisplay",
]
