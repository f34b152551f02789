"""Agents whose subgraphs and tools wait for a person (contract semantics.md 5)."""

from __future__ import annotations

from typing import Any

from bedplate.testing.talks import by_id, calls, script, told_by_tools

# -- subgraphs and tools


async def test_a_subgraph_shows_where_it_waits_and_is_answered_on_its_parent(
    talk: Any,
) -> None:
    it = talk("branches")
    await it.begin({"answers": {}})
    state: Any = await it.client.threads.get_state(it.thread_id, subgraphs=True)
    waiting = {task["name"]: task for task in state["tasks"] if task["interrupts"]}
    assert set(waiting) == {"east", "west"}
    for name, task in waiting.items():
        assert task["checkpoint"]["checkpoint_ns"].startswith(f"{name}:")
        assert task["state"]["next"] == ["inner"]
        assert by_id(task["state"]["interrupts"]) == by_id(task["interrupts"])
    asked = await it.pending()
    done = await it.answer({asked["east?"]: "E", asked["west?"]: "W"})
    assert done["answers"] == {"east": "E", "west": "W", "calm": True}


async def test_tools_that_ask_in_parallel_are_answered_one_by_one(talk: Any, journal: Any) -> None:
    it = talk("reviewed")
    it.config = {"configurable": {"journal": journal.path}}
    wanted = [("ask_user", {"question": "a?"}), ("ask_user", {"question": "b?"}), ("look", {})]
    await it.begin(script(calls(*wanted), {"text": "done"}))
    asked = await it.pending()
    assert set(asked) == {"a?", "b?"}
    await it.answer({asked["b?"]: "B"})
    assert set(await it.pending()) == {"a?"}
    done = await it.answer("A")
    results = [one["content"] for one in done["messages"] if one["type"] == "tool"]
    assert sorted(results) == ["seen", "the user said A", "the user said B"]
    assert done["messages"][-1]["content"] == "done"
    assert journal.firsts().count("looked") == 1, "a finished tool does not run again"


# -- review of tool calls

DECISIONS: list[Any] = [
    {"type": "approve"},
    {"type": "edit", "edited_action": {"name": "pay", "args": {"amount": 20}}},
    {"type": "reject", "message": "too much"},
    {"type": "respond", "message": "I paid it myself"},
]


RESULTS = [
    ("success", "paid 1"),
    ("success", "paid 20"),
    ("error", "User rejected the tool call for `pay` with reason: too much"),
    ("success", "I paid it myself"),
]


async def test_a_batch_of_calls_is_reviewed_with_all_four_decisions(
    talk: Any, journal: Any
) -> None:
    it = talk("reviewed")
    it.config = {"configurable": {"journal": journal.path}}
    wanted = [("pay", {"amount": amount}) for amount in (1, 2, 3, 4)]
    told = await it.begin(script(calls(*wanted, ("look", {})), {"text": "done"}))
    (asked,) = told["__interrupt__"]
    assert [one["args"] for one in asked["value"]["action_requests"]] == [a for _, a in wanted]
    allowed = ["approve", "edit", "reject", "respond"]
    assert (
        asked["value"]["review_configs"]
        == [{"action_name": "pay", "allowed_decisions": allowed}] * 4
    )
    assert journal.lines() == [], "nothing is paid before it is decided"
    done = await it.answer({"decisions": DECISIONS})
    assert told_by_tools(done)[:4] == RESULTS
    assert sorted(journal.lines()) == [["looked"], ["paid", "1"], ["paid", "20"]]
    assert done["messages"][-1]["content"] == "done"
    assert (await it.status(), await it.pending()) == ("idle", {})


async def test_calls_are_reviewed_one_by_one_with_all_four_decisions(
    talk: Any, journal: Any
) -> None:
    it = talk("reviewed_each")
    it.config = {"configurable": {"journal": journal.path}}
    wanted = [("pay", {"amount": amount}) for amount in (1, 2, 3, 4)]
    told = await it.begin(script(calls(*wanted, ("look", {})), {"text": "done"}))
    asked = {one["value"]["args"]["amount"]: one for one in told["__interrupt__"]}
    assert all(one["value"]["type"] == "tool_approval" for one in asked.values())
    assert all(one["response_schema"] for one in asked.values())
    assert journal.firsts() == ["looked"]
    for amount, decision in zip((1, 2, 3), DECISIONS, strict=False):
        await it.answer({asked[amount]["id"]: decision})
        assert asked[amount]["id"] not in (await it.pending()).values()
    done = await it.answer({asked[4]["id"]: DECISIONS[3]})
    assert told_by_tools(done)[:4] == RESULTS
    assert sorted(journal.lines()) == [["looked"], ["paid", "1"], ["paid", "20"]]


async def test_a_decision_that_does_not_fit_can_be_given_again(talk: Any, journal: Any) -> None:
    it = talk("reviewed_each")
    it.config = {"configurable": {"journal": journal.path}}
    await it.begin(script(calls(("pay", {"amount": 1})), {"text": "done"}))
    asked = await it.pending()
    told = await it.answer({"type": "shrug"})
    assert "__error__" in told
    assert (await it.status(), await it.pending()) == ("error", asked)
    done = await it.answer({"type": "approve"})
    assert told_by_tools(done) == [("success", "paid 1")]
    assert journal.firsts() == ["paid"]
