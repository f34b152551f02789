"""What every service is: settings, log, ordered start and stop, loops, owned tasks, ops endpoint.

The chassis knows processes, not runs: it imports nothing of ours. Start reading at `process`.
"""
