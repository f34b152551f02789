"""The project's own types, in a module whose name does not depend on how a graph is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pydantic import BaseModel


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Point:
    x: int
    y: int


class Parcel(BaseModel):
    label: str
    weight_g: int
