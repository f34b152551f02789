"""The event-streaming protocol (v2): commands, channels, events of a thread (contract streaming.md
3)."""
