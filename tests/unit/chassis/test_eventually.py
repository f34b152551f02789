from __future__ import annotations

import asyncio

import pytest

from bedplate.testing.eventually import eventually


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def up(self) -> int:
        self.count += 1
        return self.count

    async def up_later(self) -> int:
        return self.up()


async def test_it_asks_until_the_fact_is_there_and_returns_it() -> None:
    assert await eventually(Counter().up, equals=3, within_s=2) == 3
    assert await eventually(Counter().up_later, satisfies=lambda n: n > 4, within_s=2) == 5
    assert await eventually(lambda: "truthy", within_s=2) == "truthy"


async def test_none_and_false_can_be_waited_for() -> None:
    assert await eventually(lambda: None, equals=None, within_s=1) is None
    assert await eventually(lambda: False, equals=False, within_s=1) is False


async def test_it_fails_with_the_last_answer() -> None:
    with pytest.raises(AssertionError, match=r"not equal to 'done' within 0.05 s.*last: 'running'"):
        await eventually(lambda: "running", equals="done", within_s=0.05)


async def test_an_exception_is_not_yet_and_told_when_it_stays() -> None:
    answers = iter([OSError("away"), "there"])

    def ask() -> str:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    assert await eventually(ask, equals="there", within_s=2) == "there"
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        await eventually(lambda: 1 // 0, within_s=0.05)


async def test_a_question_that_hangs_does_not_hang_the_test() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="TimeoutError"):
        await eventually(hang, within_s=0.05)
