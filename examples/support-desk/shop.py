"""The shop behind the support desk: the agent's own tools."""

from __future__ import annotations

import os

from langchain.tools import ToolRuntime, tool

ORDERS = {
    "1041": "2 mugs, 24.00, delivered 40 days ago",
    "1042": "1 teapot, 19.90, delivered 5 days ago",
    "1043": "1 gift card, 50.00, delivered today",
}


@tool
async def look_up_order(order_id: str) -> str:
    """What was ordered, for how much, and where it is."""
    found = ORDERS.get(order_id)
    return f"Order {order_id}: {found}." if found else f"There is no order {order_id}."


@tool
async def refund_order(order_id: str, amount: float, runtime: ToolRuntime) -> str:
    """Pay money back to the customer. A person approves it first."""
    if order_id not in ORDERS:
        return f"There is no order {order_id}."
    # A tool runs at least once: a worker may die after it has paid and before that is saved. The id
    # of its task stays the same over attempts, so the second attempt writes the same record again
    # instead of paying twice.
    assert runtime.execution_info is not None, "the graph runs a tool as a task of its own"
    number = f"R-{runtime.execution_info.task_id[:8]}"
    currency = os.environ.get("REFUND_CURRENCY", "EUR")
    if runtime.store is not None:
        refund = {"order_id": order_id, "amount": amount, "currency": currency}
        await runtime.store.aput(("support-desk", "refunds"), number, refund, index=False)
    return f"Refunded {amount:.2f} {currency} for order {order_id} ({number})."
