"""Every endpoint of the contract is served, and none that nobody knows of."""

from __future__ import annotations

import json
from pathlib import Path

PUBLISHED = Path(__file__).parents[3] / "proto" / "published" / "openapi.json"

# By the contract's row. Row 40 is a websocket, which the document has no word for:
# tests/acceptance/test_protocol_sockets.py.
ROWS = """
 1 GET    /ok
 2 GET    /
 3 GET    /info
 4 GET    /metrics
 5 GET    /docs
 6 GET    /openapi.json
 9 POST   /assistants
10 POST   /assistants/search
11 POST   /assistants/count
12 GET    /assistants/{assistant_id}
13 PATCH  /assistants/{assistant_id}
14 DELETE /assistants/{assistant_id}
15 GET    /assistants/{assistant_id}/graph
16 GET    /assistants/{assistant_id}/schemas
17 GET    /assistants/{assistant_id}/subgraphs
18 GET    /assistants/{assistant_id}/subgraphs/{namespace}
19 POST   /assistants/{assistant_id}/versions
20 POST   /assistants/{assistant_id}/latest
21 POST   /threads
22 POST   /threads/search
23 POST   /threads/count
24 POST   /threads/prune
25 GET    /threads/{thread_id}
26 PATCH  /threads/{thread_id}
27 DELETE /threads/{thread_id}
28 POST   /threads/{thread_id}/copy
29 GET    /threads/{thread_id}/state
30 POST   /threads/{thread_id}/state
31 PATCH  /threads/{thread_id}/state
32 GET    /threads/{thread_id}/state/{checkpoint_id}
33 POST   /threads/{thread_id}/state/checkpoint
34 GET    /threads/{thread_id}/history
35 POST   /threads/{thread_id}/history
36 GET    /threads/{thread_id}/storage
37 GET    /threads/{thread_id}/stream
38 POST   /threads/{thread_id}/commands
39 POST   /threads/{thread_id}/stream/events
41 POST   /threads/{thread_id}/runs
42 POST   /threads/{thread_id}/runs/stream
43 POST   /threads/{thread_id}/runs/wait
44 POST   /runs
45 POST   /runs/stream
46 POST   /runs/wait
47 POST   /runs/batch
48 POST   /runs/cancel
49 GET    /threads/{thread_id}/runs
50 GET    /threads/{thread_id}/runs/{run_id}
51 DELETE /threads/{thread_id}/runs/{run_id}
52 GET    /threads/{thread_id}/runs/{run_id}/join
53 GET    /threads/{thread_id}/runs/{run_id}/stream
54 GET    /runs/{run_id}/stream
55 POST   /threads/{thread_id}/runs/{run_id}/cancel
56 POST   /runs/crons
57 POST   /threads/{thread_id}/runs/crons
58 POST   /runs/crons/search
59 POST   /runs/crons/count
60 GET    /runs/crons/{cron_id}
61 PATCH  /runs/crons/{cron_id}
62 DELETE /runs/crons/{cron_id}
63 PUT    /store/items
64 GET    /store/items
65 DELETE /store/items
66 POST   /store/items/search
67 POST   /store/namespaces
"""
# Ours, beyond the contract.
OWN = {
    ("GET", "/webhooks/deliveries"),
    ("GET", "/webhooks/deliveries/{delivery_id}"),
    ("POST", "/webhooks/deliveries/{delivery_id}/redeliver"),
}


def test_every_endpoint_of_the_contract_is_served_and_no_other() -> None:
    wanted = {(row.split()[1], row.split()[2]) for row in ROWS.strip().splitlines()}
    paths = json.loads(PUBLISHED.read_text("utf-8"))["paths"]
    served = {(method.upper(), path) for path, known in paths.items() for method in known}
    assert wanted - served == set(), "not served"
    assert served - wanted == OWN
