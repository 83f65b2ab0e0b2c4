"""What a parked event waits for: a text that can be read back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas import waits
from tests.schemas.valid import NAME


@given(NAME, NAME)
def test_a_declaration_that_is_waited_for_is_read_back(model: str, version: str) -> None:
    """Whatever the model and its version are called."""
    assert waits.declaration(waits.for_declaration(model, version)) == (model, version)


@given(st.text(), NAME)
def test_what_else_is_waited_for_is_no_declaration(text: str, model: str) -> None:
    """Ids and keys may hold any text, a colon or an at sign included."""
    for other in (waits.for_prediction(text), waits.for_event(text), waits.for_join_key(f"{model}/{text}")):
        assert waits.declaration(other) is None
    assert waits.declaration(waits.DECLARATION) is None
