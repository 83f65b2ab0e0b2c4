"""Problems: RFC 9457 objects with the contract's codes."""

from __future__ import annotations

import msgspec
import pytest

from schemas.problems import COLLECTOR_CODES, TITLES, WORKER_CODES, problem


def test_the_codes_are_the_contract_s() -> None:
    """Clients compare them."""
    assert set(COLLECTOR_CODES) == {
        "invalid_json",
        "not_utf8",
        "invalid_value",
        "unknown_type",
        "unknown_field",
        "duplicate_key",
        "too_large",
        "too_deep",
    }
    assert set(WORKER_CODES) == {
        "model_mismatch",
        "label_invalid",
        "id_conflict",
        "prediction_conflict",
        "declaration_conflict",
        "cannot_fold",
    }
    assert {*COLLECTOR_CODES, *WORKER_CODES} <= TITLES.keys()


@pytest.mark.parametrize("code", TITLES)
def test_a_problem_has_the_members_of_rfc_9457(code: str) -> None:
    """`type` names the kind of problem, `title` is the same each time, `detail` is about this one."""
    assert msgspec.to_builtins(problem(code, "why")) == {
        "type": f"urn:loopline:problem:{code}",
        "title": TITLES[code],
        "detail": "why",
        "code": code,
    }
