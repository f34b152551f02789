"""What an operator allows webhooks to do, for those who accept them and those who send them.

`block` is the `webhooks` block of `langgraph.json`; `rules` decides about a URL and about an
address. The gateway asks when a run is created, the dispatcher again at every hop of every try: a
name may resolve to something else by then.
"""
