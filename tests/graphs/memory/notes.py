"""A deep agent that keeps its files in the store, where other conversations find them."""

from __future__ import annotations

from deepagents import create_deep_agent
from deepagents.backends import StoreBackend
from scripted import scripted_model

agent = create_deep_agent(
    name="notes",
    model=scripted_model(),
    system_prompt="You write things down.",
    backend=StoreBackend(namespace=lambda _: ("notes",)),
)
