"""Why a service could not start, in words for the person who starts it.

Apart from `bedplate.kernel.errors`, because these are answers to an operator, not to a caller:
their text goes to stderr as it is, without a traceback, and each has its own exit code (see
`process`).
"""

from __future__ import annotations


class ConfigurationError(Exception):
    """Something the operator gave us is wrong: mend it and start again. Exit code 78."""


class SettingsError(ConfigurationError):
    """One line per wrong variable, each naming the variable and its limit."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Unreachable(Exception):
    """A server that is needed at start did not answer in time. Exit code 69."""

    def __init__(self, server: str, *, waited_s: float, because: BaseException | None) -> None:
        reason = f": {str(because) or type(because).__name__}" if because is not None else ""
        super().__init__(f"{server} cannot be reached (waited {waited_s:.0f} s){reason}")
        self.server = server
        self.waited_s = waited_s
