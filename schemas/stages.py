"""The stages of a timeline: what can be true about a feedback event, one after the other.

The timeline of an event holds those that are true now, in this order. Who emits a stage names a member, so
there is none beside these; what the members mean to readers is in docs/explanation/how-it-works.md.
"""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """One thing that can be true about a feedback event."""

    RECEIVED = "received"
    WAITING = "waiting"
    JOINED = "joined"
    IN_EFFECT = "in_effect"
    IN_DATASET = "in_dataset"
    IN_MODEL = "in_model"
    DEPLOYED = "deployed"
    PERSON_TOLD = "person_told"
    RETRACTED = "retracted"
    DISCARDED = "discarded"
