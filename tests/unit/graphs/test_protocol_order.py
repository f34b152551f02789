from __future__ import annotations

import itertools

from bedplate.graphs.protocol_lines import Part
from bedplate.graphs.protocol_order import Order

CHILD = ("child:1",)


def part(mode: str, number: int, namespace: tuple[str, ...] = (), **more: object) -> Part:
    return Part(mode, namespace, number, **more)  # type: ignore[arg-type]


def arranged(order: Order, *parts: Part) -> list[tuple[str, int]]:
    came = itertools.chain.from_iterable(order.arranged(one) for one in parts)
    return [(one.mode, one.data) for one in came]


def test_a_checkpoint_comes_before_the_values_it_holds() -> None:
    order = Order(is_checkpointed=True)
    assert arranged(order, part("checkpoints", 0)) == [("checkpoints", 0)]
    assert arranged(order, part("values", 1)) == []
    assert arranged(order, part("checkpoints", 1)) == [("checkpoints", 1), ("values", 1)]


def test_where_nothing_is_saved_values_do_not_wait() -> None:
    order = Order(is_checkpointed=False)
    assert arranged(order, part("values", 1)) == [("values", 1)]


def test_values_that_tell_of_an_interrupt_do_not_wait() -> None:
    order = Order(is_checkpointed=True)
    assert arranged(order, part("values", 1, interrupts=["one"])) == [("values", 1)]


def test_values_wait_for_no_more_than_the_next_part_of_their_namespace() -> None:
    order = Order(is_checkpointed=True)
    arranged(order, part("values", 1))
    assert arranged(order, part("messages", 2, CHILD)) == [("messages", 2)]
    assert arranged(order, part("tasks", 3)) == [("values", 1), ("tasks", 3)]
    arranged(order, part("values", 4))
    assert arranged(order, part("values", 5)) == [("values", 4)]
    assert [one.data for one in order.rest()] == [5]
    assert [*order.rest()] == []


def test_a_subgraphs_first_values_wait_until_it_does_something() -> None:
    order = Order(is_checkpointed=True)
    early = [part("checkpoints", 0, CHILD), part("values", 1, CHILD), part("checkpoints", 1, CHILD)]
    assert arranged(order, *early) == []
    assert arranged(order, part("tasks", 2, CHILD)) == [
        ("checkpoints", 0),
        ("checkpoints", 1),
        ("values", 1),
        ("tasks", 2),
    ]


def test_what_waits_below_a_task_that_is_over_is_let_go() -> None:
    order = Order(is_checkpointed=True)
    deep = (*CHILD, "deep:2")
    arranged(order, part("values", 1, deep), part("values", 2, ("other:3",)), part("values", 3))
    assert [one.data for one in order.below(CHILD)] == [1]
    assert [one.data for one in order.below(())] == [2]
    assert [one.data for one in order.rest()] == [3]
