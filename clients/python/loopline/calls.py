"""The calls a product makes: one method per event type, the target first, everything by keyword.

Each builds its event and hands it to :meth:`Calls._record`; where it goes from there is the client's part.
Arguments left out (None) are not written. Ids and times are minted unless the product brings its own; what it
brings is never replaced, so an empty id, or a NaN as one, refuses the call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import UNSET

from loopline import events
from loopline.ids import uuid7


class Calls(ABC):
    """Every method returns at once what the next call names: mostly the event's id."""

    @abstractmethod
    def _record(
        self,
        kind: str,
        id: str | None,
        time: str | datetime | None,
        data: events.Data,
        named: str | None = None,
    ) -> str:
        """Take one event on its way; return its id, or the field of its data that the next call names."""

    def prediction(
        self,
        model: str,
        model_version: str,
        output: Any,
        *,
        prediction_id: str | None = None,
        confidence: float | None = None,
        alternatives: Sequence[Mapping[str, Any]] | None = None,
        ranked: Sequence[str] | None = None,
        input: Any = None,
        input_uri: str | None = None,
        input_ref: str | None = None,
        features: Mapping[str, Any] | None = None,
        segment: str | None = None,
        person: str | None = None,
        subject: str | None = None,
        join_key: str | None = None,
        action: str | None = None,
        asked: bool | None = None,
        ask_probability: float | None = None,
        audit: bool | None = None,
        audit_probability: float | None = None,
        config_version: int | str | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """A model answered ``output`` (None where a person answers first).

        Returns the prediction's id, the target of its feedback; without ``prediction_id`` the event's ``id``.
        Probabilities are 0 to 1, ``alternatives`` ``{"output": ..., "confidence": ...}``; ``input`` has at
        most 32 KiB as JSON.
        """
        id = uuid7() if id is None else id
        data = events.Prediction(
            prediction_id=id if prediction_id is None else prediction_id,
            model=model,
            model_version=model_version,
            output=output,
            confidence=confidence,
            alternatives=alternatives,
            ranked=ranked,
            input=input,
            input_uri=input_uri,
            input_ref=input_ref,
            features=features,
            segment=segment,
            person=person,
            subject=subject,
            join_key=join_key,
            action=action,
            asked=asked,
            ask_probability=ask_probability,
            audit=audit,
            audit_probability=audit_probability,
            config_version=config_version,
            env=env,
        )
        return self._record("loopline.prediction.made.v1", id, time, data, "prediction_id")

    def shown(
        self,
        prediction_id: str,
        shown: Any,
        *,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """What was really displayed: an output, or ids in the order shown. Returns the event's id."""
        data = events.Shown(prediction_id=prediction_id, shown=shown, env=env)
        return self._record("loopline.prediction.shown.v1", id, time, data)

    def prompt_shown(
        self,
        prediction_id: str | None = None,
        prompt_id: str | None = None,
        *,
        model: str | None = None,
        join_key: str | None = None,
        kind: str | None = None,
        person: str | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """A person was asked for feedback.

        Returns the prompt's id, which ``prompt_dismissed`` and the answer name; without ``prompt_id`` it is
        the event's ``id``.
        """
        id = uuid7() if id is None else id
        data = events.Prompt(
            prediction_id=prediction_id,
            prompt_id=id if prompt_id is None else prompt_id,
            model=model,
            join_key=join_key,
            kind=kind,
            person=person,
            env=env,
        )
        return self._record("loopline.prompt.shown.v1", id, time, data, "prompt_id")

    def prompt_dismissed(
        self,
        prediction_id: str | None = None,
        prompt_id: str | None = None,
        *,
        model: str | None = None,
        join_key: str | None = None,
        kind: str | None = None,
        person: str | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """The person waved the question away. Returns the event's id."""
        data = events.Prompt(
            prediction_id=prediction_id,
            prompt_id=prompt_id,
            model=model,
            join_key=join_key,
            kind=kind,
            person=person,
            env=env,
        )
        return self._record("loopline.prompt.dismissed.v1", id, time, data)

    def action(
        self,
        prediction_id: str | None = None,
        value: str | None = None,
        *,
        duration_ms: float | None = None,
        amount: float | None = None,
        part: str | None = None,
        model: str | None = None,
        join_key: str | None = None,
        person: str | None = None,
        prompt_id: str | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """What the person did with the answer: ``clicked``, ``copied``, ``sent``, or a word of your own.

        ``amount`` is a number such as the rank clicked or the edit distance, ``part`` what was copied.
        Returns the event's id, which a ``retraction`` names.
        """
        data = events.Action(
            prediction_id=prediction_id,
            value=value,
            duration_ms=duration_ms,
            amount=amount,
            part=part,
            model=model,
            join_key=join_key,
            person=person,
            prompt_id=prompt_id,
            env=env,
        )
        return self._record("loopline.feedback.action.v1", id, time, data)

    def thumb(
        self,
        prediction_id: str | None = None,
        value: str | None = None,
        *,
        score: float | None = None,
        model: str | None = None,
        join_key: str | None = None,
        person: str | None = None,
        prompt_id: str | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """A thumb, ``up`` or ``down``; ``score`` is 0 to 1 where the product asks for stars or a slider.

        Returns the event's id, which a ``reason`` that explains it names, or a ``retraction``.
        """
        data = events.Thumb(
            prediction_id=prediction_id,
            value=value,
            score=score,
            model=model,
            join_key=join_key,
            person=person,
            prompt_id=prompt_id,
            env=env,
        )
        return self._record("loopline.feedback.thumb.v1", id, time, data)

    def reason(
        self,
        prediction_id: str | None = None,
        reason: str | None = None,
        *,
        explains: str | None = None,
        model: str | None = None,
        join_key: str | None = None,
        person: str | None = None,
        prompt_id: str | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """Why it was wrong: ``incorrect``, ``offensive``, or a word of your own.

        ``explains`` is the id of the thumb it belongs to. Returns the event's id.
        """
        data = events.Reason(
            prediction_id=prediction_id,
            reason=reason,
            explains=explains,
            model=model,
            join_key=join_key,
            person=person,
            prompt_id=prompt_id,
            env=env,
        )
        return self._record("loopline.feedback.reason.v1", id, time, data)

    def comment(
        self,
        prediction_id: str | None = None,
        text: str | None = None,
        *,
        subject: str | None = None,
        explains: str | None = None,
        model: str | None = None,
        join_key: str | None = None,
        person: str | None = None,
        prompt_id: str | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """What the person wrote, about a prediction or (a support ticket) about a ``subject``.

        Returns the event's id, which a ``retraction`` names.
        """
        data = events.Comment(
            prediction_id=prediction_id,
            text=text,
            subject=subject,
            explains=explains,
            model=model,
            join_key=join_key,
            person=person,
            prompt_id=prompt_id,
            env=env,
        )
        return self._record("loopline.feedback.comment.v1", id, time, data)

    def correction(
        self,
        prediction_id: str | None = None,
        label: Any = UNSET,
        *,
        gold: bool | None = None,
        explains: str | None = None,
        model: str | None = None,
        join_key: str | None = None,
        person: str | None = None,
        prompt_id: str | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """The right label, from a person; ``gold`` outranks any number of others.

        Returns the event's id, which a ``retraction`` names.
        """
        data = events.Correction(
            prediction_id=prediction_id,
            label=label,
            gold=gold,
            explains=explains,
            model=model,
            join_key=join_key,
            person=person,
            prompt_id=prompt_id,
            env=env,
        )
        return self._record("loopline.feedback.correction.v1", id, time, data)

    def confirmation(
        self,
        prediction_id: str | None = None,
        value: str | None = None,
        *,
        model: str | None = None,
        join_key: str | None = None,
        person: str | None = None,
        prompt_id: str | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """``yes`` or ``no`` to an answer that was proposed, not asserted.

        Returns the event's id, which a ``retraction`` names.
        """
        data = events.Confirmation(
            prediction_id=prediction_id,
            value=value,
            model=model,
            join_key=join_key,
            person=person,
            prompt_id=prompt_id,
            env=env,
        )
        return self._record("loopline.feedback.confirmation.v1", id, time, data)

    def outcome(
        self,
        subject: str,
        outcome: str,
        *,
        model: str | None = None,
        value: float | None = None,
        person: str | None = None,
        prompt_id: str | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """What became of a subject: ``churned``, ``renewed``, or a word of your own.

        Returns the event's id, which a ``retraction`` names.
        """
        data = events.Outcome(
            subject=subject,
            outcome=outcome,
            model=model,
            value=value,
            person=person,
            prompt_id=prompt_id,
            env=env,
        )
        return self._record("loopline.feedback.outcome.v1", id, time, data)

    def retraction(
        self,
        prediction_id: str | None = None,
        explains: str | None = None,
        *,
        model: str | None = None,
        join_key: str | None = None,
        subject: str | None = None,
        person: str | None = None,
        prompt_id: str | None = None,
        env: str | None = None,
        time: str | datetime | None = None,
        id: str | None = None,
    ) -> str:
        """Take back the feedback whose id is ``explains``; the target is named as it was there.

        Returns the event's id.
        """
        data = events.Retraction(
            prediction_id=prediction_id,
            explains=explains,
            model=model,
            join_key=join_key,
            subject=subject,
            person=person,
            prompt_id=prompt_id,
            env=env,
        )
        return self._record("loopline.feedback.retraction.v1", id, time, data)
