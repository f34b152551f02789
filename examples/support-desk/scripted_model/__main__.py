"""`python -m scripted_model`: the scripted model on its own, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import signal
import threading
from pathlib import Path

from . import ScriptedServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripted_model", description=__doc__)
    parser.add_argument("--port", type=int, default=8199, help="0 takes a free one (8199)")
    parser.add_argument("--script", type=Path, help="JSON file; without one, it echoes")
    given = parser.parse_args()
    script = json.loads(given.script.read_text(encoding="utf-8")) if given.script else {}
    stopped = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stopped.set())
    with ScriptedServer(script, port=given.port) as server:
        print(f"scripted model on {server.url}", flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
