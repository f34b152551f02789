from __future__ import annotations


def joined(*words: str) -> str:
    return " ".join(words)
