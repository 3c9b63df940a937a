"""Named estimators as parameters of another one."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from sklearn.base import BaseEstimator
from sklearn.utils import Tags

from skvae.members.member import allow_what_members_allow, check_density
from skvae.typing import Density

__all__ = ["NamedMembersMixin"]

Self = TypeVar("Self", bound="NamedMembersMixin")


class NamedMembersMixin(BaseEstimator):
    """An estimator whose parameter `estimators` is a list of names and estimators.

    Members and their parameters can be read and set by name, and a member that is the
    string "drop" is left out, as in scikit-learn's `VotingClassifier`.
    """

    estimators: Sequence[tuple[str, Density | str]]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, those of the members included.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the members by name, and their parameters as
            ``name__parameter``.

        Returns
        -------
        params : dict
        """
        params = super().get_params(deep=deep)
        if deep:
            for name, member in self._given():
                params[name] = member
                if hasattr(member, "get_params"):
                    for key, value in member.get_params(deep=True).items():
                        params[f"{name}__{key}"] = value
        return params

    def set_params(self: Self, **params: Any) -> Self:
        """Set parameters, whole members by their names, or ``name__parameter``.

        Parameters
        ----------
        **params : dict
            New values. Members are replaced first: other parameters are those of the
            new members.

        Returns
        -------
        self : estimator
        """
        if "estimators" in params:
            self.estimators = params.pop("estimators")
        given = self._given()
        if any(name in params for name, _ in given):
            self.estimators = [(name, params.pop(name, m)) for name, m in given]
        super().set_params(**params)
        return self

    def _given(self) -> list[tuple[str, Density | str]]:
        """Return names and members; none if `estimators` is not a list of pairs."""
        try:
            return [(name, member) for name, member in self.estimators]
        except (TypeError, ValueError):
            return []

    def _kept(self) -> list[tuple[str, Density]]:
        """Return names and members, without those that are dropped."""
        return [
            (name, cast(Density, member))
            for name, member in self._given()
            if not (isinstance(member, str) and member == "drop")
        ]

    def _check_members(self) -> list[tuple[str, Density]]:
        """Return names and members that are not dropped; raise for bad ones."""
        given = self._given()
        if not given or not all(isinstance(name, str) for name, _ in given):
            raise ValueError(
                f"estimators must be a non-empty list of pairs of a name and an "
                f"estimator, got {self.estimators!r}."
            )
        names = [name for name, _ in given]
        if len(set(names)) < len(names):
            raise ValueError(f"Names of estimators must be unique, got {names!r}.")
        own = BaseEstimator.get_params(self, deep=False)
        for name in names:
            if name in own or "__" in name or not name:
                raise ValueError(
                    f"Names of estimators must not be empty, contain '__' or be "
                    f"parameters of {type(self).__name__}, got {name!r}."
                )
        kept = self._kept()
        if not kept:
            raise ValueError("All estimators are dropped; at least one is needed.")
        for name, member in kept:
            check_density(member, f"Member {name!r}")
        return kept

    def __sklearn_tags__(self) -> Tags:
        # Tags are asked for before `fit`, when a member may be no estimator at all.
        members = [m for _, m in self._kept() if hasattr(m, "__sklearn_tags__")]
        return allow_what_members_allow(super().__sklearn_tags__(), members)
