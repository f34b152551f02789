"""What memories are found by: how often each of these words is in a text."""

from __future__ import annotations

WORDS = ("cat", "dog", "bread", "cheese", "violin", "python")


async def embed(texts: list[str]) -> list[list[float]]:
    if any("unspeakable" in text for text in texts):
        raise ValueError("there are no words for this")
    return [[float(text.count(word)) for word in WORDS] for text in texts]
