"""The errors of the platform: one tree, in which the class says what to do, and the message says it in words.

The root is the client's `loopline.errors.LooplineError`, shared by all. A port declares its errors below
one of the classes here, and its adapters raise those or derive from them; nothing lists the errors of an
adapter. `feedback.cli.errors` gives each class an exit status. A new error answers one question: who can
mend it?
"""

from __future__ import annotations

from loopline.errors import LooplineError

__all__ = ["Halt", "LooplineError", "Malformed", "Refused", "Unavailable"]


class Unavailable(LooplineError):
    """Something does not answer, or not yet. Trying again is right, and nobody has to do anything here."""


class Refused(LooplineError):
    """A person must act, and the message says how. Trying again before that gives the same answer."""


class Halt(Refused):
    """What a running worker stops for: it says why, changes nothing, and waits for a person.

    A person may have acted when the worker is started again, or asks again: a right may have been granted.
    """


class Malformed(LooplineError, ValueError):
    """What was given is not of the form it has to be: the caller corrects it."""
