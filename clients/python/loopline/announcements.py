"""The calls a training pipeline makes: a model version is declared, deployed, rolled back, evaluated.

The same habits as the product's calls in :mod:`loopline.calls`; apart from them because other people make
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from loopline import events
from loopline.calls import Calls


class Announcements(Calls):
    """Every method here returns the event's id at once."""

    def declare(
        self,
        model: str,
        model_version: str,
        output_shape: Mapping[str, Any],
        *,
        description: str | None = None,
        later_versions: bool | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """A model version and the shape of its output, which never changes for that version.

        The shape is ``{"labels": [...]}`` (with ``"open": True`` where people may find new ones),
        ``{"text": True}`` or ``{"json_schema": {...}}``. With ``later_versions=True`` it serves every version
        of the model that has no declaration of its own, so that a deploy does not make labels wait.
        """
        data = events.Declared(
            model=model,
            model_version=model_version,
            output_shape=output_shape,
            description=description,
            later_versions=later_versions,
            env=env,
        )
        return self._record("loopline.model.declared.v1", id, time, data)

    def deployed(
        self,
        model: str,
        model_version: str,
        *,
        datasets: Sequence[str] | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """A version began to serve; ``datasets`` says what it was trained on, as ``["name-matcher@3"]``."""
        data = events.Deployed(model=model, model_version=model_version, datasets=datasets, env=env)
        return self._record("loopline.model.deployed.v1", id, time, data)

    def rolled_back(
        self,
        model: str,
        model_version: str,
        *,
        why: str | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """An earlier version serves again; ``model_version`` is that one."""
        data = events.RolledBack(model=model, model_version=model_version, why=why, env=env)
        return self._record("loopline.model.rolled_back.v1", id, time, data)

    def evaluated(
        self,
        model: str,
        model_version: str,
        metrics: Sequence[Mapping[str, Any]],
        *,
        dataset: str | None = None,
        split: str | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """How a version did; a metric has ``name``, ``value`` and perhaps ``n``, ``low`` and ``high``."""
        data = events.Evaluated(
            model=model,
            model_version=model_version,
            metrics=metrics,
            dataset=dataset,
            split=split,
            env=env,
        )
        return self._record("loopline.evaluation.recorded.v1", id, time, data)
