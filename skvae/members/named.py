"""Named estimators as parameters of another one."""

from collections.abc import Sequence
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils import Tags, get_tags

from skvae.members.member import check_density

__all__ = ["NamedMembersMixin"]


class NamedMembersMixin(BaseEstimator):
    """What a parameter `estimators`, a list of names and estimators, brings along."""

    estimators: Sequence[tuple[str, Any]]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, the members and their parameters.

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

    def set_params(self, **params: Any) -> Any:
        """Set parameters, whole members by their names, or ``name__parameter``.

        Parameters
        ----------
        **params : dict
            New values. Members are replaced before parameters of theirs are set.

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

    def _given(self) -> list[tuple[str, Any]]:
        """Return names and members, or none if `estimators` is no such list."""
        try:
            return [(name, member) for name, member in self.estimators]
        except (TypeError, ValueError):
            return []

    def _kept(self) -> list[tuple[str, Any]]:
        """Return names and members, without those that are dropped."""
        return [
            (name, member)
            for name, member in self._given()
            if not (isinstance(member, str) and member == "drop")
        ]

    def _check_members(self) -> list[tuple[str, Any]]:
        """Return names and members, without those that are dropped; raise if bad."""
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
        tags = super().__sklearn_tags__()
        inner = [
            get_tags(member).input_tags
            for _, member in self._kept()
            if hasattr(member, "__sklearn_tags__")
        ]
        tags.input_tags.allow_nan = bool(inner) and all(t.allow_nan for t in inner)
        tags.input_tags.sparse = bool(inner) and all(t.sparse for t in inner)
        return tags
