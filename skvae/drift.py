"""DriftAlarm: whether later rows still come from the source of the reference rows."""

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skvae.arguments.checks import check_number
from skvae.arguments.seeds import generator_from
from skvae.detection.martingales import ConformalRanks, SimpleJumper
from skvae.outliers import DensityOutlierDetector
from skvae.persistence import ArrayState
from skvae.typing import Array, RandomState

__all__ = ["DriftAlarm"]


class DriftAlarm(ArrayState, BaseEstimator):
    r"""Alarm for a stream of rows that no longer look like those of the past.

    A single strange row is an outlier; if rows are strange too often, or too seldom,
    the source has changed, and the detector should be fitted again, or at least its
    threshold (`DensityOutlierDetector.fit_threshold`). The alarm bets against the rows'
    p-values being uniform. While the source stays the same, its capital grows by chance
    alone, and the probability that it is *ever* large enough for an alarm, however long
    the stream is, is at most `false_alarm_rate`.

    Parameters
    ----------
    detector : DensityOutlierDetector
        Fitted, with reference rows that the density has not seen: by
        ``reference="held_out"``, or by `fit_threshold`. It is not changed.
    false_alarm_rate : float, default=0.01
        Largest probability of an alarm without a change, in (0, 1).
    jump : float, default=0.01
        How much capital changes sides before each row, in (0, 1). A larger share finds
        late changes sooner, and slight ones later.
    random_state : int, RandomState instance or None, default=None
        Seed by which ties of scores are broken.

    Attributes
    ----------
    log_capital_ : float
        Logarithm of the capital after the last row; 0 at first.
    n_rows_seen_ : int
        Number of rows so far.
    alarm_at_ : int or None
        Number of the row, from 0 on, at which the capital first reached
        1 / `false_alarm_rate`; None as long as there is no alarm.

    See Also
    --------
    DensityOutlierDetector.p_values : How unusual single rows are.

    Notes
    -----
    Each row's score is ranked among those of the reference rows *and of all rows of the
    stream before it* (conformal prediction, in the on-line mode): then the p-values of
    rows from one source are independent and uniform, exactly, whatever the density is.
    They are not the `p_values` of the detector, which share one set of reference rows.
    A change that does not move the scores is not seen.

    References
    ----------
    V. Vovk, I. Petej, I. Nouretdinov, E. Ahlberg, L. Carlsson and A. Gammerman, 2021.
    Retrain or not retrain: conformal test martingales for change-point detection.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from skvae import DensityOutlierDetector, DriftAlarm
    >>> rng = np.random.default_rng(0)
    >>> detector = DensityOutlierDetector(
    ...     GaussianMixture(), reference="held_out", random_state=0
    ... ).fit(rng.normal(size=(1000, 2)))
    >>> alarm = DriftAlarm(detector, random_state=0)
    >>> alarm.update(rng.normal(size=(300, 2))).alarm_at_ is None
    True
    >>> alarm.update(rng.normal(size=(300, 2)) + 1).alarm_at_ > 300
    True
    """

    log_capital_: float
    n_rows_seen_: int
    alarm_at_: int | None

    def __init__(
        self,
        detector: DensityOutlierDetector,
        *,
        false_alarm_rate: float = 0.01,
        jump: float = 0.01,
        random_state: RandomState = None,
    ) -> None:
        self.detector = detector
        self.false_alarm_rate = false_alarm_rate
        self.jump = jump
        self.random_state = random_state

    def update(self, X: ArrayLike) -> "DriftAlarm":
        """Take the next rows of the stream.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, in the order in which they came. How a stream is divided into calls
            does not matter.

        Returns
        -------
        self : DriftAlarm
            The alarm.

        Raises
        ------
        TypeError
            If the detector is no `DensityOutlierDetector`.
        ValueError
            If its reference rows are those that the density was fitted to or drawn
            from it: the rate of false alarms would not hold.
        """
        self.watch(X)
        return self

    def watch(self, X: ArrayLike) -> Array:
        """Take the next rows of the stream, and return the capital after each.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            As for `update`, which says what is raised.

        Returns
        -------
        log_capital : ndarray of shape (n_samples,)
            Logarithm of the capital. There is an alarm from −log `false_alarm_rate` on.
        """
        if not hasattr(self, "n_rows_seen_"):
            self._begin()
        scores = self.detector.score_samples(X)
        log_capital = self._jumper.bet(self._ranks.p_values(scores))
        above = np.flatnonzero(log_capital >= -np.log(self.false_alarm_rate))
        if self.alarm_at_ is None and len(above):
            self.alarm_at_ = self.n_rows_seen_ + int(above[0])
        self.n_rows_seen_ += len(scores)
        self.log_capital_ = float(log_capital[-1])
        return log_capital

    def _begin(self) -> None:
        """Check the parameters, and start with the reference rows."""
        detector = self.detector
        if not isinstance(detector, DensityOutlierDetector):
            raise TypeError(
                f"detector must be a DensityOutlierDetector, got {detector!r}."
            )
        check_is_fitted(detector)
        for name in ("false_alarm_rate", "jump"):
            value = getattr(self, name)
            check_number(value, name, low=0, high=1, inclusive=False)
            if isinstance(value, Real) and value == 1:
                raise ValueError(f"{name} must be below 1, got {value}.")
        if not detector.reference_is_unseen_:
            raise ValueError(
                f"detector must have reference rows that its density has not seen, by "
                f"reference='held_out' or fit_threshold; those of reference="
                f"{detector.reference!r} would give false alarms."
            )
        random = np.random.default_rng(
            generator_from(self.random_state).randint(2**31 - 1)
        )
        self._ranks = ConformalRanks(detector.reference_scores_.tolist(), random)
        self._jumper = SimpleJumper(self.jump)
        self.log_capital_, self.n_rows_seen_ = 0.0, 0
        self.alarm_at_ = None
